"""Real time: sequential consistency in which what had ended before another began comes first.

This is linearizability of every word, by intervals: an access takes effect somewhere between its
begin and its end, so accesses that overlap are not ordered. Without a clock it is SC.
"""

from __future__ import annotations

from collections.abc import Iterator

from shootdown_verify.check.events import SYNC, Execution
from shootdown_verify.check.finding import Model
from shootdown_verify.check.graph import (
    Cycle,
    Edge,
    Relation,
    communication,
    program_order,
    shortest_cycle,
)

MODEL = Model.REAL_TIME


def find(execution: Execution) -> Cycle | None:
    """A cycle through the order in which accesses ended and began, or None."""
    return shortest_cycle(
        [*_ended_before(execution), *program_order(execution), *communication(execution)]
    )


def _ended_before(execution: Execution) -> Iterator[Edge]:
    accesses = [
        number for number in range(len(execution.spans)) if execution.events[number].kind != SYNC
    ]
    for earlier in accesses:
        for later in accesses:
            if execution.spans[earlier][1] < execution.spans[later][0]:
                yield Edge(earlier, later, Relation.REAL_TIME)
