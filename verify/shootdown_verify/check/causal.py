"""Causality, as release/acquire has it: every store releases, every load acquires.

Happens-before is program order, ``sync`` and reads-from. It is broken by a cycle of its own, by
two accesses to one word whose versions are the other way round, or by full fences that no order
of theirs explains (RC11's axioms for release/acquire accesses and SC fences). Exact, as coherence
order is given: a vector clock says of each access what happens before it in each thread.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from shootdown_verify.check.events import FENCE, LOAD, STORE, Execution
from shootdown_verify.check.finding import Model
from shootdown_verify.check.graph import (
    Cycle,
    Edge,
    Graph,
    Suffix,
    add_communication,
    add_program_order,
    add_reads_from,
    components,
    is_ordered,
    path_back,
    shortest_cycle,
    shortest_path,
    topological,
)

MODEL = Model.CAUSAL

_ALL_PAIRS_OF: Final = 64
"""Events of an execution of which every pair is looked at for the shortest cycle."""
_PAIRS_MAX: Final = 32
"""Pairs that go back of which the shortest cycle is looked for in a larger one."""


def holds(execution: Execution) -> bool:
    """Whether no effect was seen without its cause."""
    graph = happens_before(execution)
    order = topological(graph.direct())
    if len(order) < len(execution.events) or _steps_back_in(execution, order, 1):
        return False
    fenced = any(event.kind == FENCE for event in execution.events)
    return not fenced or is_ordered(execution, _layers)


def find(execution: Execution) -> Cycle | None:
    """An effect seen without its cause, or before it; None where causality holds."""
    of_itself = shortest_cycle(execution, happens_before)
    if of_itself is not None:
        return of_itself
    graph = happens_before(execution)
    cycles = []
    for earlier, later, word in _steps_back(execution, graph):
        cause = shortest_path(graph, earlier, later)
        if cause is not None:
            cycles.append((*cause, *path_back(execution, later, earlier, word)))
    if any(event.kind == FENCE for event in execution.events):
        of_fences = _find_through_fences(execution)
        cycles += [of_fences] if of_fences is not None else []
    return min(cycles, key=len, default=None)


def happens_before(execution: Execution) -> Graph:
    """Program order, sync and reads-from."""
    graph = Graph(len(execution.events))
    add_program_order(graph, execution)
    add_reads_from(graph, execution)
    return graph


class _Back(NamedTuple):
    """Two accesses to a word: the second is later by happens-before and has the older version."""

    earlier: int
    later: int
    word: int


def _steps_back(execution: Execution, graph: Graph) -> Iterator[_Back]:
    """Pairs that go back: candidates all of a small execution, some of a large one."""
    found = _steps_back_in(execution, topological(graph.direct()), _PAIRS_MAX)
    if found and len(execution.events) <= _ALL_PAIRS_OF:
        yield from _all_steps_back(execution)
    else:
        yield from found


def _all_steps_back(execution: Execution) -> Iterator[_Back]:
    for word, members in execution.words.items():
        for later in members:
            for earlier in members:
                if execution.rank(later, word) < execution.rank(earlier, word):
                    yield _Back(earlier, later, word)


class _Accesses(NamedTuple):
    """One thread's accesses to one word: their places in the thread, and the newest of each."""

    places: list[int]
    newest: list[int]


def _steps_back_in(execution: Execution, order: Sequence[int], most: int) -> list[_Back]:
    """Compare every access with the newest that happens before it in each thread.

    ``order`` is one of all events by happens-before; so many pairs are given at most.
    """
    clocks = _Clocks(execution)
    accesses = _accesses(execution)
    found: list[_Back] = []
    for number in order:
        clock = clocks.advance(number)
        for word, _ in execution.events[number].places:
            rank = execution.rank(number, word)
            for thread, (places, newest) in accesses[word]:
                at = bisect_right(places, clock[thread]) - 1
                if at >= 0 and execution.rank(newest[at], word) > rank:
                    found.append(_Back(newest[at], number, word))
                    if len(found) >= most:
                        return found
    return found


