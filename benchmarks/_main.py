"""The command line of a benchmark: its flags, its log, the packages that it needs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from runtime.allocator import keep_freed_memory
from runtime.errors import ConfigError, EdgeError
from runtime.options import EXIT_OK, OptionParser

Options = TypeVar("Options")


def run_main(
    argv: Sequence[str],
    name: str,
    description: str | None,
    kind: type[Options],
    run: Callable[[Options], str],
) -> int:
    """Read the flags, run, print the report.

    Raises:
        ConfigError: A flag is wrong, or a package is missing.
    """
    parser = OptionParser(prog=f"python -m benchmarks.{name}", description=description)
    options: Any = parser.parse_into(kind, argv)
    level = logging.INFO if options.verbose else logging.WARNING
    logging.basicConfig(level=level, format="%(message)s")
    # What is done now is said in any case: a comparison takes minutes.
    logging.getLogger("benchmarks").setLevel(logging.INFO)
    keep_freed_memory()  # for training and export; what is measured runs in processes of its own
    try:
        print(run(options))
    except ImportError as error:
        if isinstance(error, EdgeError):
            raise
        raise ConfigError(f"building needs {error.name}; run: pip install '.[dev]'") from error
    return EXIT_OK
