"""TSO: x86's model, in which a thread's stores wait in a buffer that its own loads look into.

Axioms: coherence, and no cycle of preserved program order (all but store to load), reads-from
between threads, coherence order and from-reads. Exact for x86-TSO, which these axioms are
equivalent to. A fence empties the buffer, so nothing moves across it; a ``sync`` is a load of
something that the other thread stores last.
"""

from __future__ import annotations

from shootdown_verify.check import coherence
from shootdown_verify.check.events import FENCE, STORE, Execution
from shootdown_verify.check.finding import Model
from shootdown_verify.check.graph import (
    Cycle,
    Graph,
    Relation,
    Suffix,
    add_coherence,
    add_from_reads,
    add_reads_from,
    add_sync,
    is_ordered,
    shortest_cycle,
)

MODEL = Model.TSO


def holds(execution: Execution) -> bool:
    """Whether store buffers explain all results."""
    return coherence.holds(execution) and is_ordered(execution, relations)


def find(execution: Execution) -> Cycle | None:
    """A cycle that no store buffer explains, or None."""
    return coherence.find(execution) or shortest_cycle(execution, relations)


def relations(execution: Execution) -> Graph:
    """What the order in which stores leave the buffers, and loads are made, has to obey."""
    graph = Graph(len(execution.events))
    for numbers in execution.threads.values():
        _add_preserved_order(graph, execution, numbers)
    add_sync(graph, execution)
    add_reads_from(graph, execution, external=True)
    add_coherence(graph, execution)
    add_from_reads(graph, execution)
    return graph


def _add_preserved_order(graph: Graph, execution: Execution, numbers: list[int]) -> None:
    """Two chains a thread, stores and loads, with the fences in both."""
    kinds = [execution.events[number].kind for number in numbers]
    stores = [n for n, kind in zip(numbers, kinds, strict=True) if kind in {STORE, FENCE}]
    loads = [n for n, kind in zip(numbers, kinds, strict=True) if kind != STORE]
    stored = loaded = 0
    for number, kind in zip(numbers, kinds, strict=True):
        stored += kind in {STORE, FENCE}
        loaded += kind != STORE
        following = graph.following[number]
        if stored < len(stores):
            following.append(Suffix(Relation.PROGRAM_ORDER, stores, stored))
        if kind != STORE and loaded < len(loads):
            following.append(Suffix(Relation.PROGRAM_ORDER, loads, loaded))
