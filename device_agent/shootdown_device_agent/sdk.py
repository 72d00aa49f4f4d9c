"""The SDK: what a device of one's own is written with (docs/tutorial-device.md).

Subclass `Device` and override what differs. The same file then serves a device of a running
testbed (`shootdown attach`), of a run (``--device``), and of an exploration that tries every order
(`shootdown explore --device`), and is graded by `shootdown conformance`.
"""

from __future__ import annotations

from shootdown_device_agent.machine.atc import Cached
from shootdown_device_agent.machine.config import DeviceConfig
from shootdown_device_agent.machine.device import Device, DeviceThread, Found
from shootdown_device_agent.machine.own_threads import Io, device_thread
from shootdown_engine.access import Intent
from shootdown_engine.channels import InvalidateRequest
from shootdown_engine.slot import Site, Slot
from shootdown_engine.store import Store
from shootdown_engine.trap import BLOCKED, Blocked, trap
from shootdown_engine.walker import WalkFault
from shootdown_protocol.history import Kind
from shootdown_protocol.messages import InvalidateFlag

__all__ = [
    "BLOCKED",
    "Blocked",
    "Cached",
    "Device",
    "DeviceConfig",
    "DeviceThread",
    "Found",
    "Intent",
    "InvalidateFlag",
    "InvalidateRequest",
    "Io",
    "Kind",
    "Site",
    "Slot",
    "Store",
    "WalkFault",
    "device_thread",
    "trap",
]
