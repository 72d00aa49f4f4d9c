"""Messages by which an agent that is killed and started anew takes up where it was.

What its device holds outlives its process, as a device's TLB outlives its driver: the old process
says so before it is killed, and the daemon hands it to the new one.
"""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta

from shootdown_protocol import limits
from shootdown_protocol.device_message import DeviceElement, DeviceMessage
from shootdown_protocol.fields import Counters, DeviceNumber, Name, Number, Prgi, SlotNumber

RESTARTS: Final = "restarts"
"""Capability of an agent that answers `HandOver`, and takes up a `Legacy` after a welcome."""

CellNumber = Annotated[int, Meta(ge=0, title="number")]


class HandOver(DeviceMessage, frozen=True, tag=42):
    """Make no further step, close the history, and answer `Legacy`; the process is killed then.

    ``keeps_caches``: the device is to keep what its caches hold; else they will be empty.
    """

    keeps_caches: bool


class Resumed(DeviceElement, frozen=True):
    """A task that had not ended, and how many of its stages it had been through."""

    slot: SlotNumber
    task: Name
    stage: Number


class KeptCell(DeviceElement, frozen=True):
    """What one cell of a cache holds: its kind, the numbers that name it, and its own."""

    kind: Name
    key: Annotated[tuple[CellNumber, ...], Meta(max_length=limits.CELL_NUMBERS_MAX)]
    value: Annotated[tuple[CellNumber, ...], Meta(max_length=limits.CELL_NUMBERS_MAX)]


class OpenRequest(DeviceElement, frozen=True):
    """A page request group that has not been answered: its index is not to be used before."""

    device: DeviceNumber
    prgi: Prgi


class Legacy(DeviceMessage, frozen=True, tag=43):
    """What is left of an agent's process; the daemon sends it on as it is to the next one.

    ``batch`` was running, or was to be the next one (0: none), with ``started`` of its slots begun,
    and of their tasks those in ``resumed`` had not ended. ``counters`` say how often its faults
    were applied.
    """

    program_number: Number
    batch: Number
    started: Number
    resumed: Annotated[tuple[Resumed, ...], Meta(max_length=limits.RESUMED_MAX)]
    cells: Annotated[tuple[KeptCell, ...], Meta(max_length=limits.KEPT_CELLS_MAX)]
    requests: Annotated[tuple[OpenRequest, ...], Meta(max_length=limits.OPEN_REQUESTS_MAX)]
    counters: Counters


NOTHING: Final = Legacy(0, 0, 0, 0, (), (), (), {})
"""What is left of a process that was killed at any moment: nothing that can be relied on."""
