"""The log of a run, and TensorBoard's."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from edge.training.logs import RunLog, read_log

torch.set_num_threads(1)


def test_the_log_forgets_what_came_after_the_saved_step(tmp_path: Path) -> None:
    log = RunLog(tmp_path, step=0, tensorboard=False)
    for step in range(1, 6):
        log.write("train", step, {"loss": step * 0.5})
    log.close()
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"kind": "train", "st')  # cut short by a kill
    RunLog(tmp_path, step=3, tensorboard=False).close()
    assert [row["step"] for row in read_log(tmp_path)] == [1, 2, 3]
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    assert json.loads(lines[-1]) == {"kind": "train", "step": 3, "loss": 1.5}


def test_tensorboard_gets_every_number(tmp_path: Path) -> None:
    log = RunLog(tmp_path, step=0, tensorboard=True)
    log.write("val", 1, {"frame_map": 0.5, "ap": {"left": 0.25}, "note": "text"})
    log.close()
    content = b"".join(path.read_bytes() for path in (tmp_path / "tensorboard").iterdir())
    assert b"val/frame_map" in content
    assert b"val/ap/left" in content
