"""A clip that cannot be decoded is missed, named and counted; it never ends an evaluation."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.cli import main
from edge.data.ava_files import read_detections, read_ground_truth
from edge.data.dataset import ClipDataset, RepeatKeyframe, WrappedDataset
from edge.data.registry import open_dataset
from edge.data.samples import ClipSample
from edge.data.subset import EvenSubset
from edge.evaluation import decode_errors
from edge.evaluation import validate as validate_module
from edge.evaluation.options import ModelChoice, ValOptions
from edge.evaluation.predictors import Predictor
from edge.evaluation.validate import ValReport, validate
from runtime.bundle import DEFAULT_BUNDLE, Bundle
from runtime.errors import CaptureError, ConfigError
from runtime.options import EXIT_FAILED
from runtime.types import ClipSpec, Outputs

SHAPE = ClipSpec(num_frames=4, height=32, width=32, sampling_rate=2, fps=20.0)
FPS, GOOD, TORN = 20.0, 40, 160
LOST = [20, 21]  # clips of the data set: those behind the damage
WHY = "it is shorter than it says, or damaged there"


def write_video(path: Path, count: int) -> None:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), FPS, (64, 48))
    for index in range(count):
        writer.write(np.full((48, 64, 3), 20 + index, np.uint8))
    writer.release()


def tear(path: Path) -> None:
    """Overwrite a fifth of a file in its middle: it opens, begins and ends as before."""
    content = bytearray(path.read_bytes())
    first, stop = len(content) * 4 // 10, len(content) * 6 // 10
    content[first:stop] = bytes(stop - first)
    path.write_bytes(content)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return 20 clips of a whole video, behind them two of a torn one's middle."""
    with Bundle.load(DEFAULT_BUNDLE) as bundle:
        names = bundle.spec.class_names
    root = tmp_path / "mine"
    (root / "videos").mkdir(parents=True)
    write_video(root / "videos" / "a.avi", GOOD)
    write_video(root / "videos" / "torn.avi", TORN)
    tear(root / "videos" / "torn.avi")
    (root / "classes.txt").write_text("".join(f"{name}\n" for name in names))
    rows = [f"a,{i / 10},0.1,0.1,0.5,0.9,{1 + i % 2}\n" for i in range(20)]
    rows += [f"torn,{t},0.1,0.1,0.5,0.9,1\n" for t in (3.5, 3.75)]
    (root / "annotations.csv").write_text("".join(rows))
    return root


with Bundle.load(DEFAULT_BUNDLE) as _bundle:
    CLASSES = len(_bundle.spec.class_names)


def see(clips: Sequence[np.ndarray]) -> list[Outputs]:
    """Answer the true box and its two actions, to each clip the same."""
    boxes = np.float32([[0.3, 0.5, 0.4, 0.8], [0.9, 0.1, 0.05, 0.05]])
    actions = np.full((2, CLASSES), -5.0, np.float32)
    actions[0, :2] = 3.0
    assert all(clip.any() for clip in clips), "no model is shown a clip that was never decoded"
    return [(boxes, np.float32([2.0, -4.0]), actions) for _ in clips]


class Evaluate:
    """Evaluates a simple model on the clips of a folder, or on other ones."""

    def __init__(self, folder: Path, out: Path) -> None:
        self.folder, self.out = folder, out

    def __call__(self, dataset: ClipDataset | None = None, **flags: object) -> ValReport:
        clips = open_dataset(str(self.folder), SHAPE) if dataset is None else dataset
        options = ValOptions(**{"out": self.out, "plots": False, "worst": 3, **flags})
        return validate(ModelChoice(model="x"), lambda _: clips, data="mine", options=options)


