"""Records of what happened: the only input of a checker.

A machine's step returns records; it knows no time. The process that made the step wraps each in
a `Stamped`, and `shootdown_protocol.history_file` keeps those. Orders (`order`, `floor`, ...) are
`words.make_order` numbers, or -1 for none. Enumerations travel as integers.
"""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar

import msgspec


class Kind(IntEnum):
    """A load or a store."""

    LOAD = 0
    STORE = 1


class Place(IntEnum):
    """S1: whether an access touched a live frame of its own location, when it took effect."""

    OK = 0
    POISON = 1
    """The word was the poison of a freed frame."""
    FOREIGN = 2
    """The word was a version of another location or instance."""
    GENERATION = 3
    """The frame had been freed, or freed and given out again, since the translation was made."""
    NO_FRAME = 4
    """The translation led outside memory."""
    UNKNOWN = 5
    """The word was neither poison nor any version."""


class Record(msgspec.Struct, frozen=True, array_like=True, tag=True, gc=False):
    """Base of everything a step may report."""

    code: ClassVar[str] = ""


class Step(Record, frozen=True, array_like=True, tag=1, gc=False):
    """One trap of a task: a kernel function's or a device action's name, and what it did."""

    operation: str
    name: str
    location: int
    detail: str


class Access(Record, frozen=True, array_like=True, tag=2, gc=False):
    """A load or store that took effect.

    ``value`` is the scenario's, ``order`` the version met (load) or made (store), ``met`` the
    version a store replaced; ``source`` the location whose version was met (a fork's child meets
    its parent's). ``floor`` and ``limit`` (board words) were read when the access began.
    ``hit``: through a translation cached before the access; ``stale``: whose entry had changed.
    """

    kind: Kind
    location: int
    value: int
    order: int
    met: int
    source: int
    floor: int
    limit: int
    place: Place
    pfn: int
    hit: bool
    stale: bool
    register: str


class Denied(Record, frozen=True, array_like=True, tag=3, gc=False):
    """An access that was refused: no mapping, or no permission, said by the kernel."""

    kind: Kind
    location: int
    limit: int
    reason: str
    register: str


class Returned(Record, frozen=True, array_like=True, tag=4, gc=False):
    """An operation returned; accesses begun from now on obey ``limit``."""

    operation: str
    location: int
    limit: int


class Resident(Record, frozen=True, array_like=True, tag=5, gc=False):
    """S3: the version in the frame that an entry maps, beside the newest ended store's floor.

    Made when a present entry is set (``final`` false) and when all is quiet (true). ``source`` is
    the location whose version it is, as in `Access`, and ``value`` the scenario's.
    """

    location: int
    pfn: int
    order: int
    floor: int
    final: bool
    source: int
    value: int


class Stray(Record, frozen=True, array_like=True, tag=6, gc=False):
    """S1: a freed frame's poison was found broken when the frame was handed out again."""

    pfn: int
    generation: int
    word: int


class TableWalk(Record, frozen=True, array_like=True, tag=11, gc=False):
    """S1: a walk loaded an entry from a table page that was no table of the walk's any more.

    ``level`` is the table's (1 = page table), ``pfn`` its page; ``place`` is never `Place.OK`.
    """

    level: int
    pfn: int
    place: Place


class Invalidation(Record, frozen=True, array_like=True, tag=7, gc=False):
    """One state of an invalidation: ``queued sent applied drained completed``."""

    state: str
    device: str
    itag: int
    pasid: int
    address: int
    size: int


class Fault(Record, frozen=True, array_like=True, tag=8, gc=False):
    """A page request and its answer; ``exhausted`` when the device gave up retrying (S5)."""

    location: int
    write: bool
    answer: str
    exhausted: bool


class Ended(Record, frozen=True, array_like=True, tag=9, gc=False):
    """A column's last instruction has ended."""

    column: int


class Synced(Record, frozen=True, array_like=True, tag=10, gc=False):
    """A ``sync`` of one column with another's end: adds happens-before (``await`` adds none)."""

    target: int


class Injected(Record, frozen=True, array_like=True, tag=20, gc=False):
    """One application of a fault of `faults.KINDS`: its kind, whom it met, and what was done.

    ``number`` is the fault's in its testbed or plan, from 1. ``cut_off``: the instance cannot be
    judged any more.
    """

    kind: str
    target: str
    number: int
    detail: str
    cut_off: bool = False


AnyRecord = (
    Step
    | Access
    | Denied
    | Returned
    | Resident
    | Stray
    | TableWalk
    | Invalidation
    | Fault
    | Ended
    | Synced
    | Injected
)


Entry = tuple[int, int, int, str, AnyRecord]
"""A `Stamped` without its number: begin, end (ns), instance, task, record."""


class Stamped(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A record with who made it and when.

    ``begin`` and ``end`` are CLOCK_MONOTONIC nanoseconds; a store's ``end`` was taken after a full
    fence. ``sequence`` counts the process's records. ``task`` is a column's or server's name.
    """

    begin: int
    end: int
    sequence: int
    instance: int
    task: str
    record: AnyRecord
