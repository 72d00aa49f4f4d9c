"""What a foreign history's events and edges are called: by thread, location, value and line."""

from __future__ import annotations

from typing import Final

from shootdown_verify.check.events import FENCE, STORE
from shootdown_verify.check.graph import Cycle, Edge, Relation
from shootdown_verify.foreign.columns import NO_END, NO_ORDER, NO_START, Columns

_STALE: Final = {Relation.FROM_READS, Relation.OVERTAKEN}
_KIND: Final = {0: "load", STORE: "store", FENCE: "fence"}


class Words:
    """Names events of one history."""

    def __init__(self, columns: Columns) -> None:
        """Take the history whose events are to be named."""
        self._columns = columns

    def thread(self, event: int) -> str:
        """Who made an event."""
        return self._columns.threads[int(self._columns.thread[event])]

    def did(self, event: int) -> str:
        """``read x=0 (line 3)``, ``stored x=1 (line 1)`` or ``made a fence (line 2)``."""
        columns = self._columns
        line = f"(line {columns.line[event]})"
        if columns.kind[event] == FENCE:
            return f"made a fence {line}"
        verb = "stored" if columns.kind[event] == STORE else "read"
        return f"{verb} {self._assignment(event)} {line}"

    def deed(self, event: int) -> str:
        """The same as a noun: ``P0's store x=1 (line 1)``."""
        columns = self._columns
        owner, line = f"{self.thread(event)}'s", f"(line {columns.line[event]})"
        if columns.kind[event] == FENCE:
            return f"{owner} fence {line}"
        noun = "store" if columns.kind[event] == STORE else "read"
        return f"{owner} {noun} {self._assignment(event)} {line}"

    def _assignment(self, event: int) -> str:
        columns = self._columns
        return f"{columns.locations[int(columns.location[event])]}={columns.value_of(event)}"

    def edge(self, edge: Edge) -> str:
        """Why the first of two events comes before the second."""
        first, second = edge.source, edge.target
        match edge.relation:
            case Relation.PROGRAM_ORDER | Relation.SYNC:
                return f"{self.thread(first)} {self.did(first)} before it {self.did(second)}"
            case Relation.READS_FROM:
                return f"{self.thread(second)} {self.did(second)} from {self.deed(first)}"
            case Relation.COHERENCE:
                return f"{self.deed(first)} is older than {self.deed(second)}"
            case Relation.FROM_READS | Relation.OVERTAKEN:
                return f"{self.thread(first)} {self.did(first)}, older than {self.deed(second)}"
            case Relation.REAL_TIME:
                return f"{self.deed(first)} had ended before {self.deed(second)} began"

    def event(self, number: int) -> dict[str, object]:
        """An event as its line had it, and which line that was."""
        columns = self._columns
        made: dict[str, object] = {
            "line": int(columns.line[number]),
            "thread": self.thread(number),
            "kind": _KIND[int(columns.kind[number])],
        }
        if columns.kind[number] != FENCE:
            made["location"] = columns.locations[int(columns.location[number])]
            made["value"] = columns.value_of(number)
        for name, missing in (("start", NO_START), ("end", NO_END), ("order", NO_ORDER)):
            given = getattr(columns, name)[number]
            if given not in {missing, float(missing)}:
                made[name] = given.item()
        return made


def stale_first(cycle: Cycle) -> Cycle:
    """The cycle from the read that was too old on, if there is one."""
    start = next((i for i, edge in enumerate(cycle) if edge.relation in _STALE), 0)
    return (*cycle[start:], *cycle[:start])
