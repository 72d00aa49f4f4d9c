"""Messages about faults: what is asked of a daemon, what it tells agents, and how a gap is mended.

An agent is told on the device plane, so that a fault begins at a definite place among the messages
of its link; it has no control link of its own.
"""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta

from shootdown_protocol import limits
from shootdown_protocol.control_message import ControlMessage, ControlRequest
from shootdown_protocol.device_message import DeviceMessage
from shootdown_protocol.faults import Fault, FaultStatus
from shootdown_protocol.fields import Number, SequenceNumber

FAULTS: Final = "faults"
"""Capability of an agent that applies the faults of its devices when `SetFaults` says so."""
RESENDS: Final = "resends"
"""Capability of an agent that sends again what `Resend` asks for; another is lost with a gap."""

Faults = Annotated[tuple[Fault, ...], Meta(max_length=limits.FAULTS_MAX, title="faults")]
FaultStatuses = Annotated[tuple[FaultStatus, ...], Meta(max_length=limits.FAULTS_MAX)]


class SetFaults(DeviceMessage, frozen=True, tag=40):
    """The faults that the agent itself is to apply from now on, each with its number.

    ``count`` is this agent's share, and ``applied`` how often its last processes applied it. How
    often it was applied in all comes back among the counters, as ``fault.NUMBER``.
    """

    faults: FaultStatuses


class Resend(DeviceMessage, frozen=True, tag=41):
    """Message ``first`` has not come: send it again and all after it, under their numbers.

    It has no place in the sequence itself and bears the number 0, for whoever sends it may have
    lost messages of its own: it is obeyed whenever it comes.
    """

    first: SequenceNumber


class AddFault(ControlRequest, frozen=True, tag="add_fault"):
    """Apply a fault from now on; answered by `FaultList` with it alone."""

    fault: Fault


class ListFaults(ControlRequest, frozen=True, tag="list_faults"):
    """Asks for every fault of the testbed; answered by `FaultList`."""


class ClearFaults(ControlRequest, frozen=True, tag="clear_faults"):
    """Apply a fault no more (0: none of them); answered by `FaultList` with what was cleared.

    ``heal``: end what they have done so far, too: held threads and messages go on at once.
    """

    number: Number
    heal: bool


class FaultList(ControlMessage, frozen=True, tag="fault_list"):
    """Faults with how often each was applied."""

    faults: FaultStatuses
