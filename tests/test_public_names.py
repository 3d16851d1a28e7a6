"""What packages offer by name is there, and the examples of their docstrings hold."""

from __future__ import annotations

import doctest
import importlib
import subprocess
import sys
from importlib.metadata import version

import pytest

import edge

PACKAGES = (
    "runtime", "runtime.engines", "runtime.events", "runtime.serve", "runtime.sinks",
    "runtime.sources", "edge", "edge.evaluation", "edge.explain", "edge.model", "edge.training",
    "calibration", "quantize", "export",
)  # fmt: skip
EXAMPLES = (
    "edge.evaluation.frames", "edge.evaluation.video", "edge.model.checkpoint",
    "edge.model.variants", "edge.training.config",
)  # fmt: skip
LAZY = """
import sys
import edge, edge.evaluation, edge.training, runtime
edge.training.TrainOptions
print("torch" in sys.modules)
"""


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_is_there(package: str) -> None:
    module = importlib.import_module(package)
    assert module.__all__
    for name in module.__all__:
        assert getattr(module, name) is not None
    with pytest.raises(AttributeError, match="nothing_of_that_name"):
        _ = module.nothing_of_that_name


@pytest.mark.parametrize("module", EXAMPLES)
def test_examples_of_docstrings_hold(module: str) -> None:
    found = doctest.testmod(importlib.import_module(module))
    assert found.attempted > 0
    assert found.failed == 0


def test_the_version_is_that_of_the_installed_package() -> None:
    assert edge.__version__ == version("bmvit-edge")


def test_flags_and_evaluation_are_there_without_torch() -> None:
    done = subprocess.run([sys.executable, "-c", LAZY], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
