"""Pictures of an evaluation: precision against recall, and who was taken for what."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edge.evaluation.average_precision import Ranking
from edge.evaluation.boxes import I64
from edge.evaluation.clip_metrics import AtThreshold
from edge.evaluation.frames import FrameMetrics
from runtime.errors import BackendUnavailableError
from runtime.outputs import atomic_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MAX_LEGEND = 24


def check_matplotlib() -> None:
    """Refuse early where the plots cannot be drawn.

    Raises:
        BackendUnavailableError: matplotlib is not installed.
    """
    import importlib.util

    if importlib.util.find_spec("matplotlib") is None:
        raise BackendUnavailableError(
            "plots need matplotlib, not installed here; run: pip install '.[val]', or "
            "pass --no-plots"
        )


def plot_precision_recall(
    path: Path,
    *,
    title: str,
    class_names: Sequence[str],
    frames: FrameMetrics,
    actors: Ranking,
    at: AtThreshold,
) -> None:
    """Draw a curve for each class and one for the actors, with θ marked on it."""
    figure = _figure(13.0, 5.6)
    left, right = figure.subplots(1, 2, width_ratios=(1.0, 1.0))
    _draw_classes(left, class_names, frames)
    right.plot(*_steps(actors), color="black", linewidth=1.6, drawstyle="steps-pre")
    right.plot([at.recall], [at.precision], "o", color="tab:red", markersize=8)
    right.annotate(
        f"θ {at.conf:.3f}\nprecision {at.precision:.3f}\nrecall {at.recall:.3f}\nF1 {at.f1:.3f}",
        (at.recall, at.precision), xytext=(-12, -12), textcoords="offset points", ha="right",
        va="top", color="tab:red",
    )  # fmt: skip
    right.set_title(f"actors: AP@0.5 {actors.average_precision('spread'):.3f}")
    for axes in (left, right):
        _frame(axes)
    figure.suptitle(title)
    _save(figure, path)


def plot_classes(
    path: Path, *, title: str, class_names: Sequence[str], frames: FrameMetrics, what: str
) -> None:
    """Draw a curve for each class; `what` is said in the heading, such as `frame-mAP@0.5`."""
    figure = _figure(9.0, 5.6)
    axes: Axes = figure.subplots()
    _draw_classes(axes, class_names, frames, what)
    _frame(axes)
    figure.suptitle(title)
    _save(figure, path)


def _draw_classes(
    axes: Axes, class_names: Sequence[str], frames: FrameMetrics, what: str = "frame-mAP@0.5"
) -> None:
    styles = _styles(len(class_names))
    falling = sorted(range(len(class_names)), key=lambda c: -np.nan_to_num(frames.ap[c], nan=-1))
    for place, c in enumerate(falling):
        ranking = frames.rankings[c]
        if ranking.num_truth == 0:
            continue
        label = f"{class_names[c]}  {frames.ap[c]:.3f}" if place < _MAX_LEGEND else None
        colour, dash = styles[c]
        axes.plot(
            *_steps(ranking), color=colour, linestyle=dash, linewidth=1.4, label=label,
            drawstyle="steps-pre",
        )  # fmt: skip
    axes.set_title(f"actions: {what} {frames.mean_ap:.3f}")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(
            loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=8,
            title=what.replace("mAP", "AP").replace("frame-", ""),
        )  # fmt: skip


def _frame(axes: Axes) -> None:
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="recall", ylabel="precision")
    axes.grid(alpha=0.25)


def plot_confusion(
    path: Path, *, title: str, class_names: Sequence[str], table: I64, conf: float
) -> None:
    """Draw who was taken for what: shares of each row as colours, counts as numbers.

    Args:
        path: PNG to write.
        title: Above the table.
        class_names: The C classes.
        table: (C + 2, C + 1), as `ClipMetrics.confusion` returns it.
        conf: The threshold, for the caption.
    """
    rows = [*class_names, "bystander", "nobody"]
    columns = [*class_names, "not found"]
    side = 2.6 + 0.42 * len(rows)
    figure = _figure(side + 1.2, side)
    axes: Axes = figure.subplots()
    total = table.sum(axis=1, keepdims=True)
    share = np.divide(table, total, out=np.zeros(table.shape), where=total > 0)
    share[len(class_names) :] = 0.0  # bystander and nobody have no right answer to stand out
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (row, column), count in np.ndenumerate(table):
        if count:
            colour = "white" if share[row, column] > 0.55 else "black"
            axes.text(column, row, str(count), ha="center", va="center", color=colour, fontsize=7)
    axes.set_xticks(range(len(columns)), columns, rotation=45, ha="right", fontsize=8)
    axes.set_yticks(range(len(rows)), rows, fontsize=8)
    axes.axhline(len(class_names) - 0.5, color="black", linewidth=0.8)
    axes.axvline(len(class_names) - 0.5, color="black", linewidth=0.8)
    axes.set(xlabel="said", ylabel="true")
    axes.set_title(f"{title}\nactors at θ {conf:.3f}", fontsize=10)
    figure.colorbar(image, ax=axes, label="share of the row", fraction=0.04, pad=0.02)
    _save(figure, path)


def _styles(count: int) -> list[tuple[tuple[float, ...], str]]:
    """Return a colour and a dash for each class; a colour that comes again has another dash."""
    from matplotlib import colormaps

    colours = colormaps["tab10"].colors  # type: ignore[attr-defined]
    dashes = ("-", "--", ":", "-.")
    return [(colours[i % 10], dashes[i // 10 % 4]) for i in range(count)]


def _steps(ranking: Ranking, points: int = 400) -> tuple[list[float], list[float]]:
    """Return the curve as it is integrated, precision made monotone, in not too many points."""
    if not len(ranking.score):
        return [0.0], [0.0]
    precision = np.maximum.accumulate(ranking.precision[::-1])[::-1]
    at = np.unique(np.linspace(0, len(precision) - 1, points).round().astype(np.int64))
    # The many points of the long tail hold little recall; even steps in recall see the rest.
    even = np.searchsorted(ranking.recall, np.linspace(0, ranking.recall[-1], points))
    at = np.union1d(at, even.clip(0, len(precision) - 1))
    recall = [0.0, *ranking.recall[at].tolist(), float(ranking.recall[-1])]
    return recall, [float(precision[0]), *precision[at].tolist(), 0.0]


def _figure(width: float, height: float) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _save(figure: Figure, path: Path) -> None:
    with atomic_file(path) as part:
        figure.savefig(part, format="png")
