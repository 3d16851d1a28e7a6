"""Tables 1 to 3 of the paper at mobile size: rows trained, judged, measured, and written."""

from __future__ import annotations

import dataclasses
import io
import json
import logging
import os
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks._method_options import TableOptions
from runtime.errors import ConfigError
from runtime.outputs import write_atomically
from runtime.preprocess import normalize
from runtime.report import write_report
from runtime.types import Progress

if TYPE_CHECKING:
    from benchmarks._method_data import KeptTest, OwnClasses, PeopleBoxes
    from benchmarks._method_rows import Row
    from edge.model.bmvit import BMViT
    from edge.training.features import FeatureAbout

logger = logging.getLogger(__name__)

TITLES = {
    "1": "Which tokens: JHMDB-21, split 1, at mobile size",
    "2": "The method against what it replaces: JHMDB-21, split 1, at mobile size",
    "3": "Other backbones: JHMDB-21, split 1, at mobile size",
}
_COUNTED = ("small", "x3d-s")
_CLASSES = 21
_CALIBRATION = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """What the rows of one input size learn from and are judged by.

    Attributes:
        train: Kept features with JHMDB's own classes.
        test: Kept features of sparse keyframes.
        about: What the features of `train` are.
        about_test: What those of `test` are: they have scales of their own.
    """

    train: OwnClasses
    test: KeptTest
    about: FeatureAbout
    about_test: FeatureAbout


def run(options: TableOptions, progress: Progress | None = None) -> str:
    """Train what is not trained yet, measure, and write the table; return its Markdown.

    Raises:
        ConfigError: A row or folder is wrong.
        ArtifactError: Features are missing or made by another stem.
    """
    import torch

    from benchmarks._method_peer import judge_engine, run_peer
    from benchmarks._method_rows import rows_of

    torch.set_num_threads(options.threads)
    rows = rows_of(options.table, options.rows)
    opened: dict[str, Data | None] = {}

    def data_of(row: Row) -> Data | None:
        if row.features not in opened:
            opened[row.features] = _open(options, row, progress)
        return opened[row.features]

    for seed in range(options.seeds if options.train else 0):
        for row in rows:
            if options.result_file(row, seed).exists():
                continue
            if row.kind == "yowov2":
                run_peer(options, row, seed, progress)
                continue
            data = data_of(row)
            if data is None:
                logger.warning("row %s needs %s; it is left out", row.name, _flag(row.features))
                continue
            _judge(options, row, data, _train(options, row, data, seed, progress), progress)
    costs = _costs(options, rows, progress)
    if options.table != "1" and options.latency:
        for row in rows:
            if row.kind == "yowov2":
                judge_engine(options, row, costs[row.name].get("engine"))
            else:
                _judge_int8(options, row, data_of)
    return _write(options, rows, costs)


def _flag(option: str) -> str:
    return "--" + option.replace("_", "-")


def _open(options: TableOptions, row: Row, progress: Progress | None) -> Data | None:
    """Open the data of a row's input size; None where its features are not given."""
    from benchmarks._method_data import KeptTest, OwnClasses, SparseKeyframes, jhmdb
    from edge.model.stem_weights import load_stem
    from edge.model.variants import build_model
    from edge.training.feature_input import check_features
    from edge.training.feature_job import FeatureJob, FeatureMaker
    from edge.training.features import FeatureClips
    from edge.training.processes import has_bf16_units

    height, width = row.picture_hw
    where, stem = getattr(options, row.features), getattr(options, row.stem_weights)
    if where is None:
        return None
    if stem is None:
        raise ConfigError(
            f"{_flag(row.features)} needs {_flag(row.stem_weights)}, the stem that made them"
        )
    network = row.overrides.get("stem", "mobilenet_v2")
    model = build_model("nano", num_classes=1, height=height, width=width, stem=network)
    load_stem(model.backbone.stem, Path(stem))  # type: ignore[arg-type]
    clips = jhmdb(Path(options.jhmdb), model.config.clip, part="test-annotated")
    train = FeatureClips(Path(where))
    check_features(model, train.about)
    given = options.test_features if row.features == "features" else None
    kind = row.features.removeprefix("features").replace("_", "-")
    out = options.folder / f"test{kind}-{height}x{width}" if given is None else Path(given)
    if given is None:
        sparse = SparseKeyframes(clips)
        job = FeatureJob(
            out=out, clips=len(sparse), cut=None, shard=0, shards=1, seed=0, spec="jhmdb test",
            data="sparse", max_gib=4.0, bf16=has_bf16_units(),
        )  # fmt: skip
        FeatureMaker(model, sparse, job).run(progress)
    test = FeatureClips(out)
    check_features(model, test.about)
    return Data(
        train=OwnClasses(train, clips.class_names), test=KeptTest(test, clips),
        about=train.about, about_test=test.about,
    )  # fmt: skip


