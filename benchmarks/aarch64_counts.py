"""Instructions of one result on aarch64: which kernels a processor gets, and how much they compute.

`python -m benchmarks.aarch64_counts --build build/aarch64/device` runs the cross-built edge_runner
under `qemu-aarch64` on one thread. A plugin (`_qemu_count.c`, built with `cc`) notes what ran until
each result; the difference from the first to the last is divided by the results between them, so
that loading and the self-test cancel. Counts are no times: an instruction takes a fraction of a
cycle or many.
"""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks._main import run_main
from edge.data.demo_clip import SIZE_WH, render_frame
from runtime.bundle import Bundle
from runtime.errors import ArtifactError, BackendUnavailableError
from runtime.options import check_options, guarded, option
from runtime.report import command_of, write_report

logger = logging.getLogger("benchmarks.aarch64_counts")

SOURCE = Path(__file__).with_name("_qemu_count.c")
LIBC_ROOT = "/usr/aarch64-linux-gnu"  # of Debian's cross compiler
WHOLE, LIVE = "whole clip", "live"
_HEADER = ("emulated", "result", "int8, M instructions", "fp32, M", "int8 / fp32",
           "int8: `sdot`, M", "`smmla`, M", "`smull` and `smlal`, M")  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class CountOptions:
    """What to count. Attributes are the flags; see their help."""

    build: str = option("build/aarch64/device", "folder of tools/cross_build_aarch64.sh")
    float_model: str | None = option(None, "the same weights in float32", metavar="BUNDLE")
    cpus: tuple[str, ...] = option(
        ("cortex-a53", "cortex-a76", "max,sme=off"),
        "processors as qemu calls them: without int8 dot products, with them, with int8 matrices",
    )
    results: int = option(1, "results to count, after the first", least=1)
    out: str = option("runs/bench", "folder for aarch64.json and aarch64.md")
    verbose: bool = option(False, "show tracebacks")

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Emulator:
    """qemu and the plugin that counts. Attributes are the paths of both."""

    qemu: str
    plugin: Path

    def count(self, command: Sequence[str], *, cpu: str, stdin: bytes = b"") -> list[Counter[str]]:
        """Run a program; return its instructions by kind until each write to standard output.

        Raises:
            ArtifactError: It wrote nothing.
            BackendUnavailableError: It failed, such as for an instruction that `cpu` lacks.
        """
        counts = self.plugin.with_name("counts")
        counts.unlink(missing_ok=True)
        words = [self.qemu, "-cpu", cpu, "-L", LIBC_ROOT, "-plugin", f"{self.plugin},out={counts}"]
        done = subprocess.run([*words, *command], input=stdin, capture_output=True, check=False)
        if done.returncode != 0:
            said = done.stderr.decode().strip().splitlines() or [f"exit code {done.returncode}"]
            raise BackendUnavailableError(f"{command[0]} did not run on {cpu}: {said[-1]}")
        return read_counts(counts)


