"""`edge val --shard I/N`: shares in any order, or at once, give the figures of one run."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from edge.cli import main
from edge.data.dataset import ClipDataset
from edge.data.samples import ClipSample
from edge.evaluation import validate as validate_module
from edge.evaluation.options import ModelChoice, ValOptions
from edge.evaluation.outputs import PART_CLIPS, STATE_FILE, parts_of
from edge.evaluation.predictors import Predictor
from edge.evaluation.validate import compute_share, validate
from runtime.errors import CaptureError, ConfigError
from runtime.types import ClipSpec, Outputs

CLIPS = 75  # five parts, the last one shorter
SHAPE = ClipSpec(num_frames=2, height=4, width=4, sampling_rate=1, fps=10.0)


class Numbered(ClipDataset):
    """Clips that show their number; some cannot be decoded."""

    class_names = ("walk", "wave")

    def __init__(self, lost: Sequence[int] = ()) -> None:
        self.lost = set(lost)

    def __len__(self) -> int:
        return CLIPS

    def __getitem__(self, index: int) -> ClipSample:
        if index in self.lost:
            raise CaptureError(f"clip {index} is damaged")
        return self.without_frames(index, np.full((2, 4, 4, 3), index, np.uint8))

    def without_frames(self, index: int, frames: np.ndarray | None = None) -> ClipSample:
        nothing = np.zeros((0, 0, 0, 3), np.uint8)
        return ClipSample(
            frames_rgb=nothing if frames is None else frames,
            boxes=np.array([[0.2, 0.2, 0.6, 0.8]], np.float32),
            labels=np.eye(2, dtype=np.float32)[[index % 2]],
            inactive_persons=np.zeros((0, 4), np.float32),
            clip_id=f"numbered/{index}",
            size_wh=(4, 4),
        )


class Model:
    """Answers by the number that a clip shows, and counts what it is asked."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def __call__(self, clips: Sequence[np.ndarray]) -> list[Outputs]:
        result = []
        for clip in clips:
            number = int(clip[0, 0, 0, 0])
            self.asked.append(number)
            random = np.random.default_rng(number)
            boxes = np.array([[0.4, 0.5, 0.4, 0.6], [0.8, 0.1, 0.1, 0.1]], np.float32)
            scores = random.normal(size=(2, 3)).astype(np.float32)
            result.append((boxes, scores[:, 0], scores[:, 1:]))
        return result


