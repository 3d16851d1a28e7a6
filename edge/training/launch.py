"""Join the processes that torchrun started, or begin alone.

One process needs nothing but torch. Several are led by Lightning Fabric (docs/adr/0009), which only
`fabric.py` imports: a machine without it still trains on one device.
"""

from __future__ import annotations

import os

import torch

from edge.training.processes import Processes
from runtime.errors import BackendUnavailableError, ConfigError


def start_processes(device: str, precision: str) -> Processes:
    """Join the processes that torchrun started, or begin alone.

    Args:
        device: "auto", "cpu", "cuda" or "cuda:N".
        precision: "auto", "fp32" or "bf16".

    Raises:
        ConfigError: There is no such device, or one was named for several processes.
        BackendUnavailableError: Several processes were started, and Lightning Fabric is missing.
    """
    world_size = _world_size()
    chosen = choose_device(device)
    if precision == "auto":
        precision = "bf16" if chosen.type == "cuda" else "fp32"
    if world_size == 1:
        return Processes(chosen, precision)
    if chosen.index is not None and device != "auto":
        raise ConfigError(
            f"--device {device} names one device, but torchrun started {world_size} processes; "
            f"say --device {chosen.type} and each takes its own"
        )
    try:
        from edge.training.fabric import FabricProcesses
    except ImportError as error:
        raise BackendUnavailableError(
            f"torchrun started {world_size} processes, which needs lightning-fabric ({error}); "
            "run: pip install '.[train]', or start one process without torchrun"
        ) from error
    return FabricProcesses(chosen.type, precision)


def choose_device(name: str) -> torch.device:
    """Return the device of that name, CUDA before CPU for "auto".

    Raises:
        ConfigError: It does not exist here.
    """
    if name == "auto":
        return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    text = f"cuda:{name}" if name.isdigit() else name
    try:
        device = torch.device(text)
    except RuntimeError:
        raise ConfigError(
            f"--device {name!r} is not known; say auto, cpu, cuda or cuda:N"
        ) from None
    if device.type not in ("cpu", "cuda"):
        raise ConfigError(f"--device {name!r} cannot train here; say auto, cpu, cuda or cuda:N")
    count = torch.cuda.device_count() if device.type == "cuda" else 0
    if device.type == "cuda" and (device.index or 0) >= count:
        raise ConfigError(f"--device {name}: this machine has {count} CUDA devices that torch sees")
    return device


def is_first_process() -> bool:
    """Return whether this is the process that logs and saves."""
    return os.environ.get("RANK", "0") == "0"


def _world_size() -> int:
    text = os.environ.get("WORLD_SIZE", "1")
    return int(text) if text.isdigit() and int(text) > 0 else 1