@contextmanager
def emulator() -> Iterator[Emulator]:
    """Find qemu and build the plugin, in a folder that lasts as long as the context.

    Raises:
        BackendUnavailableError: One of the two is missing, or the plugin cannot be built.
    """
    qemu, compiler = shutil.which("qemu-aarch64"), shutil.which("cc")
    if qemu is None or compiler is None:
        missing = "qemu-aarch64" if qemu is None else "cc"
        raise BackendUnavailableError(f"{missing} is missing: apt-get install qemu-user gcc")
    with tempfile.TemporaryDirectory() as folder:
        plugin = Path(folder) / "count.so"
        words = [compiler, "-O2", "-shared", "-fPIC", str(SOURCE), "-o", str(plugin)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise BackendUnavailableError(f"cc cannot build {SOURCE.name}: {done.stderr[-500:]}")
        yield Emulator(qemu=qemu, plugin=plugin)


def read_counts(path: Path) -> list[Counter[str]]:
    """Read what the plugin wrote: on each line kinds and numbers; those of one kind add up.

    Raises:
        ArtifactError: There is no such file, or something else in it.
    """
    found = []
    try:
        for line in path.read_text(encoding="utf-8").splitlines():
            words = line.split()
            counts: Counter[str] = Counter()
            for kind, number in zip(words[::2], words[1::2], strict=True):
                counts[kind] += int(number)
            found.append(counts)
        if not found:
            raise ValueError("nothing was written to standard output")
    except (OSError, ValueError) as error:
        raise ArtifactError(
            f"{path.name} is not what the plugin of qemu writes: {error}"
        ) from error
    return found


def of_one_result(counts: Sequence[Counter[str]], results: int) -> dict[str, float]:
    """Return the instructions of one result by kind, from the counts until each result.

    Raises:
        ArtifactError: There are not `results` after the first.
    """
    if len(counts) != results + 1:
        raise ArtifactError(f"the program wrote {len(counts)} results, expected {results + 1}")
    return {kind: (counts[-1][kind] - counts[0][kind]) / results for kind in counts[0]}


def measure(
    qemu: Emulator, runner: Path, model: Path, *, cpu: str, way: str, results: int
) -> dict[str, float]:
    """Return the instructions of one result by kind; `way` is `WHOLE` or `LIVE`.

    Raises:
        ArtifactError: The program gave another number of results.
        BackendUnavailableError: It did not run.
    """
    with Bundle.load(model) as bundle:
        clip = bundle.spec.clip
    # Clips that do not overlap are computed whole.
    stride = clip.sampling_rate * (clip.num_frames if way == WHOLE else 2)
    frames = (clip.num_frames - 1) * clip.sampling_rate + 1 + results * stride
    command = [str(runner), "--model", str(model), "--threads", "1", "--stride", str(stride),
               "--raw", f"{SIZE_WH[0]}x{SIZE_WH[1]}@{clip.fps}"]  # fmt: skip
    stdin = b"".join(render_frame(i / clip.fps).tobytes() for i in range(frames))
    return of_one_result(qemu.count(command, cpu=cpu, stdin=stdin), results)


def run(options: CountOptions) -> str:
    """Count on each processor, write both files; return the Markdown.

    Raises:
        BackendUnavailableError: qemu, a compiler or the build is missing, or a program failed.
    """
    build = Path(options.build)
    runner = build / "runtime" / "bin" / "edge_runner"
    if not runner.is_file():
        raise BackendUnavailableError(
            f"{build} has no runtime/bin/edge_runner: sh tools/cross_build_aarch64.sh"
        )
    models = {"int8": build / "runtime" / "models" / "nano"}
    if options.float_model is not None:
        models["fp32"] = Path(options.float_model)
    rows: list[dict[str, Any]] = []
    with emulator() as qemu:
        for cpu in options.cpus:
            for way in (WHOLE, LIVE):
                logger.info("%s, %s", cpu, way)
                rows.append({"cpu": cpu, "result": way})
                for precision, model in models.items():
                    rows[-1][precision] = measure(
                        qemu, runner, model, cpu=cpu, way=way, results=options.results
                    )
        version = subprocess.check_output([qemu.qemu, "--version"], text=True).splitlines()[0]
    return write_report(
        Path(options.out), "aarch64", title="Instructions of a result on aarch64",
        table=[_HEADER, *map(_cells, rows)],
        command=command_of("python -m benchmarks.aarch64_counts", options),
        content={"qemu": version, "results": rows},
        notes=[f"Counted under {version}, on one thread, resizing and decode included. Counts of "
               "instructions are no times: no cache, memory or pipeline is emulated.", ""],
    )  # fmt: skip


def _cells(row: Mapping[str, Any]) -> list[str]:
    def millions(precision: str, kind: str) -> str:
        return f"{row[precision][kind] / 1e6:.1f}" if precision in row else ""

    share = f"{row['int8']['all'] / row['fp32']['all']:.2f}" if "fp32" in row else ""
    kinds = (millions("int8", kind) for kind in ("dot", "matrix", "widening"))
    whole = (millions("int8", "all"), millions("fp32", "all"), share)
    return [f"`{row['cpu']}`", row["result"], *whole, *kinds]


def main(argv: Sequence[str]) -> int:
    """Read the flags, count, print the report."""
    return run_main(argv, "aarch64_counts", __doc__, CountOptions, run)


if __name__ == "__main__":
    sys.exit(guarded(main, sys.argv[1:]))
