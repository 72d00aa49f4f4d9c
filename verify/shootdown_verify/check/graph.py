"""Edges between events, and the shortest cycle among them.

The relations are those of the herd family: program order, reads-from, coherence order, from-reads.
They are laid out in full, not reduced to neighbours: an instance has a handful of events, and so
the shortest cycle of the graph is also the shortest explanation.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from enum import Enum
from typing import NamedTuple

from shootdown_verify.check.events import LOAD, STORE, SYNC, Execution


class Relation(Enum):
    """Why one event comes before another."""

    PROGRAM_ORDER = "po"
    SYNC = "sync"
    READS_FROM = "rf"
    COHERENCE = "co"
    FROM_READS = "fr"
    OVERTAKEN = "fr;rf"
    """Both are loads of one word, and the first met an older version than the second."""
    REAL_TIME = "rt"


class Edge(NamedTuple):
    """``source`` comes before ``target``, both numbers of events."""

    source: int
    target: int
    relation: Relation


Cycle = tuple[Edge, ...]
"""Edges of which each begins where the one before ends, and the first where the last ends."""


def program_order(execution: Execution) -> Iterator[Edge]:
    """Every pair of events of one thread, and all of a thread before a `SYNC` with its end."""
    for numbers in execution.threads.values():
        for place, earlier in enumerate(numbers):
            for later in numbers[place + 1 :]:
                yield Edge(earlier, later, Relation.PROGRAM_ORDER)
    yield from sync_order(execution)


def sync_order(execution: Execution) -> Iterator[Edge]:
    """All events of a thread before another's `SYNC` with its end."""
    for number, event in enumerate(execution.events):
        if event.kind == SYNC:
            for earlier in execution.threads.get(event.target, ()):
                yield Edge(earlier, number, Relation.SYNC)


def reads_from(execution: Execution) -> Iterator[Edge]:
    """From a store to every load that met its version."""
    for word, loads in execution.loads.items():
        writer = {
            execution.position(store, word): store for store in execution.stores.get(word, ())
        }
        for load in loads:
            store = writer.get(execution.position(load, word))
            if store is not None:
                yield Edge(store, load, Relation.READS_FROM)


def coherence_order(execution: Execution) -> Iterator[Edge]:
    """Every pair of stores of one word, the older version first."""
    for numbers in execution.stores.values():
        for place, older in enumerate(numbers):
            for newer in numbers[place + 1 :]:
                yield Edge(older, newer, Relation.COHERENCE)


def from_reads(execution: Execution) -> Iterator[Edge]:
    """From a load to every store of a newer version than it met."""
    for word, loads in execution.loads.items():
        for load in loads:
            met = execution.position(load, word)
            for store in execution.stores.get(word, ()):
                if execution.position(store, word) > met:
                    yield Edge(load, store, Relation.FROM_READS)


def communication(execution: Execution) -> Iterator[Edge]:
    """Reads-from, coherence order and from-reads."""
    yield from reads_from(execution)
    yield from coherence_order(execution)
    yield from from_reads(execution)


def path_back(execution: Execution, source: int, target: int, word: int) -> Cycle:
    """Edges by which ``source`` comes before ``target`` in a word, by their ranks alone."""
    assert execution.rank(source, word) < execution.rank(target, word)
    kinds = execution.events[source].kind, execution.events[target].kind
    if kinds == (STORE, STORE):
        return (Edge(source, target, Relation.COHERENCE),)
    if kinds == (LOAD, STORE):
        return (Edge(source, target, Relation.FROM_READS),)
    met = execution.position(target, word)
    writer = next(
        (s for s in execution.stores.get(word, ()) if execution.position(s, word) == met), None
    )
    if writer == source:
        return (Edge(source, target, Relation.READS_FROM),)
    if writer is None:  # the initial version, or a store that was not recorded
        return (Edge(source, target, Relation.OVERTAKEN),)
    return (*path_back(execution, source, writer, word), Edge(writer, target, Relation.READS_FROM))


def neighbours(edges: Iterable[Edge]) -> dict[int, list[Edge]]:
    """Edges by the event that they leave."""
    leaving: dict[int, list[Edge]] = {}
    for edge in edges:
        leaving.setdefault(edge.source, []).append(edge)
    return leaving


def on_cycles(edges: list[Edge]) -> list[Edge]:
    """Edges that are left when everything without a way in, or without a way out, is taken away."""
    while True:
        entered = {edge.target for edge in edges}
        left = {edge.source for edge in edges}
        kept = [edge for edge in edges if edge.source in entered and edge.target in left]
        if len(kept) == len(edges):
            return kept
        edges = kept


def shortest_path(leaving: dict[int, list[Edge]], source: int, target: int) -> Cycle | None:
    """Fewest edges from one event to another (at least one), or None."""
    reached: dict[int, Edge] = {}
    queue = deque([source])
    while queue:
        for edge in leaving.get(queue.popleft(), ()):
            if edge.target not in reached:
                reached[edge.target] = edge
                queue.append(edge.target)
                if edge.target == target:
                    return _trace(reached, source, target)
    return None


def _trace(reached: dict[int, Edge], source: int, target: int) -> Cycle:
    path = [reached[target]]
    while path[-1].source != source:
        path.append(reached[path[-1].source])
    return tuple(reversed(path))


def shortest_cycle(edges: Iterable[Edge]) -> Cycle | None:
    """Fewest edges from an event back to itself, or None where an order of all events exists."""
    leaving = neighbours(on_cycles(list(edges)))
    cycles = (shortest_path(leaving, event, event) for event in leaving)
    return min((cycle for cycle in cycles if cycle is not None), key=len, default=None)
