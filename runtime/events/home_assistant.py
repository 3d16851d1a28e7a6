"""Topics of MQTT, and what makes Home Assistant find cameras and actions by itself."""

from __future__ import annotations

import hashlib
import json
import re
import socket
from dataclasses import dataclass

ONLINE, OFFLINE, ON, OFF = "online", "offline", "ON", "OFF"
_LONGEST = 64


def slug(name: str) -> str:
    """Return a name as a part of a topic and of an identity: letters, digits, `_` and `-`.

    Different names stay different: what had to be changed gets the first digits of its hash.
    """
    plain = re.sub(r"[^a-z0-9_-]+", "_", name.lower()).strip("_")[:_LONGEST]
    if plain == name:
        return plain
    return f"{plain}_{hashlib.sha256(name.encode('utf-8', 'surrogateescape')).hexdigest()[:6]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Topics:
    """The topics of one board.

    Attributes:
        base: First part of all of them.
        node: Name of the board, a slug.
        discovery: Prefix of Home Assistant, or None.
    """

    base: str
    node: str
    discovery: str | None

    @property
    def board(self) -> str:
        """Return what all topics of the board begin with."""
        return f"{self.base}/{self.node}"

    @property
    def availability(self) -> str:
        """Return where the board is online or offline; the last will goes there."""
        return f"{self.board}/availability"

    @property
    def instance(self) -> str:
        """Return where the client of the board's process is named."""
        return f"{self.board}/instance"

    def camera_availability(self, camera: str) -> str:
        """Return where a camera is online or offline."""
        return f"{self.board}/{slug(camera)}/availability"

    def events(self, camera: str) -> str:
        """Return where the events of a camera are told."""
        return f"{self.board}/{slug(camera)}/events"

    def state(self, camera: str, action: str) -> str:
        """Return where it is said whether somebody does an action: ON or OFF."""
        return f"{self.board}/{slug(camera)}/{slug(action)}/state"

    def config(self, camera: str, action: str) -> str:
        """Return where Home Assistant looks for the sensor of an action."""
        return f"{self.discovery}/binary_sensor/{self.node}/{slug(camera)}_{slug(action)}/config"

    def retained(self) -> list[str]:
        """Return filters of all retained topics of this board that depend on its cameras."""
        filters = [f"{self.board}/+/availability", f"{self.board}/+/+/state"]
        if self.discovery:
            filters.append(f"{self.discovery}/binary_sensor/{self.node}/+/config")
        return filters

    def sensor(self, camera: str, action: str, *, version: str) -> str:
        """Return the payload that makes a sensor of an action."""
        device = f"{self.node}_{slug(camera)}"
        return json.dumps(
            {
                "name": action,
                "unique_id": f"bmvit_{device}_{slug(action)}",
                "state_topic": self.state(camera, action),
                "payload_on": ON,
                "payload_off": OFF,
                "availability": [
                    {"topic": self.availability},
                    {"topic": self.camera_availability(camera)},
                ],
                "availability_mode": "all",
                "device": {
                    "identifiers": [f"bmvit_{device}"],
                    "name": f"{self.node} {camera}",
                    "manufacturer": "bmvit-edge",
                    "sw_version": version,
                },
                "origin": {"name": "bmvit-edge", "sw_version": version},
            },
            ensure_ascii=False,
        )


def default_node() -> str:
    """Return this machine's name as a slug."""
    return slug(socket.gethostname()) or "board"