@pytest.fixture
def evaluate(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Evaluate:
    with Bundle.load(DEFAULT_BUNDLE) as bundle:
        names = bundle.spec.class_names
    model = Predictor(
        name="simple", class_names=names, shape=SHAPE, conf=0.5, trained=True, precision="fp32",
        sha256="0" * 64, run=see,
    )  # fmt: skip
    monkeypatch.setattr(validate_module, "open_predictor", lambda choice: model)
    return Evaluate(data, tmp_path / "val")


def test_the_damage_is_real(data: Path) -> None:
    clips = open_dataset(str(data), SHAPE)
    assert len(clips) == 22, "the video opens"
    for index in LOST:
        with pytest.raises(CaptureError, match=WHY):
            clips[index]
        blank = clips.without_frames(index)
        assert blank is not None
        assert not blank.frames_rgb.any()
        assert blank.frames_rgb.shape == (4, 32, 32, 3)
        np.testing.assert_allclose(blank.boxes, [[0.1, 0.1, 0.5, 0.9]])


def test_truth_without_frames_is_that_of_the_clip(data: Path) -> None:
    clips = open_dataset(str(data), SHAPE)
    for dataset in (
        clips,
        RepeatKeyframe(clips),
        EvenSubset(clips, 5),
        RepeatKeyframe(EvenSubset(clips, 5)),
    ):
        whole, blank = dataset[3], dataset.without_frames(3)
        assert blank is not None
        assert (blank.clip_id, blank.size_wh) == (whole.clip_id, whole.size_wh)
        for name in ("boxes", "labels", "inactive_persons"):
            np.testing.assert_array_equal(getattr(blank, name), getattr(whole, name))
    drawn = open_dataset("synthetic-val:2", SHAPE)
    assert RepeatKeyframe(drawn).without_frames(0) is None


def test_a_lost_clip_counts_as_missed_and_is_named(
    evaluate: Evaluate, caplog: pytest.LogCaptureFixture
) -> None:
    report = evaluate()
    content = report.content
    assert (content["clips"], content["actors"]) == (22, 22)
    assert content["at_threshold"]["recall"] == pytest.approx(20 / 22)
    assert content["at_threshold"]["precision"] == 1.0
    assert (content["undecodable_clips"], content["undecodable_left_out"]) == (2, 0)
    assert [clip["clip_id"] for clip in content["undecodable"]] == [
        "torn/000003.500", "torn/000003.750",
    ]  # fmt: skip
    assert all(WHY in clip["why"] for clip in content["undecodable"])
    assert json.loads((report.out / "metrics.json").read_text("utf-8")) == content
    assert caplog.text.count("cannot be decoded, the ") == 2
    assert "clip torn/000003.750 cannot be decoded, the 2. of this run" in caplog.text
    lines = "\n".join(report.lines())
    assert "clips that cannot be decoded: 2; count as missed\n  torn/000003.500: " in lines
    found = read_detections(report.out / "detections.csv")
    truth = read_ground_truth(report.out / "ground_truth.csv")
    assert {video for video, _ in found.keyframes} == {"a"}
    assert len(truth.keyframes) == 22
    assert cv2.imread(str(report.out / "worst.jpg")) is not None


def test_whole_clips_are_drawn_in_place_of_lost_ones(evaluate: Evaluate) -> None:
    assert "worst.jpg" in evaluate(worst=30).files


def test_a_resumed_run_names_them_too_and_reads_mended_ones(
    evaluate: Evaluate, data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = evaluate()
    part = first.out / "outputs" / "000000.npz"
    before = part.stat().st_mtime_ns
    caplog.clear()
    again = evaluate(resume=True)
    assert again.content == first.content
    assert caplog.text.count("cannot be decoded, the ") == 2
    write_video(data / "videos" / "torn.avi", TORN)
    mended = evaluate(resume=True).content
    assert (mended["undecodable_clips"], mended["undecodable"]) == (0, [])
    assert mended["at_threshold"]["recall"] == 1.0
    assert part.stat().st_mtime_ns == before, "only the part with lost clips was run again"


def test_several_processes_name_them_too(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("runtime._native", reason="the native runtime is not built here")
    reports = [
        validate(
            ModelChoice(model=str(DEFAULT_BUNDLE), num_threads=1),
            lambda shape: open_dataset(str(data), shape),
            data="mine",
            options=ValOptions(out=tmp_path / str(workers), plots=False, workers=workers),
        )
        for workers in (1, 2)
    ]
    assert reports[0].content == reports[1].content
    assert reports[1].content["undecodable_clips"] == 2
    assert caplog.text.count("clip torn/000003.500 cannot be decoded") == 2, "once by each run"


def test_outputs_of_older_runs_are_gone_on_with(evaluate: Evaluate, data: Path) -> None:
    write_video(data / "videos" / "torn.avi", TORN)
    first = evaluate()
    for path in (first.out / "outputs").glob("*.npz"):
        with np.load(path) as part:
            old = {name: part[name] for name in part.files if name not in ("why", "has_truth")}
        np.savez(path, **old)
        before = path.stat().st_mtime_ns
    assert evaluate(resume=True).content == first.content
    assert path.stat().st_mtime_ns == before


class Some(WrappedDataset):
    """The same clips, of which a few are lost; where `truth` is not, nothing is known of them."""

    def __init__(self, dataset: ClipDataset, lost: Sequence[int], *, truth: bool = True) -> None:
        super().__init__(dataset)
        self.lost, self.truth = lost, truth

    def clip(self, index: int, epoch: int = 0) -> ClipSample:
        if index in self.lost:
            raise CaptureError(f"no. {index}\nis \udc80 gone")
        return super().clip(index, epoch)

    def without_frames(self, index: int) -> ClipSample | None:
        return super().without_frames(index) if self.truth else None


@pytest.fixture
def whole(data: Path) -> ClipDataset:
    write_video(data / "videos" / "torn.avi", TORN)
    return open_dataset(str(data), SHAPE)


def test_clips_of_unknown_truth_are_left_out(evaluate: Evaluate, whole: ClipDataset) -> None:
    report = evaluate(Some(whole, [0, 17], truth=False))
    content = report.content
    assert (content["clips"], content["at_threshold"]["recall"]) == (20, 1.0)
    assert (content["undecodable_clips"], content["undecodable_left_out"]) == (2, 2)
    assert content["undecodable"][1] == {"clip_id": "clip 17", "why": "no. 17 is \\udc80 gone"}
    assert "2 of unknown truth are left out" in "\n".join(report.lines())
    keys = read_ground_truth(report.out / "ground_truth.csv").keyframes
    assert ("a", 1) not in keys[:1], "each clip lies where it lay"
    assert ("torn", 75) in keys


@pytest.mark.parametrize("truth", [True, False])
def test_the_first_clip_of_all_may_be_lost(
    evaluate: Evaluate, whole: ClipDataset, *, truth: bool
) -> None:
    torn = Some(whole, [0], truth=truth)
    first = evaluate(torn)
    assert first.content["undecodable_clips"] == 1
    assert evaluate(torn, resume=True).content == first.content
    mended = evaluate(whole, resume=True).content
    assert (mended["undecodable_clips"], mended["clips"]) == (0, 22)
    with pytest.raises(ConfigError, match="clips differ"):
        evaluate(EvenSubset(whole, 12), resume=True)


def test_more_than_a_tenth_end_the_run_and_no_report_stays(
    evaluate: Evaluate, whole: ClipDataset
) -> None:
    with pytest.raises(CaptureError, match=r"3 of 22 clips cannot be decoded so far, more than a"):
        evaluate(Some(whole, [1, 18, 19]))
    assert not (evaluate.out / "metrics.json").exists()
    assert evaluate(whole, resume=True).content["undecodable_clips"] == 0
    with pytest.raises(CaptureError, match=r"3 of 22 clips"):
        evaluate(Some(whole, range(22)), overwrite=True)


def test_names_are_capped_and_counts_are_not(
    evaluate: Evaluate, whole: ClipDataset, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.setattr(decode_errors, "MOST_NAMED", 1)
    report = evaluate(Some(whole, [4, 5]))
    assert report.content["undecodable_clips"] == 2
    assert len(report.content["undecodable"]) == 1
    assert "and 1 more: see metrics.json" in "\n".join(report.lines())
    assert "further clips that cannot be decoded are counted, not named" in caplog.text


def test_the_verb_ends_with_one_sentence(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("runtime._native", reason="the native runtime is not built here")
    table = data / "annotations.csv"
    table.write_text("".join(table.read_text().splitlines(keepends=True)[12:]))
    argv = ["val", "--model", str(DEFAULT_BUNDLE), "--data", str(data), "--no-plots"]
    assert main([*argv, "--out", str(tmp_path / "out")]) == EXIT_FAILED
    told = capsys.readouterr()
    assert told.out == ""
    assert "2 of 10 clips cannot be decoded so far, more than a tenth" in told.err
    assert "Traceback" not in told.err
