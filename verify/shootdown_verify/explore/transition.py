"""What is known of a step: its outcomes by the values it read, and what each of them touches.

Only what a search asks for at every state may live here; it is kept in the form that is quickest
to ask.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from shootdown_engine.walker import STALE_TABLE
from shootdown_protocol.history import Access, AnyRecord, Step
from shootdown_protocol.program import MIRROR_DROPPED
from shootdown_verify.check.finding import Finding
from shootdown_verify.explore.automaton import Node


class Pending:
    """A step that a task is at, for certain values: what it touches, made or only tried.

    ``reads`` and ``writes`` are sets of cell numbers, a bit each. ``foes`` are nodes of other tasks
    whose futures were judged to conflict with it, ``friends`` those that do not.
    """

    __slots__ = ("foes", "friends", "reads", "task", "writes")

    def __init__(self, task: int, reads: int, writes: int) -> None:
        """Keep what was measured; nobody is judged yet."""
        self.task = task
        self.reads = reads
        self.writes = writes
        self.foes: set[Memo] = set()
        self.friends: set[Memo | None] = {None}


class Transition(Pending):
    """What a node's step does where it reads certain values.

    The next state is ``state & keep | put``.
    """

    __slots__ = ("after", "findings", "keep", "node", "put", "records")

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
        super().__init__(node.task, *footprint)
        self.node = node
        self.after = after
        self.keep, self.put = bits
        self.records = records
        self.findings = findings

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
    ``future_touches`` and ``future_writes`` are the union of both, and of writes,
    also over all nodes that follow. ``before`` and
    ``after`` are the nodes that this one follows and leads to. ``shut`` has cells, by number, with
    the bits of values for which this step is known to be blocked whatever else holds. ``judges``
    are the steps for which it was judged whether its future conflicts with them.
    """

    __slots__ = (
        "after",
        "before",
        "blocked",
        "future_touches",
        "future_writes",
        "get",
        "judges",
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
        self.future_touches = self.future_writes = 0
        self.before: list[Memo] = []
        self.after: list[Memo] = []
        self.judges: list[Pending] = []
        self.blocked: dict[int, Pending] = {}
        self.shut: set[tuple[int, int]] = set()
        self.table: dict[int, Remembered] = {}
        self.get: Callable[[int], Remembered | None] = self.table.get


@dataclass(slots=True)
class Hazards:
    """Evidence that the race was there: distinct accesses by what they met, in whatever order.

    ``hits``: through a translation cached before; ``stale_hits``: whose entry had changed since,
    walks through a table that the entry above led to no more, and what a mirror had to give up;
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
        self.stale_hits += sum(_is_evidence(record) for record in records)
        return bool(accesses)


def _is_evidence(record: AnyRecord) -> bool:
    return isinstance(record, Step) and record.name in (STALE_TABLE, MIRROR_DROPPED)
