"""What `edge serve` is told: a file with all cameras, checked whole before anything starts."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from runtime._option import check_options, option
from runtime._schema import check_fields
from runtime.bundle import DEFAULT_BUNDLE
from runtime.engines.base import DEVICES
from runtime.errors import CaptureError, ConfigError
from runtime.events import ActionSettings, EventsConfig, events_config
from runtime.options import did_you_mean, read_config
from runtime.secrets import redact
from runtime.serve.region import Region
from runtime.serve.server_config import ServerConfig
from runtime.sources.uri import parse_uri

T = TypeVar("T")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_VARIABLE = re.compile(r"\$\{(\w+)\}")
MAX_CAMERAS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """What all cameras share; a change needs a restart."""

    model: str = option(str(DEFAULT_BUNDLE), "bundle folder or zip", metavar="BUNDLE")
    artifact: str | None = option(None, "which artifact of the bundle; else the best that runs")
    device: str = option("auto", "where to run", choices=("auto", *DEVICES))
    num_threads: int = option(
        0, "threads of the engine; 0 = one for each processor", least=0, most=256
    )
    stride: int | None = option(
        None, "frames between two decisions, at the bundle's fps", least=1, most=1e6
    )

    def __post_init__(self) -> None:
        check_options(self, named=str)


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraConfig:
    """One camera.

    Attributes:
        source: What to open; its password is shown nowhere.
        conf: Threshold on p(actor); None takes the artifact's own.
        action_conf: Threshold on each action; None takes the artifact's own.
        classes: Actions of interest; empty for all.
        region: Corners of a polygon, shares of the frame; people whose foot point (the middle of
            the box's lower edge) is outside are left out. Empty: the whole frame.
        min_duration_s: Shortest action that becomes an event.
        max_gap_s: Longest pause within an action.
        continue_s: A lasting action is told again at this interval; 0 does not.
        max_age_ms: Oldest frame that is not stale.
        fps: Frames a second of a folder of images.
    """

    source: str = field(repr=False)
    conf: float | None = option(None, "", least=0, most=1)
    action_conf: float | None = option(None, "", least=0, most=1)
    classes: tuple[str, ...] = ()
    region: tuple[tuple[float, ...], ...] = ()
    min_duration_s: float = option(0.5, "", least=0, most=86400)
    max_gap_s: float = option(2.0, "", above=0, most=86400)
    continue_s: float = option(10.0, "", least=0, most=86400)
    max_age_ms: float = option(500.0, "", above=0, most=86.4e6)
    fps: float | None = option(None, "", above=0, most=1000)

    def __post_init__(self) -> None:
        check_options(self, named=str)
        Region(self.region)
        try:
            parse_uri(self.source)
        except (ConfigError, CaptureError) as error:
            raise ConfigError(f"source: {str(error).removeprefix('--source ')}") from error

    @property
    def actions(self) -> ActionSettings:
        """Return when actions begin and end; they start at `action_conf`."""
        return ActionSettings(
            min_duration_s=self.min_duration_s, max_gap_s=self.max_gap_s,
            continue_s=self.continue_s, classes=self.classes,
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeConfig:
    """All of it."""

    cameras: Mapping[str, CameraConfig]
    engine: EngineConfig = field(default_factory=EngineConfig)
    server: ServerConfig = field(default_factory=ServerConfig)
    events: EventsConfig = field(default_factory=EventsConfig)


class ConfigFaultsError(ConfigError):
    """A configuration with faults: one sentence each in `faults`."""

    def __init__(self, where: str, faults: list[str]) -> None:
        self.faults = tuple(faults)
        more = f" {where} has {len(faults)} faults; nothing was started" if len(faults) > 1 else ""
        super().__init__("; ".join(faults) + (f".{more}" if more else ""))


def load_config(path: Path) -> ServeConfig:
    """Read a file and check all of it.

    Raises:
        ConfigFaultsError: With everything that is wrong in it.
        ConfigError: It cannot be read.
    """
    return parse_config(read_config(path), where=str(path))


def parse_config(content: Mapping[str, Any], *, where: str) -> ServeConfig:
    """Check the content of a file; see `docs/serve.md` for its keys.

    Raises:
        ConfigFaultsError: With everything that is wrong in it.
    """
    faults: list[str] = []

    def part(read: Callable[[], T]) -> T | None:
        try:
            return read()
        except (ConfigError, ValueError) as error:
            faults.append(f"{where}: {redact(str(error))}")
            return None

    engine_keys = {name: value for name, value in content.items() if name in _ENGINE_KEYS}
    known = (*_ENGINE_KEYS, "server", "cameras", "events")
    faults += [
        f"{where}: unknown key {name!r}.{did_you_mean(str(name), known)}"
        for name in content if name not in known
    ]  # fmt: skip
    engine = part(lambda: check_fields(EngineConfig, engine_keys, where="the engine"))
    server = part(lambda: check_fields(ServerConfig, _mapping(content, "server"), where="server"))
    events = part(lambda: events_config(content.get("events")))
    listed = part(lambda: _cameras(content)) or {}
    cameras = {name: part(partial(_camera, name, keys)) for name, keys in listed.items()}
    if faults or not (engine and server and events):
        raise ConfigFaultsError(where, faults)
    whole = {name: camera for name, camera in cameras.items() if camera is not None}
    return ServeConfig(cameras=whole, engine=engine, server=server, events=events)


_ENGINE_KEYS = tuple(EngineConfig.__dataclass_fields__)


def _mapping(content: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = content.get(key)
    if value is not None and not isinstance(value, Mapping):
        raise ConfigError(f"{key} is {type(value).__name__}, expected keys and values")
    return value or {}


def _cameras(content: Mapping[str, Any]) -> Mapping[str, Any]:
    listed = _mapping(content, "cameras")
    if not listed:
        raise ConfigError("cameras is missing or empty, expected `cameras: {NAME: {source: ...}}`")
    if len(listed) > MAX_CAMERAS:
        raise ConfigError(f"cameras has {len(listed)} entries, at most {MAX_CAMERAS} are served")
    return listed


def _camera(name: Any, keys: Any) -> CameraConfig:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigError(
            f"camera {name!r}: a name has 1 to 64 letters, digits, - and _, a letter or digit first"
        )
    if not isinstance(keys, Mapping):
        raise ConfigError(f"camera {name} is {type(keys).__name__}, expected keys and values")
    unknown = [key for key in keys if key not in CameraConfig.__dataclass_fields__]
    if unknown:
        near = did_you_mean(str(unknown[0]), CameraConfig.__dataclass_fields__)
        raise ConfigError(f"camera {name}: unknown key {unknown[0]!r}.{near}")
    source = keys.get("source")
    if isinstance(source, int) and not isinstance(source, bool):
        source = str(source)  # a camera's number
    if isinstance(source, str):
        try:
            keys = {**keys, "source": _VARIABLE.sub(_from_environment, source)}
        except ConfigError as error:
            raise ConfigError(f"camera {name}: {error}") from error
    return check_fields(CameraConfig, keys, where=f"camera {name}")


def _from_environment(match: re.Match[str]) -> str:
    value = os.environ.get(match[1])
    if value is None:
        raise ConfigError(f"source names ${{{match[1]}}}, a variable that is not set")
    return value