def _train(
    options: TableOptions, row: Row, data: Data, seed: int, progress: Progress | None
) -> Path:
    """Train one run, unless its weights are there; return the file of its weights."""
    import time

    import torch

    from benchmarks._method_training import Budget, train_row
    from edge.training.processes import has_bf16_units

    file = options.result_file(row, seed)
    weights = file.with_suffix(".pt")
    if weights.exists():
        return weights
    model = _fresh(options, row, _CLASSES, seed)
    budget = Budget(steps=options.steps, batch=options.batch, bf16=has_bf16_units())
    start = time.process_time()
    trained, losses = train_row(
        row, model, data.train, data.about, budget, seed=seed, progress=progress
    )
    content = {
        "row": row.name, "seed": seed, "steps": options.steps, "batch": options.batch,
        "train_clips": len(data.train), "loss_first": losses[0],
        "loss_last": statistics.fmean(losses[-10:]), "cpu_s": time.process_time() - start,
    }  # fmt: skip
    weights.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    torch.save({"weights": trained.state_dict(), "run": content}, buffer)
    write_atomically(weights, buffer.getbuffer())
    return weights


def _judge(
    options: TableOptions, row: Row, data: Data, weights: Path, progress: Progress | None
) -> None:
    """Judge one run, and keep the result."""
    import torch

    from benchmarks._method_data import detect_people, labelled_people, true_boxes
    from benchmarks._method_judging import judge

    loaded = torch.load(weights, weights_only=True)
    model = row.build(_CLASSES, 0)
    model.load_state_dict(loaded["weights"])
    boxes: dict[str, PeopleBoxes | None] = {"": None}
    if row.kind == "two-stage":
        boxes = {"true boxes": true_boxes(data.test)}
        if options.people is not None:
            boxes["detector"] = labelled_people(data.test, Path(options.people))
        elif options.detector is not None:
            kept = options.folder / f"people-{len(data.test)}.npz"
            boxes["detector"] = detect_people(data.test, Path(options.detector), kept, progress)
    judged = {
        name: judge(model.eval(), data.test, data.about_test, boxes=one)
        for name, one in boxes.items()
    }
    content = {**loaded["run"], "judged": judged}
    write_atomically(weights.with_suffix(".json"), json.dumps(content, indent=1) + "\n")


def _judge_int8(options: TableOptions, row: Row, data_of: Callable[[Row], Data | None]) -> None:
    """Judge the program of a row's first run in the native runtime, and keep the result with it.

    A program of two stages has fixed boxes inside, so that its accuracy is not that of the method;
    YOWOv2 has no such program.
    """
    from benchmarks._method_judging import judge_program

    file = options.result_file(row, 0)
    if row.kind in ("two-stage", "yowov2") or not file.exists():
        return
    content = json.loads(file.read_text("utf-8"))
    if "int8" in content:
        return
    data = data_of(row)
    if data is None:
        return
    path = options.program_file(row)
    content["int8"] = judge_program(path, data.test, row.config(_CLASSES).clip)
    write_atomically(file, json.dumps(content, indent=1) + "\n")


def _fresh(options: TableOptions, row: Row, classes: int, seed: int) -> BMViT:
    from edge.model.stem_weights import load_stem

    model, stem = row.build(classes, seed), getattr(options, row.stem_weights)
    if stem is not None:  # a row that is not trained is counted and timed, whatever its weights
        load_stem(model.backbone.stem, Path(stem))  # type: ignore[arg-type]
    return model


def _costs(options: TableOptions, rows: Sequence[Row], progress: Progress | None) -> dict[str, Any]:
    """Count every row, and measure those of tables 2 and 3."""
    from benchmarks._method_cost import deployable, work_of, work_of_onnx
    from benchmarks._method_data import MOST_PEOPLE
    from benchmarks._method_peer import work_of_peer
    from edge.model.variants import build_model

    found: dict[str, Any] = {}
    for row in rows:
        if row.kind == "yowov2":
            found[row.name] = dataclasses.asdict(work_of_peer(_CLASSES))
            continue
        model = row.build(_CLASSES, 0).eval()
        work = work_of(deployable(model, MOST_PEOPLE))
        found[row.name] = {**dataclasses.asdict(work), "tokens": model.num_tokens}
    if options.table == "3":
        for name in _COUNTED:
            found[name] = dataclasses.asdict(work_of(build_model(name, num_classes=_CLASSES)))
    if options.table == "2" and options.detector is not None:
        found["detector"] = dataclasses.asdict(work_of_onnx(Path(options.detector)))
    if options.table != "1" and options.latency:
        for name, times in _measure(options, rows, progress).items():
            found.setdefault(name, {}).update(times)
    return found


