"""Rows of the tables of methods as text, and accuracy against latency as a picture."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scipy.stats import t as student_t

Runs = Sequence[Mapping[str, Any]]
_DETECTED, _TRUE = "detector", "true boxes"


def table_of(
    table: str, words: Mapping[str, str], results: Mapping[str, Runs], costs: Mapping[str, Any]
) -> list[list[str]]:
    """Return a table, its header first."""
    if table == "1":
        head = ["tokens", "N", "M multiply-adds behind the stem", "frame-mAP@0.5", "video-mAP@0.5",
                "actor AP@0.5", "runs"]  # fmt: skip
        return [
            head,
            *(_selection_row(words[name], results.get(name, ()), costs[name]) for name in words),
        ]
    head = ["method" if table == "2" else "backbone", "frame-mAP@0.5", "first less this",
            "first run, int8", "video-mAP@0.5", "parameters, M", "G multiply-adds", "program, MB",
            "whole clip, ms", "live result, ms", "runs"]  # fmt: skip
    first = results.get(next(iter(words)), ())
    lines = [head]
    for name in words:
        runs = results.get(name, ())
        for kind, cost in _judged(name, runs, costs).items():
            lines.append([
                words[name] + kind_words(kind), _mean(maps_of(runs, kind)),
                _told(_difference(first, runs, kind), _interval_words),
                _told(_int8_map(runs), lambda value: f"{value:.3f}"), _video_map(runs, kind),
                f"{cost['params'] / 1e6:.2f}", f"{cost['macs'] / 1e9:.2f}",
                _told(cost.get("bytes"), lambda size: f"{size / 1e6:.2f}"),
                _times(cost, "ms", "rounds_ms"), _times(cost, "live", "live_ms"),
                str(len(runs)),
            ])  # fmt: skip
    for name in costs:
        if table == "3" and name not in words and "macs" in costs[name]:
            cost = costs[name]
            lines.append([f"`{name}`", "not trained", "-", "-", "-", f"{cost['params'] / 1e6:.2f}",
                          f"{cost['macs'] / 1e9:.2f}", "-", "-", "-", "0"])  # fmt: skip
    return lines


def kind_words(kind: str) -> str:
    """Return what a table says of the boxes that a two-stage row is given."""
    return {"": "", _DETECTED: ", MoveNet MultiPose's boxes",
            _TRUE: ", the true boxes (upper bound)"}[kind]  # fmt: skip


def _judged(name: str, runs: Runs, costs: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the costs of a row by the boxes it is judged with; the detector's are added."""
    found: dict[str, dict[str, Any]] = {}
    untrained = (_TRUE, _DETECTED) if name == "two-stage" else ("",)
    for kind in runs[0]["judged"] if runs else untrained:
        cost = dict(costs[name])
        times = {"ms": cost.pop("rounds_ms", None), "live": cost.pop("live_ms", None)}
        detector = costs.get("detector")
        if kind == _DETECTED and detector is not None:
            cost["params"] += detector["params"]
            cost["macs"] += detector["macs"]
            own = fastest_detector(costs)
            times = {
                name: None if ms is None or own is None else
                [a + b for a, b in zip(ms, own, strict=True)] for name, ms in times.items()
            }  # fmt: skip
        found[kind] = {**cost, **{name: ms for name, ms in times.items() if ms is not None}}
    return found


def fastest_detector(costs: Mapping[str, Any]) -> list[float] | None:
    """Return the times of the detector in the engine where it is fastest."""
    kept = [costs[name]["rounds_ms"] for name in ("onnxruntime-fp32", "onnxruntime-int8")
            if "rounds_ms" in costs.get(name, {})]  # fmt: skip
    return min(kept, key=statistics.median) if kept else None


def _selection_row(words: str, runs: Runs, cost: Mapping[str, Any]) -> list[str]:
    return [
        words, str(cost["tokens"]), f"{cost['trunk_macs'] / 1e6:.0f}", _mean(maps_of(runs, "")),
        _video_map(runs, ""),
        _mean([run["judged"][""]["actor_ap"] for run in runs]), str(len(runs)),
    ]  # fmt: skip


def maps_of(runs: Runs, kind: str) -> list[float | None]:
    """Return the frame-mAP of each run."""
    return [run["judged"][kind]["frame_map"] for run in runs]


def _video_map(runs: Runs, kind: str) -> str:
    return _mean([run["judged"][kind]["video_map"]["0.5"] for run in runs])


def _int8_map(runs: Runs) -> float | None:
    return next((run["int8"]["frame_map"] for run in runs if "int8" in run), None)


