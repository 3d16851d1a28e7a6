"""An evaluation runs the shipped engine, goes on where it stopped, and writes what it counted."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.data.ava_files import read_detections, read_ground_truth, read_label_map
from edge.data.dataset import ClipDataset
from edge.data.samples import ClipSample
from edge.evaluation import reports, workers
from edge.evaluation import validate as validate_module
from edge.evaluation.ava import evaluate_ava
from edge.evaluation.options import ModelChoice, ValOptions
from edge.evaluation.predictors import Predictor, open_predictor
from edge.evaluation.validate import ValReport, validate
from runtime.bundle import DEFAULT_BUNDLE, Bundle
from runtime.engine import load_engine
from runtime.errors import ArtifactError, ConfigError, EdgeError
from runtime.preprocess import normalize
from runtime.types import ClipSpec, Outputs

NAMES = ("walk", "wave", "fall")
SHAPE = ClipSpec(num_frames=4, height=32, width=48, sampling_rate=4, fps=30.0)
TOKENS = 6


class Drawn(ClipDataset):
    """Clips with a bright actor whose place and action a simple model can tell from the pixels."""

    def __init__(self, class_names: tuple[str, ...] = NAMES, count: int = 40) -> None:
        self.class_names, self.count = class_names, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> ClipSample:
        frames = np.full((4, 32, 48, 3), 40, np.uint8)
        left = 8 * (index % 5)
        action = index % 3
        for t in range(4):
            # Which action it is shows in the first frame only, so a frozen clip hides it.
            frames[t, 8:24, left : left + 8] = 100 + (40 * action if t == 0 else 0)
        box = np.array([[left / 48, 8 / 32, (left + 8) / 48, 24 / 32]], np.float32)
        return ClipSample(
            frames_rgb=frames,
            boxes=box,
            labels=np.array([[name == NAMES[action] for name in self.class_names]], np.float32),
            inactive_persons=np.array([[0.9, 0.0, 1.0, 0.2]], np.float32)[: index % 2],
            clip_id=f"drawn/{index}",
            size_wh=(48, 32),
        )


def see(clips: Sequence[np.ndarray]) -> list[Outputs]:
    """Answer as a good model would: one token on the bright box, the others far from it."""
    result = []
    for clip in clips:
        ys, xs = np.nonzero(clip[2, :, :, 0] > 60)
        boxes = np.full((TOKENS, 4), 0.1, np.float32)
        x1, x2, y1, y2 = xs.min() / 48, (xs.max() + 1) / 48, ys.min() / 32, (ys.max() + 1) / 32
        boxes[3] = ((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1)
        actor = np.full(TOKENS, -4.0, np.float32)
        actor[3] = 2.0
        actions = np.full((TOKENS, 3), -3.0, np.float32)
        actions[3, (int(clip[0].max()) - 100) // 40] = 3.0
        result.append((boxes, actor, actions))
    return result


def predictor(class_names: tuple[str, ...] = NAMES, conf: float | None = None) -> Predictor:
    return Predictor(
        name="drawn/model", class_names=class_names, shape=SHAPE, conf=conf, trained=True,
        precision="fp32", sha256="0" * 64, run=see,
    )  # fmt: skip


Run = Callable[..., ValReport]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Return a function that evaluates the simple model; keyword `model` takes another."""

    def run_it(
        dataset: Drawn | None = None, *, model: Predictor | None = None, data: str = "drawn",
        progress: Callable[[str, int, int], None] | None = None, **flags: object,
    ) -> ValReport:  # fmt: skip
        clips = Drawn() if dataset is None else dataset
        chosen = predictor() if model is None else model
        monkeypatch.setattr(validate_module, "open_predictor", lambda choice: chosen)
        settings = {"out": tmp_path / "val", "plots": False, "worst": 0, **flags}
        return validate(
            ModelChoice(model="x"), lambda shape: clips, data=data,
            options=ValOptions(**settings), progress=progress,
        )  # fmt: skip

    return run_it


