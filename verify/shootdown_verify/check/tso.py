"""TSO: x86's model, in which a thread's stores wait in a buffer that its own loads look into.

Axioms: coherence, and no cycle of preserved program order (all but store to load), reads-from
between threads, coherence order and from-reads. Exact for x86-TSO, which these axioms are
equivalent to. A ``sync`` is a load of something that the other thread stores last.
"""

from __future__ import annotations

from collections.abc import Iterator

from shootdown_verify.check import coherence
from shootdown_verify.check.events import STORE, Execution
from shootdown_verify.check.finding import Model
from shootdown_verify.check.graph import (
    Cycle,
    Edge,
    Relation,
    communication,
    program_order,
    shortest_cycle,
)

MODEL = Model.TSO


def find(execution: Execution) -> Cycle | None:
    """A cycle that no store buffer explains, or None."""
    return coherence.find(execution) or shortest_cycle(_edges(execution))


def _edges(execution: Execution) -> Iterator[Edge]:
    for edge in program_order(execution):
        if edge.relation is Relation.SYNC or _is_preserved(execution, edge):
            yield edge
    for edge in communication(execution):
        if edge.relation is not Relation.READS_FROM or not _is_internal(execution, edge):
            yield edge


def _is_preserved(execution: Execution, edge: Edge) -> bool:
    stored_first = execution.events[edge.source].kind == STORE
    return not stored_first or execution.events[edge.target].kind == STORE


def _is_internal(execution: Execution, edge: Edge) -> bool:
    return execution.events[edge.source].thread == execution.events[edge.target].thread
