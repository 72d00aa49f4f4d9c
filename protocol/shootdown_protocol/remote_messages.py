"""What an agent without shared memory and the daemon say to each other, beside what all agents do.

The daemon hosts the agent's IOMMU and makes its accesses; it believes no address, PASID, page or
length: an agent names instructions of columns that it was given, and pages that it was answered.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from shootdown_protocol import limits
from shootdown_protocol.device_message import DeviceElement, DeviceMessage
from shootdown_protocol.fields import (
    ColumnNumber,
    DeviceNumber,
    LineNumber,
    LocationNumber,
    Name,
    Number,
    PageAddress,
    PageNumber,
    PageShift,
    PasidNumber,
    RemoteTag,
    SlotNumber,
    Ticks,
    Value,
)


class BatchWarm(DeviceMessage, frozen=True, tag=9):
    """``A_WARM`` of an agent without shared memory: its caches are warm for this batch."""

    batch: Number


class BatchDone(DeviceMessage, frozen=True, tag=10):
    """``A_DONE`` of an agent without shared memory: its columns have ended and drained."""

    batch: Number


class SlotsStarted(DeviceMessage, frozen=True, tag=11):
    """To an agent without shared memory: the instances in these slots have begun.

    ``clock`` is the batch clock. A column may begin at once or a while later.
    """

    batch: Number
    clock: Ticks
    slots: Annotated[
        tuple[SlotNumber, ...], Meta(min_length=1, max_length=limits.SLOTS_MAX, title="slots")
    ]


class TranslationRequest(DeviceElement, frozen=True):
    """Translate one page of a PASID (PCIe ATS translation request).

    ``write``: the translation is to be used to store, too.
    """

    tag: RemoteTag
    device: DeviceNumber
    pasid: PasidNumber
    address: PageAddress
    write: bool


class TranslationRequests(DeviceMessage, frozen=True, tag=32):
    """Translation requests of devices of one agent."""

    requests: Annotated[
        tuple[TranslationRequest, ...],
        Meta(min_length=1, max_length=limits.REMOTE_PER_MESSAGE_MAX),
    ]


class TranslationCompletion(DeviceElement, frozen=True):
    """What a walk found. Neither ``read`` nor ``write`` means that there is no translation.

    ``page`` is the page number that the address falls into, ``shift`` the leaf's size. An
    invalidation that came before this on the link, and after the request, voids it.
    """

    tag: RemoteTag
    page: PageNumber
    shift: PageShift
    read: bool
    write: bool


class TranslationCompletions(DeviceMessage, frozen=True, tag=33):
    """Answers to translation requests."""

    completions: Annotated[
        tuple[TranslationCompletion, ...],
        Meta(min_length=1, max_length=limits.REMOTE_PER_MESSAGE_MAX),
    ]


class AccessRequest(DeviceElement, frozen=True):
    """Make the load or store of an instruction, through a translation (a DMA).

    ``page`` is one that the device was given for the instruction's page; ``hit``: it was cached
    before. The access is under way, and holds up completions, until its answer has come.
    """

    tag: RemoteTag
    slot: SlotNumber
    column: ColumnNumber
    line: LineNumber
    page: PageNumber
    hit: bool


class AccessRequests(DeviceMessage, frozen=True, tag=34):
    """Accesses of columns of one agent."""

    requests: Annotated[
        tuple[AccessRequest, ...], Meta(min_length=1, max_length=limits.REMOTE_PER_MESSAGE_MAX)
    ]


class AccessAnswer(DeviceElement, frozen=True):
    """An access was made, or not (``made`` false: the agent had no right to it)."""

    tag: RemoteTag
    made: bool
    value: Value


class AccessAnswers(DeviceMessage, frozen=True, tag=35):
    """Answers to access requests."""

    answers: Annotated[
        tuple[AccessAnswer, ...], Meta(min_length=1, max_length=limits.REMOTE_PER_MESSAGE_MAX)
    ]


class ColumnWait(DeviceElement, frozen=True):
    """Say when an instruction may go on: an ``AWAIT``, a ``SYNC``, or one with a ``when``."""

    tag: RemoteTag
    slot: SlotNumber
    column: ColumnNumber
    line: LineNumber


class ColumnWaits(DeviceMessage, frozen=True, tag=36):
    """Waits of columns of one agent; each is answered once, when it is over."""

    waits: Annotated[
        tuple[ColumnWait, ...], Meta(min_length=1, max_length=limits.REMOTE_PER_MESSAGE_MAX)
    ]


class Proceed(DeviceMessage, frozen=True, tag=37):
    """These waits are over."""

    tags: Annotated[
        tuple[RemoteTag, ...],
        Meta(min_length=1, max_length=limits.REMOTE_PER_MESSAGE_MAX, title="tags"),
    ]


class ColumnEnd(DeviceElement, frozen=True):
    """A column has ended."""

    slot: SlotNumber
    column: ColumnNumber


class ColumnsEnded(DeviceMessage, frozen=True, tag=38):
    """Columns of one agent that have ended."""

    columns: Annotated[
        tuple[ColumnEnd, ...], Meta(min_length=1, max_length=limits.REMOTE_PER_MESSAGE_MAX)
    ]


class AccessGivenUp(DeviceMessage, frozen=True, tag=39):
    """An instruction's access was not made: the kernel refused it, or (``retried``) S5 failed."""

    slot: SlotNumber
    column: ColumnNumber
    line: LineNumber
    retried: bool


