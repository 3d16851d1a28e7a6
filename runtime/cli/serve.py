"""`edge serve`: several cameras on one engine, with a page, events and metrics, for days."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from runtime.cli.run import logging_to_stderr
from runtime.errors import BackendUnavailableError, ConfigError
from runtime.options import EXIT_INTERRUPTED, EXIT_OK, OptionParser, option, section
from runtime.serve.config import (
    CameraConfig,
    ConfigFaultsError,
    EngineConfig,
    ServeConfig,
    load_config,
)
from runtime.serve.server_config import ServerConfig

ONE = "camera"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """Flags of `edge serve`. Those that are given win over the file."""

    config: str | None = option(
        None, "YAML or JSON file with cameras, server and events", metavar="FILE"
    )
    source: str | None = option(
        None, "one camera without a configuration file: 0, rtsp://..., or a video file, played in a"
              " loop",
    )  # fmt: skip
    conf: float | None = option(None, "with --source: threshold on p(actor), 0..1")
    action_conf: float | None = option(None, "with --source: threshold on each action, 0..1")
    engine: EngineConfig = section(EngineConfig)
    server: ServerConfig = section(ServerConfig)
    quiet: bool = option(False, "only warnings and errors")
    verbose: bool = option(False, "log more, and show tracebacks")

    def __post_init__(self) -> None:
        if (self.config is None) == (self.source is None):
            given = "both are given" if self.source else "neither is given"
            raise ConfigError(f"give --config FILE or --source SOURCE; {given}")


def main(argv: Sequence[str]) -> int:
    """Serve cameras until SIGTERM or Ctrl-C; SIGHUP reads the configuration again."""
    parser = OptionParser(prog="edge serve", description=__doc__)
    options = parser.parse_into(ServeOptions, argv, flags_in_file=False)
    try:
        config = read(options)
    except ConfigFaultsError as error:
        if len(error.faults) == 1:
            raise
        for fault in error.faults:
            sys.stderr.write(f"error: {fault}\n")
        raise ConfigError(f"{len(error.faults)} faults; nothing was started") from error
    with logging_to_stderr(verbose=options.verbose, quiet=options.quiet):
        # Imported here: a wrong flag should not wait for a web server.
        try:
            from runtime.serve.server import Server
        except ImportError as error:
            raise BackendUnavailableError(
                f"edge serve needs packages that do not import ({error}); run: pip install "
                "'.[serve]'"
            ) from error
        server = Server(config, None if options.config is None else lambda: read(options))
        if not config.server.loopback and config.server.insecure and not config.server.token:
            logging.getLogger(__name__).warning(
                "--insecure: whoever reaches %s sees the cameras", server.address
            )
        ended_by = server.run()
    return EXIT_INTERRUPTED if ended_by == signal.SIGINT else EXIT_OK


def read(options: ServeOptions) -> ServeConfig:
    """Return the configuration: the file's, with the flags over it.

    Raises:
        ConfigError: Something is wrong in it.
    """
    if options.config is None:
        assert options.source is not None
        camera = CameraConfig(
            source=options.source, conf=options.conf, action_conf=options.action_conf
        )
        return ServeConfig(cameras={ONE: camera}, engine=options.engine, server=options.server)
    if options.conf is not None or options.action_conf is not None:
        raise ConfigError("--conf and --action-conf belong to --source; write them in the file")
    found = load_config(Path(options.config))
    return replace(
        found,
        engine=replace(found.engine, **_given(options.engine)),
        server=replace(found.server, **_given(options.server)),
    )


def _given(part: EngineConfig | ServerConfig) -> dict[str, Any]:
    """Return the flags that differ from their defaults."""
    values = {spec.name: getattr(part, spec.name) for spec in fields(part)}
    return {
        spec.name: values[spec.name] for spec in fields(part) if values[spec.name] != spec.default
    }
