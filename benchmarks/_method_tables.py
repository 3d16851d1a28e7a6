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

from runtime.options import check_options, option
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
class TableOptions:
    """Flags of `--table`. Attributes are the flags; see their help."""

    table: str = option(dataclasses.MISSING, "which table of the paper", choices=("1", "2", "3"))
    jhmdb: str = option(dataclasses.MISSING, "folder of JHMDB-21", metavar="DIR")
    features: str = option(
        dataclasses.MISSING, "features of its training part, made by `edge features --model nano`",
        metavar="DIR",
    )  # fmt: skip
    test_features: str | None = option(
        None, "the same of clips of its part `test-annotated`, not augmented; by default they are "
        "computed for every eighth labelled frame", metavar="DIR",
    )  # fmt: skip
    features_aspect: str | None = option(
        None, "the same of clips of 192x256 (--imgsz 192,256); without them the row is left out",
        metavar="DIR",
    )  # fmt: skip
    stem_weights: str = option(
        "weights/stems/mobilenet_v2-movenet-lightning.pt", "the stem that made them"
    )
    detector: str | None = option(
        None, "person detector of the two-stage rows, MoveNet MultiPose (ONNX)", metavar="FILE"
    )
    people: str | None = option(
        None, "folder that `edge label` wrote for the videos with this detector: its boxes before "
        "tracking are taken, and the detector is not run again", metavar="DIR",
    )  # fmt: skip
    steps: int = option(200, "training steps of each row", least=1)
    batch: int = option(32, "clips of a step", least=1)
    seeds: int = option(1, "runs of each row, seeds 0, 1, ...", least=1)
    rows: tuple[str, ...] = option((), "rows to train now; by default all of the table")
    train: bool = option(True, "train rows that are not trained yet; else they have no accuracy")
    latency: bool = option(True, "lower rows to int8 programs and measure them")
    threads: int = option(1, "threads of training; programs are measured on one", least=1)
    rounds: int = option(10, "turns of each program", least=1)
    turn_ms: float = option(300.0, "length of a turn, milliseconds", above=0)
    out: str = option("runs/methods", "folder of rows, programs and tables")
    verbose: bool = option(False, "log what is done, and show tracebacks")

    def __post_init__(self) -> None:
        check_options(self)

    @property
    def folder(self) -> Path:
        """Where everything is kept."""
        return Path(self.out)


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

    from benchmarks._method_rows import rows_of

    torch.set_num_threads(options.threads)
    rows = rows_of(options.table, options.rows)
    opened: dict[tuple[int, int], Data | None] = {}

    def data_of(row: Row) -> Data | None:
        if row.picture_hw not in opened:
            opened[row.picture_hw] = _open(options, row, progress)
        return opened[row.picture_hw]

    for seed in range(options.seeds if options.train else 0):
        for row in rows:
            if _result_file(options, row, seed).exists():
                continue
            data = data_of(row)
            if data is None:
                logger.warning("row %s needs --features-aspect; it is left out", row.name)
                continue
            _judge(options, row, data, _train(options, row, data, seed, progress), progress)
    costs = _costs(options, rows, progress)
    if options.table != "1" and options.latency:
        for row in rows:
            _judge_int8(options, row, data_of)
    return _write(options, rows, costs)


def _result_file(options: TableOptions, row: Row, seed: int) -> Path:
    """Return where the result of a run is kept; another budget is another file."""
    return options.folder / "rows" / f"{row.name}-{options.steps}x{options.batch}-s{seed}.json"


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
    square = height == width
    where = options.features if square else options.features_aspect
    if where is None:
        return None
    model = build_model("nano", num_classes=1, height=height, width=width)
    load_stem(model.backbone.stem, Path(options.stem_weights))  # type: ignore[arg-type]
    clips = jhmdb(Path(options.jhmdb), model.config.clip, part="test-annotated")
    train = FeatureClips(Path(where))
    check_features(model, train.about)
    given = options.test_features if square else None
    out = options.folder / f"test-{height}x{width}" if given is None else Path(given)
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

    file = _result_file(options, row, seed)
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

    A program of two stages has fixed boxes inside, so that its accuracy is not that of the method.
    """
    from benchmarks._method_judging import judge_program

    file = _result_file(options, row, 0)
    if row.kind == "two-stage" or not file.exists():
        return
    content = json.loads(file.read_text("utf-8"))
    if "int8" in content:
        return
    data = data_of(row)
    assert data is not None, "a trained row has data"
    path = _program_file(options, row)
    content["int8"] = judge_program(path, data.test, row.config(_CLASSES).clip)
    write_atomically(file, json.dumps(content, indent=1) + "\n")


def _program_file(options: TableOptions, row: Row) -> Path:
    """Return where the program of a row is kept: of its first run, or of random weights."""
    trained = _result_file(options, row, 0).with_suffix(".pt")
    return options.folder / "programs" / f"{trained.stem if trained.exists() else row.name}.pte"


def _fresh(options: TableOptions, row: Row, classes: int, seed: int) -> BMViT:
    from edge.model.stem_weights import load_stem

    model = row.build(classes, seed)
    load_stem(model.backbone.stem, Path(options.stem_weights))  # type: ignore[arg-type]
    return model


def _costs(options: TableOptions, rows: Sequence[Row], progress: Progress | None) -> dict[str, Any]:
    """Count every row, and measure those of tables 2 and 3."""
    from benchmarks._method_cost import deployable, work_of, work_of_onnx
    from benchmarks._method_data import MOST_PEOPLE
    from edge.model.variants import build_model

    found: dict[str, Any] = {}
    for row in rows:
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

    names = "-".join(_program_file(options, row).stem for row in rows)
    kept = options.folder / f"latency-{names}.json"
    if kept.exists():
        return dict(json.loads(kept.read_text(encoding="utf-8")))
    programs: dict[str, Path] = {}
    detectors: dict[str, Path] = {}
    frames: list[Any] = []
    for row in rows:
        config = row.config(_CLASSES)
        clips = SparseKeyframes(jhmdb(Path(options.jhmdb), config.clip, part="test-annotated"))
        chosen = range(0, len(clips), max(1, len(clips) // _CALIBRATION))
        path = _program_file(options, row)
        if not path.exists():
            model = _fresh(options, row, _CLASSES, 0).eval()
            trained = _result_file(options, row, 0).with_suffix(".pt")
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
        programs, detectors, frames[0], rounds=options.rounds, turn_ms=options.turn_ms,
        scratch=options.folder,
    )  # fmt: skip
    found: dict[str, dict[str, Any]] = {}
    for (name, kind), ms in taken.items():
        found.setdefault(name, {})[f"{kind}_ms"] = ms
    for name, path in programs.items():
        found.setdefault(name, {})["bytes"] = path.stat().st_size
    found["machine"] = {"load_average": load}
    write_atomically(kept, json.dumps(found, indent=1) + "\n")
    return found


def _write(options: TableOptions, rows: Sequence[Row], costs: dict[str, Any]) -> str:
    from benchmarks._method_report import notes_of, points_of, scatter, table_of

    results: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        for seed in range(options.seeds):
            file = _result_file(options, row, seed)
            if file.exists():
                results.setdefault(row.name, []).append(json.loads(file.read_text("utf-8")))
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