class ThreadAccessRequest(DeviceElement, frozen=True):
    """Make a load or store of a thread that the device has of its own, beside the columns.

    All as in `AccessRequest`, but for what no instruction says: ``thread`` is what the agent calls
    it, ``location`` and ``value`` are the scenario's. Answered by `AccessAnswers`.
    """

    tag: RemoteTag
    slot: SlotNumber
    device: DeviceNumber
    thread: Name
    location: LocationNumber
    write: bool
    value: Value
    page: PageNumber
    hit: bool


class ThreadAccessRequests(DeviceMessage, frozen=True, tag=44):
    """Accesses of threads that devices of one agent have of their own."""

    requests: Annotated[
        tuple[ThreadAccessRequest, ...],
        Meta(min_length=1, max_length=limits.REMOTE_PER_MESSAGE_MAX),
    ]


class ThreadAccessGivenUp(DeviceMessage, frozen=True, tag=45):
    """`AccessGivenUp` for an access of a thread that the device has of its own."""

    slot: SlotNumber
    device: DeviceNumber
    thread: Name
    location: LocationNumber
    write: bool
    retried: bool


class Unsupported(DeviceMessage, frozen=True, tag=46):
    """These translation requests were answered Unsupported Request: the device has no domain.

    In place of a `TranslationCompletion`; only in programs that attach, detach or reset devices.
    """

    tags: Annotated[
        tuple[RemoteTag, ...],
        Meta(min_length=1, max_length=limits.REMOTE_PER_MESSAGE_MAX, title="tags"),
    ]


class RegisterWrite(DeviceElement, frozen=True):
    """What the kernel has written to a device's control register (``F_CONTROL``) in a slot."""

    slot: SlotNumber
    device: DeviceNumber
    control: Number


class RegisterWrites(DeviceMessage, frozen=True, tag=47):
    """Control registers of devices of an agent without shared memory, in the order written."""

    writes: Annotated[
        tuple[RegisterWrite, ...], Meta(min_length=1, max_length=limits.REMOTE_PER_MESSAGE_MAX)
    ]


class RegisterStatus(DeviceElement, frozen=True):
    """What a device has obeyed in a slot (``F_STATUS``): what was written to its register."""

    slot: SlotNumber
    device: DeviceNumber
    status: Number


class RegisterStatuses(DeviceMessage, frozen=True, tag=48):
    """What devices of one agent have obeyed of their control registers."""

    statuses: Annotated[
        tuple[RegisterStatus, ...], Meta(min_length=1, max_length=limits.REMOTE_PER_MESSAGE_MAX)
    ]
