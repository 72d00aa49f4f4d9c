"""What is known of a step: its outcomes by the values it read, and what each of them touches.

Only what a search asks for at every state may live here; it is kept in the form that is quickest
to ask.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from shootdown_protocol.history import Access, AnyRecord
from shootdown_verify.check.finding import Finding
from shootdown_verify.explore.automaton import Node


class Transition:
    """What a node's step does where it reads certain values.

    The next state is ``state & keep | put``. ``reads`` and ``writes`` are sets of cell numbers, a
    bit each. ``watch`` is the node whose future was last seen to conflict with it, and
    ``watched`` how much was known then.
    """

    __slots__ = (
        "after",
        "findings",
        "keep",
        "node",
        "put",
        "reads",
        "records",
        "task",
        "watch",
        "watched",
        "writes",
    )

    def __init__(
        self,
        node: Node,
        after: Node,
        bits: tuple[int, int],
        footprint: tuple[int, int],
        records: tuple[AnyRecord, ...],
        findings: tuple[Finding, ...],
    ) -> None:
        """Keep what was measured; ``bits`` are `keep` and `put`."""
        self.node = node
        self.task = node.task
        self.after = after
        self.keep, self.put = bits
        self.reads, self.writes = footprint
        self.records = records
        self.findings = findings
        self.watch: Memo | None = None
        self.watched = -1

    def conflicts(self, other: Transition) -> bool:
        """Whether the order of the two may matter: one writes what the other touches."""
        return bool(self.writes & (other.reads | other.writes) or self.reads & other.writes)

    def apply(self, state: int) -> int:
        """The state after it."""
        return state & self.keep | self.put


Outcome = tuple[int, int, Transition | None, Transition]
"""``keep``, ``put``, the transition once more if a search must look at it, and the transition."""
Remembered = Outcome | Literal[False]
"""False: the guard is false."""


class Memo:
    """The outcomes of one node's step, by the fields of the cells that it may read.

    ``mask`` covers the fields of all cells ever read here, and ``table`` is keyed by a state's
    bits below it. ``reads`` and ``writes`` are unions over all outcomes met, blocked ones too;
    ``future_reads`` and ``future_writes`` also over all nodes that follow. ``before`` and
    ``after`` are the nodes that this one follows and leads to. ``shut`` has cells, by number, with
    the bits of values for which this step is known to be blocked whatever else holds.
    """

    __slots__ = (
        "after",
        "before",
        "blocked",
        "future_reads",
        "future_writes",
        "get",
        "mask",
        "node",
        "reads",
        "shut",
        "table",
        "task",
        "writes",
    )

    def __init__(self, node: Node) -> None:
        """Begin with nothing known."""
        self.node = node
        self.task = node.task
        self.mask = 0
        self.reads = self.writes = 0
        self.future_reads = self.future_writes = 0
        self.before: list[Memo] = []
        self.after: list[Memo] = []
        self.blocked: dict[int, int] = {}
        self.shut: set[tuple[int, int]] = set()
        self.table: dict[int, Remembered] = {}
        self.get: Callable[[int], Remembered | None] = self.table.get


@dataclass(slots=True)
class Hazards:
    """Evidence that the race was there: distinct accesses by what they met, in whatever order.

    ``hits``: through a translation cached before; ``stale_hits``: whose entry had changed since;
    ``overlapping``: by a device, while an operation of the kernel was under way. An ``ok`` with
    all of the last two at 0 says little.
    """

    accesses: int = 0
    hits: int = 0
    stale_hits: int = 0
    overlapping: int = 0

    def count(self, records: tuple[AnyRecord, ...]) -> bool:
        """Count what one transition did; says whether it made an access."""
        accesses = [record for record in records if isinstance(record, Access)]
        self.accesses += len(accesses)
        self.hits += sum(access.hit for access in accesses)
        self.stale_hits += sum(access.stale for access in accesses)
        return bool(accesses)
