"""What is counted under qemu is what ran, and what is missing is said in one sentence."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.aarch64_counts import (
    CountOptions,
    Emulator,
    emulator,
    of_one_result,
    read_counts,
    run,
)
from runtime.bundle import DEFAULT_BUNDLE, Bundle
from runtime.errors import ArtifactError, BackendUnavailableError

BUILD = Path(__file__).resolve().parents[2] / "build" / "aarch64" / "device"
ROUNDS = 1000
# Three rounds of a thousand, each with a write before it. Of the instructions in a round ten are of
# a kind that is counted, eight are their neighbours, and two are the loop.
PROGRAM = """
.arch armv8.2-a+dotprod+i8mm
.global _start
_start: mov x20, 3
again:  mov x0, FILE
        adr x1, _start
        mov x2, 1
        mov x8, 64
        svc 0
        mov x19, ROUNDS
round:  sdot v0.4s, v1.16b, v2.16b
        udot v0.2s, v1.8b, v2.8b
        sdot v0.4s, v1.16b, v17.4b[3]
        smmla v3.4s, v1.16b, v2.16b
        smull v4.8h, v1.8b, v2.8b
        smlal2 v4.8h, v1.16b, v2.16b
        smlal v5.4s, v1.4h, v2.h[7]
        smull2 v5.4s, v1.8h, v2.h[1]
        fmla v6.4s, v1.4s, v2.4s
        fmla v6.4s, v1.4s, v2.s[3]
        mla v7.4s, v1.4s, v2.4s
        umlal v7.8h, v1.8b, v2.8b
        smlsl v7.8h, v1.8b, v2.8b
        smlsl v7.4s, v1.4h, v2.h[7]
        sqdmull v7.4s, v1.4h, v2.h[1]
        fmls v7.4s, v1.4s, v2.4s
        fmul v7.4s, v1.4s, v2.s[1]
        sadalp v5.4s, v4.8h
        subs x19, x19, 1
        b.ne round
        subs x20, x20, 1
        b.ne again
        mov x0, 0
        mov x8, 93
        svc 0
"""


@pytest.fixture(scope="module")
def qemu() -> Iterator[Emulator]:
    try:
        with emulator() as found:
            yield found
    except BackendUnavailableError as error:
        pytest.skip(str(error))


def assembled(folder: Path, *, file: int) -> str:
    """Return a program that writes to this file descriptor."""
    compiler = shutil.which("aarch64-linux-gnu-gcc")
    if compiler is None:
        pytest.skip("no cross compiler: apt-get install g++-aarch64-linux-gnu")
    source, program = folder / "program.s", folder / "program"
    text = PROGRAM.replace("FILE", str(file)).replace("ROUNDS", str(ROUNDS))
    source.write_text(text, encoding="utf-8")
    subprocess.run([compiler, "-nostdlib", "-static", source, "-o", program], check=True)
    return str(program)


def test_each_instruction_that_ran_is_counted_once(qemu: Emulator, tmp_path: Path) -> None:
    counts = qemu.count([assembled(tmp_path, file=1)], cpu="max,sme=off")
    assert counts[0] == {"all": 6, "dot": 0, "matrix": 0, "widening": 0, "float": 0}
    # Between two writes: the rounds, and eight instructions around them.
    expected = {"all": 20 * ROUNDS + 8, "dot": 3 * ROUNDS, "matrix": ROUNDS,
                "widening": 4 * ROUNDS, "float": 2 * ROUNDS}  # fmt: skip
    assert of_one_result(counts, 2) == expected
    assert of_one_result(counts[:2], 1) == expected


def test_an_instruction_that_the_processor_lacks_is_refused(qemu: Emulator, tmp_path: Path) -> None:
    program = assembled(tmp_path, file=1)
    with pytest.raises(BackendUnavailableError, match=r"did not run on cortex-a53: .*signal 4"):
        qemu.count([program], cpu="cortex-a53")


def test_a_program_without_output_is_refused(qemu: Emulator, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="nothing was written to standard output"):
        qemu.count([assembled(tmp_path, file=2)], cpu="max,sme=off")


def test_numbers_of_one_kind_add_up(tmp_path: Path) -> None:
    file = tmp_path / "counts"
    file.write_text("all 10 dot 1 dot 2 \nall 30 dot 3 dot 4 \n", encoding="utf-8")
    assert read_counts(file) == [{"all": 10, "dot": 3}, {"all": 30, "dot": 7}]


@pytest.mark.parametrize("content", ["", "all 10 dot\n", "all ten\n", "\n\nall 1.5"])
def test_what_the_plugin_does_not_write_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "counts"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(ArtifactError, match="counts is not what the plugin"):
        read_counts(file)


@pytest.mark.parametrize(("counts", "results"), [([5, 9], 2), ([5, 9, 13], 1)])
def test_another_number_of_results_is_refused(counts: list[int], results: int) -> None:
    with pytest.raises(ArtifactError, match=rf"wrote {len(counts)} results, expected"):
        of_one_result([Counter({"all": number}) for number in counts], results)


def test_missing_build_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(BackendUnavailableError, match=r"edge_runner: sh tools/cross_build_aarch64"):
        run(CountOptions(build=str(tmp_path), out=str(tmp_path / "out")))
    assert not (tmp_path / "out").exists()


def test_missing_qemu_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with (
        pytest.raises(BackendUnavailableError, match=r"^qemu-aarch64 is missing: apt-get install"),
        emulator(),
    ):
        pass


@pytest.mark.slow
def test_dot_products_are_the_multiply_adds_of_the_bundle(qemu: Emulator, tmp_path: Path) -> None:
    if not (BUILD / "runtime" / "bin" / "edge_runner").is_file():
        pytest.skip("nothing is built for aarch64: sh tools/cross_build_aarch64.sh")
    text = run(CountOptions(build=str(BUILD), cpus=("cortex-a76",), out=str(tmp_path)))
    assert "no times" in text
    saved = json.loads((tmp_path / "aarch64.json").read_text(encoding="utf-8"))
    whole, live = (row["int8"] for row in saved["results"])
    with Bundle.load(DEFAULT_BUNDLE) as bundle:
        artifact = bundle.spec.artifacts[0]
    # Sixteen products an instruction; those of depthwise layers are computed without it.
    assert 0.8 < 16 * whole["dot"] / artifact.delegated["multiply_adds"] < 1.0
    assert whole["matrix"] == live["matrix"] == 0
    assert 0.2 < live["all"] / whole["all"] < 0.5