def _measure(
    options: TableOptions, rows: Sequence[Row], progress: Progress | None
) -> dict[str, dict[str, Any]]:
    """Lower every row, and measure all programs in turn; the result is kept in a file.

    Weights are those of the first run; of a row that is not trained they are random, which changes
    neither size nor time.
    """
    import torch

    from benchmarks._method_cost import deployable, int8_detector, latencies, program
    from benchmarks._method_data import MOST_PEOPLE, SparseKeyframes, jhmdb, keyframe_bgr
    from benchmarks._method_peer import cost_of_peer, peer_programs

    names = "-".join(options.program_file(row).stem for row in rows)
    kept = options.folder / f"latency-{names}.json"
    if kept.exists():
        return dict(json.loads(kept.read_text(encoding="utf-8")))
    programs: dict[str, Path] = {}
    detectors: dict[str, Path] = {}
    frames: list[Any] = []
    peers: dict[str, dict[str, Path]] = {}
    for row in rows:
        if row.kind == "yowov2":
            peers[row.name] = peer_programs(options, row)
            continue
        config = row.config(_CLASSES)
        clips = SparseKeyframes(jhmdb(Path(options.jhmdb), config.clip, part="test-annotated"))
        chosen = range(0, len(clips), max(1, len(clips) // _CALIBRATION))
        path = options.program_file(row)
        if not path.exists():
            model = _fresh(options, row, _CLASSES, 0).eval()
            trained = options.result_file(row, 0).with_suffix(".pt")
            if trained.exists():
                model.load_state_dict(torch.load(trained, weights_only=True)["weights"])
            model = deployable(model, MOST_PEOPLE)
            program(model, [normalize(clips[i].frames_rgb, config.clip) for i in chosen], path)
        programs[row.name] = path
        frames = frames or [keyframe_bgr(clips, index) for index in chosen]
        if progress is not None:
            progress("programs", len(programs), len(rows))
    if options.detector is not None and options.table == "2":
        source = Path(options.detector)
        detectors = {
            "onnxruntime-fp32": source,
            "onnxruntime-int8": int8_detector(source, frames, options.folder / "detector.onnx"),
        }
    load = os.getloadavg()[0]
    taken = latencies(
        programs, detectors, peers, frames[0] if detectors else None, rounds=options.rounds,
        turn_ms=options.turn_ms, scratch=options.folder,
    )  # fmt: skip
    found: dict[str, dict[str, Any]] = {}
    for name, engines in peers.items():
        times = {one: taken.pop((f"{name} {one}", "rounds"), None) for one in engines}
        found[name] = cost_of_peer(times, engines)
    for (name, kind), ms in taken.items():
        found.setdefault(name, {})[f"{kind}_ms"] = ms
    for name, path in programs.items():
        found.setdefault(name, {})["bytes"] = path.stat().st_size
    found["machine"] = {"load_average": load}
    write_atomically(kept, json.dumps(found, indent=1) + "\n")
    return found


def _write(options: TableOptions, rows: Sequence[Row], costs: dict[str, Any]) -> str:
    from benchmarks._method_merge import add_rows
    from benchmarks._method_report import notes_of, points_of, scatter, table_of

    results: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        for seed in range(options.seeds):
            file = options.result_file(row, seed)
            if file.exists():
                results.setdefault(row.name, []).append(json.loads(file.read_text("utf-8")))
    if options.base is not None:
        return add_rows(options, results, costs)
    shown = {row.name: row.words for row in rows}
    points = points_of(shown, results, costs)
    if points:
        scatter(points, options.folder / f"methods-{options.table}.png",
                title=TITLES[options.table])  # fmt: skip
    words = [f"python -m benchmarks.methods --table {options.table}", f"--steps {options.steps}",
             f"--batch {options.batch}",
             f"--seeds {options.seeds}"]  # fmt: skip
    return write_report(
        options.folder, f"methods-{options.table}", title=TITLES[options.table],
        command=" ".join(words), table=table_of(options.table, shown, results, costs),
        notes=notes_of(results, costs, options.steps, options.batch),
        content={"rows": results, "costs": costs},
    )  # fmt: skip
