"""What a testbed tells of one of its processes."""

from __future__ import annotations

from enum import Enum

import msgspec

from shootdown_protocol.fields import Counters, Devices, Name, ProcessNumber


class ProcessState(Enum):
    """What a process of a testbed is doing."""

    STARTING = "starting"
    IDLE = "idle"
    RUNNING = "running"
    LOST = "lost"
    ENDED = "ended"


class ProcessRole(Enum):
    """What a process of a testbed is for."""

    DAEMON = "daemon"
    AGENT = "agent"


class ProcessStatus(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One process of a testbed."""

    name: Name
    pid: ProcessNumber
    role: ProcessRole
    state: ProcessState
    devices: Devices
    counters: Counters
