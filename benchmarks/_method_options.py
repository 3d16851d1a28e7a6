"""Flags of `python -m benchmarks.methods --table`, and where they put files."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.errors import ConfigError
from runtime.options import check_options, option

if TYPE_CHECKING:
    from benchmarks._method_rows import Row


@dataclass(frozen=True, slots=True, kw_only=True)
class TableOptions:
    """Flags of `--table`. Attributes are the flags; see their help."""

    table: str = option(dataclasses.MISSING, "which table of the paper", choices=("1", "2", "3"))
    jhmdb: str = option(dataclasses.MISSING, "folder of JHMDB-21", metavar="DIR")
    features: str | None = option(
        None, "features of its training part, made by `edge features --model nano`; without them "
        "their rows are not trained", metavar="DIR",
    )  # fmt: skip
    test_features: str | None = option(
        None, "the same of clips of its part `test-annotated`, not augmented; by default they are "
        "computed for every eighth labelled frame", metavar="DIR",
    )  # fmt: skip
    features_aspect: str | None = option(
        None, "the same of clips of 192x256 (--imgsz 192,256); without them the row is left out",
        metavar="DIR",
    )  # fmt: skip
    features_efficientnet: str | None = option(
        None, "the same as --features by EfficientNet-Lite0's stem; without them the row is left "
        "out", metavar="DIR",
    )  # fmt: skip
    stem_weights: str = option(
        "weights/stems/mobilenet_v2-movenet-lightning.pt", "the stem that made them"
    )
    efficientnet_weights: str | None = option(
        None, "EfficientNet-Lite0's stem, by `edge pretrained`", metavar="STEM.pt"
    )
    detector: str | None = option(
        None, "person detector of the two-stage rows, MoveNet MultiPose (ONNX)", metavar="FILE"
    )
    people: str | None = option(
        None, "folder that `edge label` wrote for the videos with this detector: its boxes before "
        "tracking are taken, and the detector is not run again", metavar="DIR",
    )  # fmt: skip
    steps: int = option(200, "training steps of each row", least=1)
    yowov2_steps: int | None = option(
        None, "the same of the row yowov2, by default --steps", least=1
    )
    batch: int = option(32, "clips of a step", least=1)
    seeds: int = option(1, "runs of each row, seeds 0, 1, ...", least=1)
    rows: tuple[str, ...] = option((), "rows to train now; by default all of the table")
    train: bool = option(True, "train rows that are not trained yet; else they have no accuracy")
    latency: bool = option(True, "lower rows to int8 programs and measure them")
    threads: int = option(1, "threads of training; programs are measured on one", least=1)
    rounds: int = option(10, "turns of each program", least=1)
    turn_ms: float = option(300.0, "length of a turn, milliseconds", above=0)
    base: str | None = option(
        None, "report of this table (JSON), perhaps of another machine, to which the rows named by "
        "--rows are added, but the first of them: it is measured beside them", metavar="FILE",
    )  # fmt: skip
    out: str = option("runs/methods", "folder of rows, programs and tables")
    verbose: bool = option(False, "log what is done, and show tracebacks")

    def __post_init__(self) -> None:
        check_options(self)
        if self.base is not None and not self.rows:
            raise ConfigError("--base needs --rows: the first row, and those that are added")

    @property
    def folder(self) -> Path:
        """Where everything is kept."""
        return Path(self.out)

    def steps_of(self, row: Row) -> int:
        """Return the training steps of a row."""
        return (row.kind == "yowov2" and self.yowov2_steps) or self.steps

    def result_file(self, row: Row, seed: int) -> Path:
        """Return where the result of a run is kept; another budget is another file."""
        name = f"{row.name}-{self.steps_of(row)}x{self.batch}-s{seed}.json"
        return self.folder / "rows" / name

    def program_file(self, row: Row) -> Path:
        """Return where the program of a row is kept: of its first run, or of random weights."""
        trained = self.result_file(row, 0).with_suffix(".pt")
        return self.folder / "programs" / f"{trained.stem if trained.exists() else row.name}.pte"
