"""A compiled scenario: what a process needs to run its columns, and nothing of the language.

The scenario language (`shootdown_verify`) compiles to this; it travels in a message. Locations,
columns and devices are named by their position.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum

import msgspec

MIRROR_COLUMN = "MIR"
"""How the names of columns begin that are threads of a software mirror of the page table."""
MIRROR_OPERATION = "mirror"
"""What the steps of such a thread give as their operation."""
MIRROR_DROPPED = "mirror_dropped"
"""Step that a mirror reports when it gives up an entry, or a walk's result, that became wrong: the
evidence that it was put to the test."""
ATTACH = "iommu_attach_device"
DETACH = "iommu_detach_device"
RESET = "pci_reset_function"
FUNCTION_OPERATIONS = (ATTACH, DETACH, RESET)
"""Operations that use the registers by which a device's ATS is enabled and the device reset."""


class Op(IntEnum):
    """What an instruction of a column does."""

    LOAD = 1
    STORE = 2
    PREFETCH = 3
    AWAIT = 4
    SYNC = 5
    DELAY = 6
    RUN = 7


class When(IntEnum):
    """What a column waits for before a load, store or operation."""

    NOW = 0
    WRITABLE = 1
    """The entry of the location is present and writable."""
    PRESENT = 2
    """The entry of the location is present."""
    FREED = 3
    """A frame of the instance has been freed and lies on the buddy list."""
    RETURNED = 4
    """Every operation on the location that a column names has returned."""


class State(IntEnum):
    """How a location is mapped when an instance begins."""

    NONE = 0
    """Anonymous memory never touched: no entry."""
    RW = 1
    """A private page, mapped writable."""
    RO = 2
    """A private page of a read-only mapping."""
    COW = 3
    """A private page shared copy-on-write with a process outside the scenario."""
    COW_SOLE = 4
    """Write-protected, but no other holder: a fault copies (as for a KSM page) and frees it."""
    ZERO = 5
    """The shared zero page, mapped read-only in a writable mapping."""
    KSM_PAIR = 6
    """A read-only page with a KSM page of the same content ready to replace it."""
    PINNED = 7
    """A private page, mapped writable, to which somebody else holds a reference (a pin): a write
    fault on it copies."""
    FILE = 8
    """A page of a shared file mapping, mapped writable and dirty; the file holds the same value."""
    SWAPPED = 9
    """A private page in a swap slot: nothing resident, a swap entry."""
    KSM_TWIN = 10
    """A private page, mapped writable, and a KSM page of the same content to merge it with."""
    WRPROTECTED = 11
    """A private page that nobody else holds, write-protected in a mapping that may be written."""
    UPROBED = 12
    """A private copy of a page of a file's text, mapped read-only, that is as the file has it."""
    HUGE = 20
    """A private 2 MiB page (THP), mapped writable by one PMD entry."""
    HUGE_COW = 21
    """A 2 MiB page shared copy-on-write with a process outside the scenario."""
    HUGE_ZERO = 22
    """The huge zero page, mapped read-only in a writable mapping."""
    HUGETLB = 23
    """A 2 MiB page of a hugetlb mapping, mapped writable."""
    HUGETLB_COW = 24
    """A 2 MiB hugetlb page shared copy-on-write with a process outside the scenario."""
    HUGETLB_1G = 26
    """A 1 GiB page of a hugetlb mapping, mapped writable by one PUD entry."""
    HUGETLB_1G_COW = 27
    """A 1 GiB hugetlb page shared copy-on-write with a process outside the scenario."""
    FILE_THP = 25
    """A page of a 2 MiB folio in the page cache, mapped shared and writable by an entry of its
    own: the page cache keeps it whatever happens to the entry."""


GIGANTIC_STATES = frozenset((State.HUGETLB_1G, State.HUGETLB_1G_COW))
"""States in which a PUD entry maps the location."""
HUGE_STATES = GIGANTIC_STATES | frozenset(
    (State.HUGE, State.HUGE_COW, State.HUGE_ZERO, State.HUGETLB, State.HUGETLB_COW)
)
"""States in which an entry above the page table maps the location."""


class Location(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One logical word: a page of an address space, and what it holds at the start.

    ``table`` numbers the page-table page: locations with equal ``table`` share one (and its lock).
    ``parent`` is the location whose content a fork gives to this one, or -1. ``alias`` is the
    location whose logical word this one is another address of, or -1: where mremap moves it to
    (another page of the same address space), or where another process maps the same page.
    """

    name: str
    mm: int
    va: int
    state: State
    value: int
    table: int
    parent: int = -1
    racy: bool = False
    alias: int = -1


class Instruction(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of a column.

    ``operation`` is a kernel function's name (RUN only); ``target`` a column (AWAIT, SYNC);
    ``amount`` batch-clock ticks (DELAY); ``register`` names where a load's value goes.
    """

    op: Op
    location: int = -1
    value: int = 0
    register: str = ""
    when: When = When.NOW
    write_intent: bool = False
    target: int = -1
    amount: int = 0
    operation: str = ""
    line: int = 0


class Column(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One actor. A CPU column has ``device`` -1; ``cpu`` numbers the CPU whose free list it uses.

    A device column has ``cpu`` -1. The address space is that of the location accessed.
    """

    name: str
    device: int
    cpu: int
    instructions: tuple[Instruction, ...]

    @property
    def is_mirror(self) -> bool:
        """Whether it is a thread of a software mirror, as its name says."""
        return self.name.startswith(MIRROR_COLUMN)


class Warm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A translation that a device holds when the instance begins."""

    device: int
    location: int
    write_intent: bool = False


class Speculation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A location that a device may translate at any time, unasked; at most ``count`` times live."""

    device: int
    location: int
    write_intent: bool = False
    count: int = 2


class Program(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A whole scenario, compiled.

    ``bound`` names the operations that the chosen discipline binds; the others are notified
    as ``clear_flush`` does. ``options`` are ``reuse=lifo|fifo``, ``ptl=split|mm``,
    ``mmap_lock=write|read`` (how operations that only take permissions hold it).
    """

    name: str
    summary: str
    mms: tuple[str, ...]
    devices: tuple[str, ...]
    locations: tuple[Location, ...]
    columns: tuple[Column, ...]
    warm: tuple[Warm, ...]
    speculation: tuple[Speculation, ...]
    bound: tuple[str, ...]
    options: dict[str, str] = {}

    @property
    def has_functions(self) -> bool:
        """Whether a column attaches, detaches or resets devices."""
        return any(line.operation in FUNCTION_OPERATIONS for line in self._lines())

    @property
    def begins_attached(self) -> bool:
        """Whether the devices begin attached: a column takes that away, or none attaches them."""
        named = {line.operation for line in self._lines()}
        return ATTACH not in named or bool(named & {DETACH, RESET})

    def _lines(self) -> Iterator[Instruction]:
        return (line for column in self.columns for line in column.instructions)

    def device_names(self) -> tuple[str, ...]:
        """Names that a device may be called by: its own, and those of its columns."""
        columns = (column.name for column in self.columns if column.device >= 0)
        return tuple(dict.fromkeys((*self.devices, *columns)))

    def device_called(self, name: str) -> int:
        """The device of a name, or the one that a column of this name belongs to; -1 for none."""
        if name in self.devices:
            return self.devices.index(name)
        return next((column.device for column in self.columns if column.name == name), -1)
