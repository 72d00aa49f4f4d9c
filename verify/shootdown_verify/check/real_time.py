"""Real time: sequential consistency in which what had ended before another began comes first.

This is linearizability of every word, by intervals: an access takes effect somewhere between its
begin and its end, so accesses that overlap are not ordered; so does a fence, and what its thread
had stored before has taken effect by then. Without a clock it is SC.
"""

from __future__ import annotations

from bisect import bisect_right

from shootdown_verify.check import sc
from shootdown_verify.check.events import SYNC, Execution
from shootdown_verify.check.finding import Model
from shootdown_verify.check.graph import (
    Cycle,
    Graph,
    Listed,
    Relation,
    Suffix,
    is_ordered,
    shortest_cycle,
)

MODEL = Model.REAL_TIME


def holds(execution: Execution) -> bool:
    """Whether such an order exists that time allows, too."""
    return is_ordered(execution, relations)


def find(execution: Execution) -> Cycle | None:
    """A cycle through the order in which accesses ended and began, or None."""
    return shortest_cycle(execution, relations)


def relations(execution: Execution) -> Graph:
    """Those of SC, and each access before all that began after its end."""
    graph = sc.relations(execution)
    if not execution.spans:
        return graph
    spans = execution.spans
    accesses = [n for n, event in enumerate(execution.events) if event.kind != SYNC]
    accesses.sort(key=lambda number: spans[number][0])
    begins = [spans[number][0] for number in accesses]
    for number in accesses:
        start = bisect_right(begins, spans[number][1])
        if start < len(accesses):
            later = Suffix(Relation.REAL_TIME, accesses, start, Listed.LOOSE)
            graph.following[number].append(later)
    return graph
