"""`edge train` as a user starts it: killed, under torchrun, wrongly used."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from edge.cli import main
from edge.cli.train import parse
from edge.training.config import TrainOptions
from edge.training.run_folder import CONFIG_FILE, kept_flags
from runtime.errors import ConfigError
from runtime.parts import owned_folder

REPOSITORY = Path(__file__).resolve().parents[3]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
# The smallest variant on a few clips of the benchmark world.
FLAGS = (
    "train", "--model", "pico-scratch", "--data", "synthetic-train:8", "--val-clips", "2",
    "--batch", "4", "--lr0", "2e-4", "--steps", "6", "--log-every", "1", "--save-every", "3",
    "--workers", "0", "--device", "cpu", "--no-tensorboard", "--token-selection", "halves",
    "--val-every", "6",
)  # fmt: skip
LOSSES = ("loss", "actor", "bbox", "giou", "action")


def losses_of(folder: Path) -> list[list[float]]:
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [
        [row["step"], *(row[name] for name in LOSSES)] for row in rows if row["kind"] == "train"
    ]


def train(*flags: str, launcher: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *launcher, "-m", "edge", *flags], cwd=REPOSITORY, env=ENVIRONMENT,
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("train") / "straight"
    done = train(*FLAGS, "--out", str(folder))
    assert done.returncode == 0, done.stderr
    assert "finished at step 6 of 6" in done.stdout
    assert "edge export --model" in done.stdout
    assert "plain torch" in done.stderr
    lines = [line.split("s  ", 1)[1] for line in done.stderr.splitlines() if "s  " in line]
    assert lines[:2] == ["reading the data ...", "training from step 0 of 6"]
    assert lines[-1].startswith("step 6 of 6: ") or "frame-mAP" in lines[-1]
    assert any(line.startswith("step 1 of 6: loss ") for line in lines)
    assert "validating at step 6 ..." in lines
    return folder


def test_a_run_killed_at_once_goes_on_with_the_same_losses(straight: Path, tmp_path: Path) -> None:
    killed = tmp_path / "killed"
    process = subprocess.Popen(
        [sys.executable, "-m", "edge", *FLAGS, "--out", str(killed)], cwd=REPOSITORY,
        env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    log = killed / "log.jsonl"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        if log.exists() and log.read_text().count("\n") >= 4:
            break
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert len(losses_of(killed)) < 6
    done = train("train", "--resume", str(killed))
    assert done.returncode == 0, done.stderr
    assert "going on from step 3 of 6" in done.stderr
    assert losses_of(killed) == losses_of(straight)


def test_a_slow_run_is_saved_by_time(tmp_path: Path) -> None:
    folder = tmp_path / "slow"
    flags = [*FLAGS, "--save-every", "1000", "--save-minutes", "1e-6", "--out", str(folder)]
    assert train(*flags, "--limit-steps", "4").returncode == 0
    saved = (folder / "state.pt").stat().st_mtime_ns
    process = subprocess.Popen(
        [sys.executable, "-m", "edge", "train", "--resume", str(folder)], cwd=REPOSITORY,
        env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and (folder / "state.pt").stat().st_mtime_ns == saved:
        time.sleep(0.01)
    process.kill()
    process.wait()
    done = train("train", "--resume", str(folder))
    assert "going on from step 5 of 6" in done.stderr or "step 6 of 6" in done.stderr
    assert "finished at step 6 of 6" in done.stdout


def test_a_run_that_has_saved_nothing_begins_anew(straight: Path, tmp_path: Path) -> None:
    fresh, resumed = tmp_path / "fresh", tmp_path / "resumed"
    for folder in (fresh, resumed):
        folder.mkdir()
        shutil.copy(straight / "config.json", folder / "config.json")
        (folder / "log.jsonl").write_text("")
    done = train(*FLAGS, "--out", str(fresh), "--limit-steps", "1")
    assert done.returncode == 0, done.stderr
    assert "was stopped before it saved anything: it begins anew" in done.stderr
    done = train("train", "--resume", str(resumed), "--limit-steps", "1")
    assert done.returncode == 0, done.stderr
    assert "holds no state yet: the run begins anew" in done.stderr
    assert losses_of(fresh) == losses_of(resumed) == losses_of(straight)[:1]


def test_a_folder_in_which_another_process_trains_is_refused(
    straight: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    with owned_folder(folder):
        done = train(*FLAGS, "--out", str(folder))
        assert done.returncode == 1
        assert "is being written by another run" in done.stderr
        shutil.copy(straight / "config.json", folder / "config.json")
        done = train(*FLAGS, "--out", str(folder), "--overwrite")
        assert done.returncode == 1
        assert (folder / "config.json").exists()


def test_two_processes_give_the_losses_of_one(straight: Path, tmp_path: Path) -> None:
    pytest.importorskip("lightning_fabric", reason="several processes need lightning-fabric")
    folder = tmp_path / "two"
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    done = train(*FLAGS, "--out", str(folder), launcher=launcher)
    assert done.returncode == 0, done.stderr
    assert "2 processes on cpu, fp32, Lightning Fabric" in done.stderr
    assert done.stdout.count("finished at step 6 of 6") == 1
    two, one = losses_of(folder), losses_of(straight)
    assert len(two) == len(one) == 6
    for mine, theirs in zip(two, one, strict=True):
        assert mine == pytest.approx(theirs, rel=1e-4, abs=1e-4)


def test_norms_of_one_s_own_are_those_of_an_accumulated_batch(
    straight: Path, tmp_path: Path
) -> None:
    """A process's part of a batch is then normalised as a part of one process's batch is."""
    pytest.importorskip("lightning_fabric", reason="several processes need lightning-fabric")
    parts, own = tmp_path / "parts", tmp_path / "own"
    few = ("--limit-steps", "3", "--out")
    assert train(*FLAGS, "--accumulate", "2", *few, str(parts)).returncode == 0
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    done = train(*FLAGS, "--norms", "own", *few, str(own), launcher=launcher)
    assert done.returncode == 0, done.stderr
    for left, right in zip(losses_of(parts), losses_of(own), strict=True):
        assert left == pytest.approx(right, abs=1e-4)
    assert losses_of(own)[0] != pytest.approx(losses_of(straight)[0], abs=1e-3)


@pytest.mark.parametrize("group", [False, True], ids=["process", "group, with a worker"])
def test_a_stopped_run_says_so_by_its_exit_code(
    straight: Path, tmp_path: Path, group: bool
) -> None:
    folder, workers = tmp_path / "stopped", ["--workers", "1"] if group else []
    process = subprocess.Popen(
        [sys.executable, "-m", "edge", *FLAGS, *workers, "--out", str(folder)], cwd=REPOSITORY,
        env=ENVIRONMENT, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    log = folder / "log.jsonl"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        if log.exists() and log.read_text().count("\n") >= 2:
            break
        time.sleep(0.01)
    # `timeout` and systemd signal the group, and with it the makers of clips.
    (os.killpg if group else os.kill)(process.pid, signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "SIGTERM: finishing this step and saving" in err
    assert f"Go on: edge train --resume {folder}" in out
    whole = losses_of(folder)
    assert whole == losses_of(straight)[: len(whole)]


def begun(folder: Path, **changes: Any) -> TrainOptions:
    folder.mkdir()
    options = TrainOptions.of(data="synthetic-train", **changes)
    (folder / CONFIG_FILE).write_text(json.dumps(kept_flags(options)))
    return options


def test_a_resumed_run_takes_its_flags_from_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    options = begun(
        folder, model="pico", lr0=0.003, tensorboard=False, token_selection="all", val_data="other"
    )
    resumed = parse(["--resume", str(folder), "--max-minutes", "5"])
    assert kept_flags(resumed) == kept_flags(options)
    assert resumed.folder == folder
    assert resumed.run.max_minutes == 5.0
    with pytest.raises(ConfigError, match=r"--lr0 is 0\.1, but the run in"):
        parse([f"--resume={folder}", "--lr0", "0.1"])


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        pytest.param([], "--data", id="no-data"),
        pytest.param(["--data", "x", "--bach", "3"], "'--batch'", id="flag"),
        pytest.param(["--data", "x", "--model", "nanu"], "Did you mean 'nano'", id="model"),
        pytest.param(["--data", "x", "--batch", "0"], "--batch is 0", id="batch"),
        pytest.param(["--data", "x", "--lr0", "nan"], "--lr0 is nan", id="rate"),
        pytest.param(["--data", "x", "--ema", "1.0"], "--ema is 1.0", id="average"),
        pytest.param(["--data", "", "--batch", "2"], "--data is empty", id="empty"),
        pytest.param(["--data", "synthetic-trian"], "Did you mean 'synthetic-train'", id="name"),
        pytest.param(["--data", "synthetic-train", "--device", "tpu"], "--device", id="device"),
        pytest.param(["--data", "synthetic-train", "--batch", "3", "--accumulate", "2", "--model",
                      "pico-scratch"], "multiple of 2", id="parts"),
        pytest.param(["--data", "synthetic-train", "--model", "pico"],
                     "give --stem-weights", id="stem"),
    ],
)  # fmt: skip
def test_wrong_use_is_one_sentence(
    flags: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *flags, "--out", str(tmp_path / "run")]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_run_that_is_not_there_cannot_be_resumed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "--resume", str(tmp_path)]) == 1
    assert "no run to resume" in capsys.readouterr().err


def test_a_run_is_not_overwritten_unasked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    begun(tmp_path / "run")
    (tmp_path / "run" / "last.pt").touch()
    assert main(["train", "--data", "synthetic-train", "--out", str(tmp_path / "run")]) == 2
    assert "--overwrite" in capsys.readouterr().err
