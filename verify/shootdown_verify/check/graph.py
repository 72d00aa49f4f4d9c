"""Relations between events, an order of all events by them, or the shortest cycle among them.

The relations are those of the herd family: program order, reads-from, coherence order, from-reads.
All are transitive along a list, so a relation is kept as *suffixes*: an event comes before all of
one list from some place on. Whether an order of all events exists needs the first of each suffix
alone, and so time that grows with the events; the shortest cycle is looked for only among events
that lie on cycles, through whole suffixes, and so is the shortest explanation too.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from typing import Final, NamedTuple

from shootdown_verify.check.events import LOAD, STORE, Execution


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


class Listed(Enum):
    """How the members of a list are related to each other."""

    CHAINED = 1
    """Each comes before the next one, by the list's own relation."""
    FEW = 2
    """Not at all; each is in one such list alone, so that all of them may be gone through."""
    LOOSE = 3
    """Not at all, and many events come before parts of the same list."""


class Suffix(NamedTuple):
    """All of a list from ``start`` on."""

    relation: Relation
    members: Sequence[int]
    start: int
    listed: Listed = Listed.CHAINED


Successors = Callable[[int], Iterator[Suffix]]
"""What an event comes before, as suffixes."""

Relations = Callable[[Execution], "Graph"]
"""A model's relations, laid out for an execution."""

SOURCES_MAX: Final = 256
"""Events of one strongly connected component from which a shortest cycle is looked for."""
VISITS_MAX: Final = 1_000_000
"""The same, as events times events gone through from each: of a large one fewer are tried."""


class Graph:
    """Nodes, of which the first are the events, and for each the suffixes that follow it."""

    __slots__ = ("following", "nodes")

    def __init__(self, nodes: int) -> None:
        """Begin without any relation."""
        self.nodes = nodes
        self.following: list[list[Suffix]] = [[] for _ in range(nodes)]

    def chain(self, relation: Relation, members: Sequence[int]) -> None:
        """Each member comes before all that follow it."""
        following = self.following
        for place, number in enumerate(members[:-1] if members else ()):
            following[number].append(Suffix(relation, members, place + 1))

    def before_all(self, number: int, relation: Relation, members: Sequence[int]) -> None:
        """One event comes before each of some that need not be ordered among themselves."""
        if members:
            self.following[number].append(Suffix(relation, members, 0, Listed.FEW))

    def direct(self) -> list[list[int]]:
        """The fewest successors of each node from which all others follow.

        A loose list is given nodes of its own behind all others, one a place: each leads to the
        member there and to the next place.
        """
        successors: list[list[int]] = []
        first_place: dict[int, int] = {}
        loose: list[Sequence[int]] = []
        nodes = self.nodes
        for suffixes in self.following:
            near: list[int] = []
            for _, members, start, listed in suffixes:
                if listed is Listed.CHAINED:
                    near.append(members[start])
                elif listed is Listed.FEW:
                    near.extend(members[start:])
                else:
                    if id(members) not in first_place:
                        first_place[id(members)] = nodes
                        loose.append(members)
                        nodes += len(members)
                    near.append(first_place[id(members)] + start)
            successors.append(near)
        for members in loose:
            beyond = first_place[id(members)] + 1
            successors += [[member, beyond + at] for at, member in enumerate(members)]
            successors[-1].pop()
        return successors


def add_program_order(graph: Graph, execution: Execution) -> None:
    """Every event before the later ones of its thread, and a thread before a wait for its end."""
    for numbers in execution.threads.values():
        graph.chain(Relation.PROGRAM_ORDER, numbers)
    add_sync(graph, execution)


def add_sync(graph: Graph, execution: Execution) -> None:
    """All events of a thread before another's `SYNC` with its end."""
    waits: dict[str, list[int]] = {}
    for number, event in enumerate(execution.events):
        if event.target:
            waits.setdefault(event.target, []).append(number)
    for target, numbers in waits.items():
        for earlier in execution.threads.get(target, ()):
            graph.before_all(earlier, Relation.SYNC, numbers)


def add_reads_from(graph: Graph, execution: Execution, *, external: bool = False) -> None:
    """From a store to every load that met its version; ``external``: of other threads alone."""
    events = execution.events
    for place, readers in execution.readers.items():
        store = execution.writer(place)
        if store is None:
            continue
        if external:
            own = events[store].thread
            readers = [load for load in readers if events[load].thread != own]  # noqa: PLW2901 - fewer of them
        graph.before_all(store, Relation.READS_FROM, readers)


def add_coherence(graph: Graph, execution: Execution) -> None:
    """Every store of a word before the newer ones."""
    for stores in execution.stores.values():
        graph.chain(Relation.COHERENCE, stores.numbers)


def add_from_reads(graph: Graph, execution: Execution) -> None:
    """From a load to every store of a newer version than it met."""
    for (word, position), readers in execution.readers.items():
        if word in execution.stores:
            positions, numbers = execution.stores[word]
            start = bisect_right(positions, position)
            if start < len(numbers):
                newer = Suffix(Relation.FROM_READS, numbers, start)
                for load in readers:
                    graph.following[load].append(newer)


