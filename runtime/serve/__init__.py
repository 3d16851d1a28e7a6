"""`edge serve`: cameras that are watched for days, a page to look at, events to be told of.

The web server is uvicorn with Starlette, of the extra `serve`; what does not need them imports
without.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runtime.serve.config import CameraConfig as CameraConfig
    from runtime.serve.config import ServeConfig as ServeConfig
    from runtime.serve.config import load_config as load_config
    from runtime.serve.server import Server as Server
    from runtime.serve.server_config import ServerConfig as ServerConfig

_HOMES = {
    "CameraConfig": "runtime.serve.config",
    "ServeConfig": "runtime.serve.config",
    "Server": "runtime.serve.server",
    "ServerConfig": "runtime.serve.server_config",
    "load_config": "runtime.serve.config",
}

__all__ = ["CameraConfig", "ServeConfig", "Server", "ServerConfig", "load_config"]


def __getattr__(name: str) -> Any:
    """Import a public name from the module where it lives."""
    if name not in _HOMES:
        raise AttributeError(f"module 'runtime.serve' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