def _accesses(execution: Execution) -> dict[int, list[tuple[int, _Accesses]]]:
    """Accesses to each word by the number of their thread."""
    by_word: dict[int, dict[int, _Accesses]] = {}
    for thread, numbers in enumerate(execution.threads.values()):
        for place, number in enumerate(numbers):
            for word, _ in execution.events[number].places:
                own = by_word.setdefault(word, {}).setdefault(thread, _Accesses([], []))
                before = own.newest[-1] if own.newest else number
                newer = execution.rank(number, word) >= execution.rank(before, word)
                own.places.append(place)
                own.newest.append(number if newer else before)
    return {word: list(of_word.items()) for word, of_word in by_word.items()}


class _Clocks:
    """Vector clocks: of each thread, the place of the last event that happens before another."""

    def __init__(self, execution: Execution) -> None:
        """Know each event's thread, place, and the stores that others read from."""
        self._execution = execution
        self._names = {name: number for number, name in enumerate(execution.threads)}
        self._now = [[-1] * len(self._names) for _ in self._names]
        self._kept: dict[int, tuple[int, ...]] = {}

    def advance(self, number: int) -> list[int]:
        """Make the next event in topological order; gives its clock."""
        execution = self._execution
        thread, kind, places, target = execution.events[number]
        own = self._names[thread]
        clock = self._now[own]
        clock[own] += 1
        if kind == LOAD and places:
            store = execution.writer(places[0])
            if store is not None and execution.events[store].thread != thread:
                self._join(clock, self._kept[store])
        elif kind == STORE:
            if any(place in execution.readers for place in places):
                self._kept[number] = tuple(clock)
        elif target in self._names and target != thread:
            self._join(clock, self._now[self._names[target]])
        return clock

    @staticmethod
    def _join(clock: list[int], other: list[int] | tuple[int, ...]) -> None:
        for thread, place in enumerate(other):
            clock[thread] = max(clock[thread], place)


def _find_through_fences(execution: Execution) -> Cycle | None:
    """A cycle of full fences, each before the next by happens-before and communication (psc)."""
    best: Cycle | None = None
    count = len(execution.events)
    for component in components(_layers(execution).direct()):
        part, kept = execution.restricted({node % count for node in component})
        graph = _layers(part)
        for number, event in enumerate(part.events):
            longest = len(best) - 1 if best is not None else graph.nodes
            if event.kind == FENCE:
                cycle = shortest_path(graph, number, number, longest)
                if cycle is not None:
                    size = len(kept)
                    best = tuple(Edge(kept[s % size], kept[t % size], r) for s, t, r in cycle)
    return best


def _layers(execution: Execution) -> Graph:
    """Happens-before, then communication in one word, then happens-before, to the next fence.

    Every event is there three times, by how far a path from the last fence has come; a fence only
    once, since a new path begins with it.
    """
    count = len(execution.events)
    before = happens_before(execution)
    communication = Graph(count)
    add_communication(communication, execution)
    shift = _Shift(execution)
    graph = Graph(3 * count)
    for number in range(count):
        onward, across = before.following[number], communication.following[number]
        graph.following[number] = [*onward, *(shift.by(suffix, 1) for suffix in across)]
        graph.following[number + count] = [
            *(shift.by(suffix, 1) for suffix in across),
            *(shift.by(suffix, 2) for suffix in onward),
        ]
        graph.following[number + 2 * count] = [shift.by(suffix, 2) for suffix in onward]
    return graph


class _Shift:
    """Lists of the events' copies in other layers, each made once."""

    def __init__(self, execution: Execution) -> None:
        """Know which events are fences, which have no copies."""
        self._count = len(execution.events)
        self._is_fence = [event.kind == FENCE for event in execution.events]
        self._made: dict[tuple[int, int], tuple[list[int], Sequence[int]]] = {}

    def by(self, suffix: Suffix, layers: int) -> Suffix:
        """The same suffix some layers on."""
        members = suffix.members
        key = id(members), layers
        if key not in self._made:
            beyond = layers * self._count
            shifted = [n if self._is_fence[n] else n + beyond for n in members]
            # The original is kept too: its identity must not be given to another list.
            self._made[key] = shifted, members
        return suffix._replace(members=self._made[key][0])