def _difference(first: Runs, runs: Runs, kind: str) -> tuple[float, float] | None:
    """Return by how much the first row's frame-mAP is higher, and half its 95 % interval.

    Runs are paired by seed. None of one run, or of the first row itself.
    """
    mine = {run["seed"]: run["judged"][""]["frame_map"] for run in first if "" in run["judged"]}
    pairs = [mine[run["seed"]] - run["judged"][kind]["frame_map"]
             for run in runs if run["seed"] in mine]  # fmt: skip
    if runs is first or len(pairs) < 2:
        return None
    half = student_t.ppf(0.975, len(pairs) - 1) * statistics.stdev(pairs) / len(pairs) ** 0.5
    return statistics.fmean(pairs), float(half)


def _interval_words(difference: tuple[float, float]) -> str:
    return f"{difference[0]:+.3f}±{difference[1]:.3f}"


def _mean(values: Sequence[float | None]) -> str:
    """Return the mean and, of several runs, their standard deviation."""
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    mean = f"{statistics.fmean(known):.3f}"
    return mean if len(known) < 2 else f"{mean}±{statistics.stdev(known):.3f}"


def _median_ms(rounds: Sequence[float]) -> str:
    return f"{statistics.median(rounds):.1f}"


def _times(cost: Mapping[str, Any], name: str, beside: str) -> str:
    """Return the median of a row; measured on another machine, with that of the first row there."""
    own = _told(cost.get(name), _median_ms)
    first = cost.get("beside", {}).get(beside)
    return own if first is None else f"{own} (first: {_median_ms(first)})"


def _told(value: Any, form: Any) -> str:
    return "-" if value is None else str(form(value))


def notes_of(
    results: Mapping[str, Runs], costs: Mapping[str, Any], steps: int, batch: int
) -> list[str]:
    """Return what a reader of the table must know."""
    lines = ["No row is trained yet.", ""]
    if results:
        judged = next(iter(next(iter(results.values()))[0]["judged"].values()))
        clips = sorted({run["train_clips"] for runs in results.values() for run in runs})
        lines = [
            f"{steps} steps of {batch} clips for every row, of "
            f"{' or '.join(str(count) for count in clips)} augmented training clips; "
            f"{judged['clips']} keyframes of the test videos. Stems are frozen, and matching, "
            "losses, optimizer and schedule the same, but for YOWOv2-Nano's.", "",
        ]  # fmt: skip
    if "machine" in costs:
        lines += [
            "`first less this`: frame-mAP of the first row less this one's, over runs of the same "
            "seeds, with its 95 % interval. `first run, int8`: frame-mAP of the program of seed 0 "
            "in the native runtime, from frames.", "",
            "int8 times are of one thread, of the processor and not of the clock on the wall: load "
            f"average while measuring {costs['machine']['load_average']:.1f}. Medians.", "",
        ]  # fmt: skip
    return lines


def points_of(
    words: Mapping[str, str], results: Mapping[str, Runs], costs: Mapping[str, Any]
) -> list[tuple[str, float, float]]:
    """Return name, latency in ms and frame-mAP of every measured row."""
    found = []
    for name in words:
        if name not in results:
            continue
        for kind, cost in _judged(name, results[name], costs).items():
            maps = [value for value in maps_of(results[name], kind) if value is not None]
            if kind != _TRUE and "ms" in cost and "beside" not in cost and maps:
                found.append((words[name] + kind_words(kind), statistics.median(cost["ms"]),
                              statistics.fmean(maps)))  # fmt: skip
    return found


def front_of(points: Sequence[tuple[str, float, float]]) -> list[tuple[str, float, float]]:
    """Return the points that no other one is both faster and better than, by latency."""
    front: list[tuple[str, float, float]] = []
    for point in sorted(points, key=lambda one: (one[1], -one[2])):
        if not front or point[2] > front[-1][2]:
            front.append(point)
    return front


def scatter(points: Sequence[tuple[str, float, float]], path: Path, *, title: str) -> None:
    """Draw accuracy against latency, the front as a line."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.4, 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    front = front_of(points)
    axes.step([p[1] for p in front], [p[2] for p in front], where="post", color="#888888",
              linewidth=1.2, label="front", zorder=1)  # fmt: skip
    for (name, ms, value), marker in zip(points, "osD^vPX*<>" * len(points), strict=False):
        axes.scatter([ms], [value], s=46, marker=marker, zorder=2, label=name.replace("`", ""))
    axes.set_xlim(0, 1.15 * max(ms for _, ms, _ in points))
    axes.set_ylim(0, 1.15 * max(max(value for _, _, value in points), 0.01))
    axes.set_xlabel("int8, a whole clip, detector included, ms on one core")
    axes.set_ylabel("frame-mAP@0.5")
    figure.suptitle(title, x=0.01, ha="left", fontsize=10)
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right center", fontsize=8, frameon=False)
    figure.savefig(path, dpi=110)
