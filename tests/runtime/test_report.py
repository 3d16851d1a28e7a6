"""The command in a report makes its figures again."""

from __future__ import annotations

import shlex

import pytest

from benchmarks.engines import EngineOptions
from edge.cli.benchmark import BenchmarkOptions
from runtime.options import OptionParser
from runtime.report import command_of


@pytest.mark.parametrize(
    ("options", "flags"),
    [
        pytest.param(EngineOptions(), "", id="all as they are"),
        pytest.param(EngineOptions(out="else where", verbose=True), " --out 'else where'", id="o"),
        pytest.param(
            EngineOptions(variants=("pico", "tiny"), rounds=3, limit=False, calib_data="my/videos"),
            " --variants pico tiny --no-limit --rounds 3 --calib-data my/videos",
            id="what was changed",
        ),
        pytest.param(EngineOptions(calib_data="/a/videos"), " --calib-data videos", id="place"),
    ],
)
def test_a_command_holds_each_flag_that_was_changed(options: EngineOptions, flags: str) -> None:
    assert command_of("python -m benchmarks.engines", options) == (
        "python -m benchmarks.engines" + flags
    )


def test_a_command_gives_the_same_options_again() -> None:
    options = BenchmarkOptions(
        model="my bundle", artifact="xnnpack-int8", source="clip.mp4", warmup=3, runs=7,
        cold_starts=2, num_threads=1, out="there",
    )  # fmt: skip
    words = shlex.split(command_of("edge benchmark", options))
    assert OptionParser().parse_into(BenchmarkOptions, words[2:]) == options
