"""What a fuzzer found once (tools/fuzz) is one sentence now; so is each good file, damaged."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS, try_bytes

FINDS = Path(__file__).with_name("finds")


@pytest.mark.parametrize(
    "path", sorted(p for p in FINDS.glob("*/*")), ids=lambda path: f"{path.parent.name}-{path.name}"
)
def test_a_find_is_one_sentence_now(path: Path, tmp_path: Path) -> None:
    refusal = try_bytes(TARGETS[path.parent.name], path.read_bytes(), tmp_path)
    assert refusal is None or "\n" not in refusal


@pytest.mark.parametrize("name", TARGETS)
def test_good_files_are_read_and_damaged_ones_are_one_sentence(name: str, tmp_path: Path) -> None:
    target = TARGETS[name]
    if target.heavy:
        pytest.importorskip("torch", reason="torch is not installed")
    rng = random.Random(0)
    refusals = []
    for seed in target.seeds():
        assert (try_bytes(target, seed, tmp_path) is None) == target.whole
        for _ in range(20):
            refusals.append(try_bytes(target, seed[: rng.randrange(len(seed))], tmp_path))
            changed = bytearray(seed)
            for _ in range(rng.randrange(1, 4)):
                changed[rng.randrange(len(seed))] = rng.randrange(256)
            refusals.append(try_bytes(target, bytes(changed), tmp_path))
    sentences = [refusal for refusal in refusals if refusal is not None]
    # Three of the readers collect what they refuse in place of raising it.
    assert sentences or name in ("folder", "table", "tubes"), "no damage was noticed"
    assert not [sentence for sentence in sentences if "\n" in sentence]