def test_a_model_that_sees_everything_scores_one(run: Run) -> None:
    report = run(worst=2)
    content = report.content
    assert (content["clips"], content["actors"], content["bystanders"]) == (40, 40, 20)
    assert content["frame_map"] == content["actor_ap"] == 1.0
    assert content["conf_from"] == "the best F1 on these very clips"
    at = content["at_threshold"]
    assert (at["precision"], at["recall"], at["duplicates_per_actor"]) == (1.0, 1.0, 0.0)
    assert json.loads((report.out / "metrics.json").read_text("utf-8")) == content
    assert all((report.out / name).is_file() for name in report.files)
    with (report.out / "per_class.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["class"] for row in rows] == list(NAMES)
    assert [row["said so"] for row in rows] == ["1.000"] * 3
    assert any("frame-mAP@0.5  1.0000" in line for line in report.lines())


def test_a_frozen_clip_hides_what_only_motion_shows(run: Run) -> None:
    content = run(frozen=True).content
    assert content["frozen"] is True
    assert content["actor_ap"] == 1.0
    assert content["frame_map"] < 0.5


def test_the_files_are_those_of_ava(run: Run) -> None:
    report = run()
    classes = read_label_map(report.out / "classes.pbtxt")
    assert classes == {1: "walk", 2: "wave", 3: "fall"}
    found = read_detections(report.out / "detections.csv")
    truth = read_ground_truth(report.out / "ground_truth.csv")
    assert len(found.keyframes) == len(truth.keyframes) == 40
    assert found.keyframes[0] == ("drawn/0", 0)
    again = evaluate_ava(found, truth, label_map=classes)
    assert again.mean_ap == report.content["frame_map_of_detections_csv"] == 1.0


def test_only_the_best_rows_of_a_clip_are_written(run: Run) -> None:
    names = tuple(f"action {i}" for i in range(20))

    def noise(clips: Sequence[np.ndarray]) -> list[Outputs]:
        random = np.random.default_rng(0)
        return [
            (
                np.full((TOKENS, 4), 0.5, np.float32),
                random.normal(size=TOKENS).astype(np.float32),
                random.normal(size=(TOKENS, 20)).astype(np.float32),
            )
            for _ in clips
        ]

    model = replace(predictor(names), run=noise)
    report = run(Drawn(names, count=2), model=model, conf=0.0)
    scores = read_detections(report.out / "detections.csv").boxes.score
    assert scores is not None
    assert len(scores) == 2 * reports.CSV_ROWS_PER_CLIP
    assert report.content["frame_map"] is None, "none of these classes is in the clips"


def test_classes_are_matched_by_name(run: Run) -> None:
    turned = ("fall", "walk", "wave")

    def turned_see(clips: Sequence[np.ndarray]) -> list[Outputs]:
        return [(boxes, actor, actions[:, [2, 0, 1]]) for boxes, actor, actions in see(clips)]

    content = run(model=replace(predictor(turned), run=turned_see)).content
    assert list(content["ap"]) == list(NAMES)
    assert content["frame_map"] == 1.0


def test_a_model_that_knows_more_is_judged_by_the_classes_of_the_data(run: Run) -> None:
    wide = ("fall", "climb", "walk", "wave", "swim")

    def wide_see(clips: Sequence[np.ndarray]) -> list[Outputs]:
        sure = np.full((TOKENS, 1), 9.0, np.float32)
        return [
            (boxes, actor, np.hstack([actions[:, [2]], sure, actions[:, [0, 1]], sure]))
            for boxes, actor, actions in see(clips)
        ]

    report = run(model=replace(predictor(wide), run=wide_see))
    assert list(report.content["ap"]) == list(NAMES)
    assert report.content["frame_map"] == 1.0
    assert report.content["classes_left_out"] == ["climb", "swim"]
    assert any("does not have climb, swim, which the model knows" in x for x in report.lines())


def test_other_classes_are_refused_before_anything_runs(run: Run) -> None:
    with pytest.raises(ConfigError, match=r"only the model knows climb; only the data set knows"):
        run(model=predictor(("walk", "wave", "climb")))


@pytest.mark.parametrize(
    ("flags", "model_conf", "conf", "source"),
    [
        pytest.param({"conf": 0.25}, 0.75, 0.25, "as asked", id="asked"),
        pytest.param({}, 0.75, 0.75, "the artifact's own", id="the artifact's"),
    ],
)
def test_the_threshold_is_the_nearest_one_given(
    run: Run, flags: dict[str, float], model_conf: float, conf: float, source: str
) -> None:
    content = run(model=predictor(conf=model_conf), **flags).content
    assert (content["at_threshold"]["conf"], content["conf_from"]) == (conf, source)


class StopError(Exception):
    """Stands for a kill."""


def test_a_stopped_run_goes_on_with_what_is_missing(run: Run, tmp_path: Path) -> None:
    whole = run(out=tmp_path / "whole")
    seen: list[int] = []

    def counted(clips: Sequence[np.ndarray]) -> list[Outputs]:
        seen.append(len(clips))
        if len(seen) == 3:
            raise StopError
        return see(clips)

    model = replace(predictor(), run=counted)
    with pytest.raises(StopError):
        run(model=model)
    assert sorted(p.name for p in (tmp_path / "val" / "outputs").glob("*")) == [
        "000000.npz", "000001.npz", "state.json",
    ]  # fmt: skip
    with pytest.raises(ConfigError, match="--resume"):
        run()
    told: list[tuple[int, int]] = []
    report = run(
        model=model, resume=True, progress=lambda _, done, total: told.append((done, total))
    )
    assert seen == [16, 16, 8, 8], "the third part alone was run again"
    assert told == [(32, 40), (40, 40)]
    assert report.content == whole.content
    for name in ("detections.csv", "per_class.csv"):
        assert (report.out / name).read_bytes() == (whole.out / name).read_bytes()


def test_a_damaged_part_is_made_again(run: Run, tmp_path: Path) -> None:
    whole = run().content
    part = tmp_path / "val" / "outputs" / "000001.npz"
    part.write_bytes(part.read_bytes()[:-500])
    assert run(resume=True).content == whole


def test_outputs_of_another_run_are_never_mixed_in(run: Run, tmp_path: Path) -> None:
    run()
    with pytest.raises(ConfigError, match="model_sha256"):
        run(resume=True, model=replace(predictor(), sha256="1" * 64))
    with pytest.raises(ConfigError, match="data, clips differ"):
        run(Drawn(count=20), data="drawn:20", resume=True)
    with pytest.raises(ConfigError, match="first_clip_sha256"):
        run(resume=True, frozen=True)
    assert run(Drawn(count=20), data="drawn:20", overwrite=True).content["clips"] == 20
    assert len(list((tmp_path / "val" / "outputs").glob("*.npz"))) == 2
    (tmp_path / "val" / "outputs" / "state.json").write_text("{", encoding="utf-8")
    with pytest.raises(ArtifactError, match="--overwrite"):
        run(resume=True)


def test_a_worker_that_dies_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, run: Run
) -> None:
    class Pool:
        def __init__(self, *_: object, **__: object) -> None:
            pass

        def submit(self, *_: object) -> object:
            raise workers.BrokenProcessPool

        def shutdown(self, **_: object) -> None:
            pass

    monkeypatch.setattr(workers, "ProcessPoolExecutor", Pool)
    with pytest.raises(EdgeError, match="--resume and fewer --workers"):
        run(workers=2)


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        pytest.param({"conf": 1.5}, "conf is 1.5", id="conf"),
        pytest.param({"workers": 0}, "workers is 0", id="workers"),
        pytest.param({"worst": -1}, "worst is -1", id="worst"),
        pytest.param({"resume": True, "overwrite": True}, "contradict", id="both"),
    ],
)
def test_an_option_of_no_use_is_refused(flags: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        ValOptions(out=Path("x"), **flags)


def test_the_pictures_are_drawn(run: Run) -> None:
    pytest.importorskip("matplotlib")
    report = run(plots=True, worst=3)
    for name, least in (("precision_recall.png", 600), ("confusion.png", 300), ("worst.jpg", 500)):
        image = cv2.imread(str(report.out / name))
        assert image is not None, name
        assert min(image.shape[:2]) >= least
        assert image.std() > 5, f"{name} is blank"


def test_no_picture_of_an_older_run_stays(run: Run) -> None:
    report = run(worst=1)
    assert (report.out / "worst.jpg").is_file()
    assert not (run(resume=True).out / "worst.jpg").exists()


def test_a_bundle_answers_by_its_shipped_engine() -> None:
    pytest.importorskip("runtime._native", reason="the native runtime is not built here")
    with Bundle.load(DEFAULT_BUNDLE) as bundle:
        spec, engine = bundle.spec, load_engine(bundle, num_threads=1)
    size = (spec.clip.num_frames, spec.clip.height, spec.clip.width, 3)
    clip = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)
    expected = engine(normalize(clip, spec.clip)).of(0)
    program = next(DEFAULT_BUNDLE.glob("*.pte"))
    for model in (DEFAULT_BUNDLE, program):
        found = open_predictor(ModelChoice(model=str(model), num_threads=1))
        assert found.class_names == spec.class_names
        assert (found.conf, found.precision) == (engine.artifact.conf, "int8")
        assert (found.shape.num_frames, found.shape.height) == (size[0], size[1])
        for a, b in zip(found.run([clip])[0], expected, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("choice", "sentence"),
    [
        pytest.param({"model": "x.onnx"}, "no bundle.json beside it", id="a graph alone"),
        pytest.param({"model": "x.pte"}, "no bundle.json beside it", id="a program alone"),
        pytest.param({"model": "x.pt", "artifact": "a"}, "is a checkpoint", id="no artifacts"),
        pytest.param({"model": "x.pte", "artifact": "a"}, "nothing to choose", id="one program"),
        pytest.param({"model": "b", "device": "cuda:0"}, "is for checkpoints", id="device"),
    ],
)
def test_a_choice_that_does_not_fit_is_refused(choice: dict[str, str], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        open_predictor(ModelChoice(**choice))