def add_communication(graph: Graph, execution: Execution) -> None:
    """Reads-from, coherence order and from-reads."""
    add_reads_from(graph, execution)
    add_coherence(graph, execution)
    add_from_reads(graph, execution)


def path_back(execution: Execution, source: int, target: int, word: int) -> Cycle:
    """Edges by which ``source`` comes before ``target`` in a word, by their ranks alone."""
    assert execution.rank(source, word) < execution.rank(target, word)
    kinds = execution.events[source].kind, execution.events[target].kind
    if kinds == (STORE, STORE):
        return (Edge(source, target, Relation.COHERENCE),)
    if kinds == (LOAD, STORE):
        return (Edge(source, target, Relation.FROM_READS),)
    place = next(place for place in execution.events[target].places if place.word == word)
    writer = execution.writer(place)
    if writer == source:
        return (Edge(source, target, Relation.READS_FROM),)
    if writer is None:  # the initial version, or a store that was not recorded
        return (Edge(source, target, Relation.OVERTAKEN),)
    return (*path_back(execution, source, writer, word), Edge(writer, target, Relation.READS_FROM))


def topological(successors: Sequence[Sequence[int]]) -> list[int]:
    """Nodes in an order that all edges obey; those on a cycle, or behind one, are missing."""
    waits_for = [0] * len(successors)
    for near in successors:
        for node in near:
            waits_for[node] += 1
    ready = [node for node, count in enumerate(waits_for) if not count]
    order: list[int] = []
    while ready:
        node = ready.pop()
        order.append(node)
        for later in successors[node]:
            waits_for[later] -= 1
            if not waits_for[later]:
                ready.append(later)
    return order


def components(successors: Sequence[Sequence[int]]) -> list[list[int]]:
    """Nodes that lie on cycles, those together that lie on common ones (Tarjan), small first."""
    order = topological(successors)
    if len(order) == len(successors):
        return []
    done = bytearray(len(successors))
    for node in order:
        done[node] = 1
    found: list[list[int]] = []
    for root in range(len(successors)):
        if not done[root]:
            found.extend(_strongly_connected(root, successors, done))
    return sorted(found, key=len)


def _strongly_connected(
    root: int, successors: Sequence[Sequence[int]], done: bytearray
) -> Iterator[list[int]]:
    """Components with more than one node that are reached from a root, each marked as done."""
    number: dict[int, int] = {root: 0}
    lowest: dict[int, int] = {root: 0}
    stack = [root]
    work = [(root, iter(successors[root]))]
    while work:
        node, rest = work[-1]
        for later in rest:
            if done[later]:
                continue
            if later not in number:
                number[later] = lowest[later] = len(number)
                stack.append(later)
                work.append((later, iter(successors[later])))
                break
            lowest[node] = min(lowest[node], number[later])
        else:
            work.pop()
            if work:
                above = work[-1][0]
                lowest[above] = min(lowest[above], lowest[node])
            if lowest[node] == number[node]:
                members = []
                while not done[node]:
                    members.append(stack.pop())
                    done[members[-1]] = 1
                if len(members) > 1:
                    yield members


def is_ordered(execution: Execution, relations: Relations) -> bool:
    """Whether an order of all events exists that obeys the relations."""
    successors = relations(execution).direct()
    return len(topological(successors)) == len(successors)


def shortest_cycle(execution: Execution, relations: Relations) -> Cycle | None:
    """Fewest edges from an event back to itself, or None where an order of all events exists."""
    best: Cycle | None = None
    count = len(execution.events)
    for component in components(relations(execution).direct()):
        part, kept = execution.restricted(node for node in component if node < count)
        cycle = _shortest(relations(part), len(kept), best)
        if cycle is not None:
            best = tuple(Edge(kept[s], kept[t], relation) for s, t, relation in cycle)
    return best


def _shortest(graph: Graph, events: int, best: Cycle | None) -> Cycle | None:
    """A shorter cycle than the best one through the events tried, or None."""
    sources = max(1, min(SOURCES_MAX, VISITS_MAX // events))
    stride = -(-events // sources)
    longest = len(best) - 1 if best is not None else graph.nodes
    found: Cycle | None = None
    for event in range(0, events, stride):
        cycle = shortest_path(graph, event, event, longest)
        if cycle is not None:
            found, longest = cycle, len(cycle) - 1
    return found


def shortest_path(graph: Graph, source: int, target: int, longest: int = 1 << 60) -> Cycle | None:
    """Fewest edges from one event to another, at least one and at most ``longest``, or None."""
    reached: dict[int, Edge] = {}
    begun: dict[int, int] = {}
    queue = deque([(source, 0)])
    while queue:
        node, length = queue.popleft()
        if length >= longest:
            return None
        for relation, members, start, _ in graph.following[node]:
            end = begun.get(id(members), len(members))
            for later in members[start:end]:
                if later not in reached:
                    reached[later] = Edge(node, later, relation)
                    if later == target:
                        return _trace(reached, source, target)
                    queue.append((later, length + 1))
            if start < end:
                begun[id(members)] = start
    return None


def _trace(reached: dict[int, Edge], source: int, target: int) -> Cycle:
    path = [reached[target]]
    while path[-1].source != source:
        path.append(reached[path[-1].source])
    return tuple(reversed(path))