class Run:
    """One command on one data set into one folder."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, out: Path, data: Numbered) -> None:
        self.model, self.out, self.data = Model(), out, data
        self.predictor = Predictor(
            name="numbered/model", class_names=("walk", "wave"), shape=SHAPE, conf=0.5,
            trained=True, precision="fp32", sha256="0" * 64, run=self.model,
        )  # fmt: skip
        monkeypatch.setattr(validate_module, "open_predictor", lambda choice: self.predictor)

    def share(self, share: int, shares: int) -> list[str]:
        options = ValOptions(out=self.out, plots=False, worst=0, shard=(share, shares))
        return compute_share(
            ModelChoice(model="x"), lambda shape: self.data, data="numbered", options=options
        )

    def count(self, *, resume: bool = True) -> dict[str, object]:
        options = ValOptions(out=self.out, plots=False, worst=0, resume=resume)
        return validate(
            ModelChoice(model="x"), lambda shape: self.data, data="numbered", options=options
        ).content


@pytest.mark.parametrize("lost", [(), (3, 20, 70)], ids=["whole", "damaged"])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_shares_in_any_order_give_the_reports_of_one_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, order: Sequence[int], lost: Sequence[int]
) -> None:
    data = Numbered(lost)
    one = Run(monkeypatch, tmp_path / "one", data)
    whole = one.count(resume=False)
    several = Run(monkeypatch, tmp_path / "several", data)
    for share in order:
        lines = several.share(share, 3)
        assert lines[0].startswith(f"share {share + 1} of 3: ")
        assert "--resume in place of --shard" in lines[1]
        assert not (several.out / "metrics.json").exists(), "a share writes no reports"
    assert sorted(several.model.asked) == sorted(set(range(CLIPS)) - set(lost))
    several.model.asked.clear()
    assert several.count() == whole
    if not lost:
        assert several.model.asked == [], "nothing is computed twice"
    for name in ("per_class.csv", "detections.csv", "ground_truth.csv"):
        assert (several.out / name).read_bytes() == (one.out / name).read_bytes()


def test_the_last_run_computes_what_lacks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run = Run(monkeypatch, tmp_path / "val", Numbered())
    run.share(1, 2)
    asked = list(run.model.asked)
    assert asked == [*range(16, 32), *range(48, 64)]
    run.share(1, 2)
    assert run.model.asked == asked, "a share that is started again finds its work done"
    assert run.count()["clips"] == CLIPS
    assert sorted(run.model.asked) == list(range(CLIPS))


def test_shares_refuse_as_many_lost_clips_as_one_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    spread = [index for index in range(CLIPS) if index % 8 == 0]  # ten of 75
    run = Run(monkeypatch, tmp_path / "val", Numbered(spread))
    for share in range(3):
        run.share(share, 3)
    with pytest.raises(CaptureError, match="more than a tenth"):
        run.count()


def test_shares_of_another_run_are_never_mixed_in(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run = Run(monkeypatch, tmp_path / "val", Numbered())
    run.share(0, 2)
    run.predictor = Predictor(
        name="other/model", class_names=("walk", "wave"), shape=SHAPE, conf=0.5, trained=True,
        precision="fp32", sha256="1" * 64, run=run.model,
    )  # fmt: skip
    with pytest.raises(ConfigError, match="model_sha256, model differ"):
        run.share(1, 2)
    (run.out / "outputs" / STATE_FILE).unlink()
    with pytest.raises(ConfigError, match="of an unknown run"):
        run.share(1, 2)
    assert (run.out / "outputs" / "000000.npz").is_file(), "a share deletes nothing"


@pytest.mark.parametrize(("clips", "shares"), [(1, 1), (33, 2), (160, 3), (17, 5)])
def test_shares_are_all_parts_and_no_part_twice(clips: int, shares: int) -> None:
    every = [part for share in range(shares) for part in parts_of(clips, (share, shares))]
    assert sorted(every) == list(range(-(-clips // PART_CLIPS)))


def test_shares_at_the_same_time_fill_one_folder(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    from edge.model.checkpoint import save_checkpoint
    from edge.model.variants import build_model
    from edge.world import CLASS_NAMES

    model = build_model(
        "nano-scratch", num_classes=len(CLASS_NAMES), seed=0, num_frames=4, height=64, width=64,
        channels=(16, 32), depths=(1, 1), head_channels=16, strides=(2,), kv_strides=(4, 2),
    )  # fmt: skip
    save_checkpoint(tmp_path / "tiny.pt", model, class_names=CLASS_NAMES, trained=False, note="")
    argv = ["val", "--model", str(tmp_path / "tiny.pt"), "--data", "synthetic-val:40", "--no-plots"]
    argv += ["--worst", "0", "--num-threads", "1", "--quiet"]
    one, several = tmp_path / "one", tmp_path / "several"
    command = [sys.executable, "-m", "edge", *argv, "--out", str(several)]
    shares = [
        subprocess.Popen([*command, "--shard", f"{share}/3"], stdout=subprocess.DEVNULL)
        for share in (1, 2, 3)
    ]
    assert main([*argv, "--out", str(one)]) == 0
    assert [share.wait(timeout=300) for share in shares] == [0, 0, 0]
    assert main([*argv, "--out", str(several)]) == 2, "without --resume it is refused"
    assert main([*argv, "--out", str(several), "--resume"]) == 0
    names = sorted(path.name for path in (several / "outputs").iterdir())
    assert names == ["000000.npz", "000001.npz", "000002.npz", STATE_FILE]
    results = [json.loads((out / "metrics.json").read_text("utf-8")) for out in (one, several)]
    assert results[0] == results[1]
    with (several / "per_class.csv").open(encoding="utf-8") as stream:
        assert len(list(csv.reader(stream))) == 1 + len(CLASS_NAMES)


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        pytest.param(["--shard", "3/2"], "expected I/N with 1 <= I <= N", id="beyond"),
        pytest.param(["--shard", "1"], "expected I/N with 1 <= I <= N", id="no slash"),
        pytest.param(["--shard", "1/2", "--overwrite"], "--shard goes without", id="overwrite"),
        pytest.param(
            ["--shard", "1/2", "--detections", "d.csv", "--ground-truth", "g.csv"],
            "--shard is of use with --model only", id="files",
        ),
    ],
)  # fmt: skip
def test_a_share_of_no_use_is_refused(
    argv: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = [] if "--detections" in argv else ["--model", "m.pt", "--data", "synthetic-val:2"]
    out = tmp_path / "val"
    assert main(["val", *source, "--out", str(out), *argv]) == 2
    assert sentence in capsys.readouterr().err
    assert not out.exists()
