"""Orders of stores, and stores of loads, that a history leaves open: forced, searched, or unknown.

Whether some choice satisfies a model is decided for a few hundred events at a time, which is sound
for the whole: what a model allows of a history it allows of any part that keeps the stores of its
loads. A choice is forced when the other one would close a cycle (Roy et al., CAV 2006; for
release/acquire and coherence that decides). What is left is searched, with a bound.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from shootdown_verify.check import causal, real_time, sc, tso
from shootdown_verify.check.events import FENCE, LOAD, STORE, Event, Execution, InWord, Span
from shootdown_verify.check.finding import Model
from shootdown_verify.check.graph import Cycle, Edge, Relation
from shootdown_verify.check.models import FIND

CHOICES_MAX: Final = 3000
"""Choices tried before the search gives up, in a problem of a hundred events."""
WORK_MAX: Final = 300_000
"""The same as choices times events."""

INITIAL: Final = -1


class Problem(NamedTuple):
    """Events of which some choices are open.

    ``threads`` names each event's; ``locations`` is -1 for a fence; ``candidates`` has of each
    load the stores that it may have met, `INITIAL` among them; ``ordered`` has per location stores
    whose order was recorded; ``guess`` is a key for the order in which stores are tried.
    """

    threads: Sequence[str]
    kinds: Sequence[int]
    locations: Sequence[int]
    candidates: dict[int, tuple[int, ...]]
    ordered: Sequence[Sequence[int]]
    guess: Sequence[int]
    spans: Sequence[Span] = ()


class Solved(NamedTuple):
    """``allowed`` is None when the bound was met.

    Then, and when it is true, ``writers`` and ``order`` are a choice (that satisfies the model).
    When it is false, ``cycle`` shows why for the choice tried first, or for all if ``forced``.
    """

    allowed: bool | None
    writers: dict[int, int] = {}  # noqa: RUF012 - a tuple's default, never changed
    order: tuple[tuple[int, ...], ...] = ()
    cycle: Cycle = ()
    forced: bool = False
    tried: int = 0


class _Exhausted(Exception):  # noqa: N818 - no error: the bound was met
    """The bound was met."""


def solve(problem: Problem, model: Model) -> Solved:
    """Whether some choice satisfies a model."""
    search = _Search(problem, model)
    writers = {load: c[0] for load, c in problem.candidates.items() if len(c) == 1}
    try:
        found = search.run(writers, search.recorded())
    except _Exhausted:
        return Solved(None, tried=search.tried)
    if found is not None:
        return found._replace(tried=search.tried)
    forced = search.tried == 1
    return Solved(False, cycle=search.first_cycle, forced=forced, tried=search.tried)


After = list[int]
"""For each event the stores known to come after it in its location's order, as a bit mask."""


class _Search:
    """Saturation, and search where that leaves a choice."""

    def __init__(self, problem: Problem, model: Model) -> None:
        self.problem = problem
        self.model = model
        self.count = len(problem.kinds)
        self.tried = 0
        self.limit = max(1, min(CHOICES_MAX, WORK_MAX // max(1, self.count)))
        self.first_cycle: Cycle = ()
        self.stores: dict[int, list[int]] = {}
        for event, kind in enumerate(problem.kinds):
            if kind == STORE:
                self.stores.setdefault(problem.locations[event], []).append(event)
        self.layers = list(_layers(problem, model))

    def recorded(self) -> After:
        """The orders that were recorded."""
        after = [0] * self.count
        for stores in self.problem.ordered:
            later = 0
            for store in reversed(stores):
                after[store] = later
                later |= 1 << store
        return after

    def run(self, writers: dict[int, int], after: After) -> Solved | None:
        """A choice that satisfies the model, or None when there is none beyond these."""
        self.tried += 1
        if self.tried > self.limit:
            raise _Exhausted
        readers = self._readers(writers)
        if not self._saturate(writers, readers, after):
            return None
        load = self._open_load(writers)
        if load is not None:
            for store in self.problem.candidates[load]:
                found = self.run({**writers, load: store}, list(after))
                if found is not None:
                    return found
            return None
        order = self._completed(after)
        cycle = FIND[self.model](self._execution(writers, order))
        if cycle is None:
            return Solved(True, writers, order)
        self.first_cycle = self.first_cycle or cycle
        pair = self._open_pair(after)
        if pair is None:
            return None
        for first, second in (pair, pair[::-1]):
            chosen = list(after)
            chosen[first] |= 1 << second
            found = self.run(writers, chosen)
            if found is not None:
                return found
        return None

    def _readers(self, writers: dict[int, int]) -> list[int]:
        """Loads of each store as a bit mask; none has those of a location's initial value."""
        readers = [0] * self.count
        for load, store in writers.items():
            if store >= 0:
                readers[store] |= 1 << load
        return readers

    def _open_load(self, writers: dict[int, int]) -> int | None:
        """The load with the fewest candidates among those not yet decided."""
        candidates = self.problem.candidates
        rest = [load for load in candidates if load not in writers]
        return min(rest, key=lambda load: (len(candidates[load]), load), default=None)

    def _open_pair(self, after: After) -> tuple[int, int] | None:
        """Two stores of one location whose order is open, neighbours in the guess if possible."""
        for stores in self.stores.values():
            ranked = sorted(stores, key=lambda store: self.problem.guess[store])
            for distance in range(1, len(ranked)):
                for first, second in zip(ranked, ranked[distance:], strict=False):
                    if not after[first] >> second & 1 and not after[second] >> first & 1:
                        return first, second
        return None

    def _completed(self, after: After) -> tuple[tuple[int, ...], ...]:
        """Every location's stores in an order that obeys what is known and follows the guess."""
        return tuple(self._ordered(stores, after) for stores in self.stores.values())

    def _ordered(self, stores: list[int], after: After) -> tuple[int, ...]:
        rest = sorted(stores, key=lambda store: self.problem.guess[store])
        order: list[int] = []
        while rest:
            free = (s for s in rest if not any(after[o] >> s & 1 for o in rest))
            store = next(free, rest[0])
            order.append(store)
            rest.remove(store)
        return tuple(order)

    def _execution(self, writers: dict[int, int], order: tuple[tuple[int, ...], ...]) -> Execution:
        problem = self.problem
        position = {s: at for stores in order for at, s in enumerate(stores, 1)}
        events = []
        for event, (thread, kind) in enumerate(zip(problem.threads, problem.kinds, strict=True)):
            place = problem.locations[event]
            if kind == STORE:
                places: tuple[InWord, ...] = (InWord(place, position[event]),)
            elif event in writers:
                store = writers[event]
                places = (InWord(place, position[store] if store >= 0 else 0),)
            else:
                places = ()
            events.append(Event(thread, kind, places))
        return Execution(events, problem.spans)

    def _saturate(self, writers: dict[int, int], readers: list[int], after: After) -> bool:
        """Add to ``after`` what is forced, until nothing more is; False at a contradiction."""
        while True:
            changed = False
            for layer in self.layers:
                successors = layer.edges(writers, readers, after)
                reach = _closure(successors, self.count)
                if reach is None:
                    self.first_cycle = self.first_cycle or layer.cycle(successors)
                    return False
                if layer.by_readers and self._is_overtaken(writers, readers, reach):
                    return self._contradiction(writers, after)
                forced = [
                    _force(layer, stores, readers, reach, after) for stores in self.stores.values()
                ]
                changed |= any(forced)
            if not _close(self.stores, after):
                return self._contradiction(writers, after)
            if not changed:
                return True

    def _is_overtaken(self, writers: dict[int, int], readers: list[int], reach: list[int]) -> bool:
        """Whether a load met the initial value after a store, or one who met it, happened."""
        initial: dict[int, int] = {}
        for load, store in writers.items():
            if store == INITIAL:
                place = self.problem.locations[load]
                initial[place] = initial.get(place, 0) | 1 << load
        return any(
            (reach[event] & initial.get(place, 0))
            for place, stores in self.stores.items()
            for store in stores
            for event in (store, *_bits(readers[store]))
        )

    def _contradiction(self, writers: dict[int, int], after: After) -> bool:
        """Keep the cycle of an order that obeys as much as can be obeyed; gives False."""
        if not self.first_cycle:
            execution = self._execution(writers, self._completed(after))
            self.first_cycle = FIND[self.model](execution) or ()
        return False


def _force(
    layer: _Layer, stores: list[int], readers: list[int], reach: list[int], after: After
) -> bool:
    """Order two stores where the other order would close a cycle."""
    changed = False
    for one in stores:
        ahead = reach[one]
        if layer.by_readers:
            for load in _bits(readers[one]):
                ahead |= reach[load] | 1 << load
        for other in stores:
            open_ = other != one and not after[one] >> other & 1
            if open_ and ahead & (readers[other] | 1 << other):
                after[one] |= 1 << other
                changed = True
    return changed


def _close(stores_of: dict[int, list[int]], after: After) -> bool:
    """Make the known orders transitive; False where one contradicts itself."""
    for stores in stores_of.values():
        for middle in stores:
            bit = 1 << middle
            for store in stores:
                if after[store] & bit:
                    after[store] |= after[middle]
        if any(after[store] >> store & 1 for store in stores):
            return False
    return True


def _bits(mask: int) -> Iterator[int]:
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


def _closure(successors: list[list[int]], count: int) -> list[int] | None:
    """For each event all that come after it, as a bit mask; None where there is a cycle.

    Nodes from ``count`` on are places of loose lists: they pass on, and have no bit.
    """
    waits_for = [0] * len(successors)
    for near in successors:
        for node in near:
            waits_for[node] += 1
    order = [node for node, waits in enumerate(waits_for) if not waits]
    for node in order:
        for later in successors[node]:
            waits_for[later] -= 1
            if not waits_for[later]:
                order.append(later)
    if len(order) < len(successors):
        return None
    reach = [0] * len(successors)
    for node in reversed(order):
        mask = 0
        for later in successors[node]:
            mask |= reach[later]
            if later < count:
                mask |= 1 << later
        reach[node] = mask
    return reach


@dataclass(slots=True)
class _Layer:
    """One acyclicity that a model asks for.

    ``base`` are the edges that no choice changes; ``internal``: a store comes before the loads of
    its own thread that met it; ``by_readers``: order is forced by what readers reach too, and
    coherence order adds no edges (happens-before of release/acquire).
    """

    problem: Problem
    base: list[list[int]]
    internal: bool = True
    by_readers: bool = False
    relation: dict[tuple[int, int], Relation] = field(default_factory=dict)

    def edges(self, writers: dict[int, int], readers: list[int], after: After) -> list[list[int]]:
        """All edges for some choices."""
        problem = self.problem
        successors = [list(near) for near in self.base]
        self.relation.clear()
        for load, store in writers.items():
            if store >= 0 and (self.internal or problem.threads[store] != problem.threads[load]):
                self._add(successors, store, load, Relation.READS_FROM)
        if self.by_readers:
            return successors
        for store, later in enumerate(after):
            for newer in _bits(later):
                self._add(successors, store, newer, Relation.COHERENCE)
                for load in _bits(readers[store]):
                    self._add(successors, load, newer, Relation.FROM_READS)
        for load, store in writers.items():
            if store == INITIAL:
                for newer in self._stores(problem.locations[load]):
                    self._add(successors, load, newer, Relation.FROM_READS)
        return successors

    def _stores(self, location: int) -> Iterator[int]:
        problem = self.problem
        for event, kind in enumerate(problem.kinds):
            if kind == STORE and problem.locations[event] == location:
                yield event

    def _add(self, successors: list[list[int]], first: int, second: int, why: Relation) -> None:
        successors[first].append(second)
        self.relation.setdefault((first, second), why)

    def cycle(self, successors: list[list[int]]) -> Cycle:
        """The shortest cycle, places of loose lists and chains of one relation left out."""
        count = len(self.problem.kinds)
        best: list[int] = []
        for start in range(count):
            path = _shortest_way(successors, start, len(best) or 1 << 30)
            best = path or best
        nodes = [node for node in best if node < count]
        edges = []
        for place, first in enumerate(nodes):
            second = nodes[(place + 1) % len(nodes)]
            at = best.index(first)
            direct = best[(at + 1) % len(best)] == second
            usual = Relation.PROGRAM_ORDER if direct else Relation.REAL_TIME
            edges.append(Edge(first, second, self.relation.get((first, second), usual)))
        return _without_chains(edges, self.problem.kinds)


def _shortest_way(successors: list[list[int]], start: int, beyond: int) -> list[int]:
    """Nodes of the shortest cycle through a node, if it has fewer than ``beyond``."""
    came_from = {start: -1}
    queue = deque([(start, 1)])
    while queue:
        node, length = queue.popleft()
        if length >= beyond:
            return []
        for later in successors[node]:
            if later == start:
                path = [node]
                while path[-1] != start:
                    path.append(came_from[path[-1]])
                return path[::-1]
            if later not in came_from:
                came_from[later] = node
                queue.append((later, length + 1))
    return []


def _without_chains(edges: list[Edge], kinds: Sequence[int]) -> Cycle:
    """Two edges of one transitive relation become one, but for those that need a fence between."""
    transitive = {Relation.PROGRAM_ORDER, Relation.COHERENCE}
    kept = list(edges)
    place = 0
    while place < len(kept) and len(kept) > 2:  # noqa: PLR2004 - a cycle has two edges at least
        first, second = kept[place], kept[(place + 1) % len(kept)]
        same = first.relation is second.relation and first.relation in transitive
        if same and kinds[first.target] != FENCE:
            kept[place] = Edge(first.source, second.target, first.relation)
            kept.pop((place + 1) % len(kept))
            place = 0
        else:
            place += 1
    return tuple(kept)


def _layers(problem: Problem, model: Model) -> Iterator[_Layer]:
    """What a model asks of the graph, by the relations of its own pass."""
    bare = Execution(
        [Event(t, k, ()) for t, k in zip(problem.threads, problem.kinds, strict=True)],
        problem.spans,
    )
    yield _Layer(problem, _within_locations(problem))
    if model is Model.CAUSAL:
        yield _Layer(problem, causal.happens_before(bare).direct(), by_readers=True)
    elif model is Model.TSO:
        yield _Layer(problem, tso.relations(bare).direct(), internal=False)
    elif model is Model.SC:
        yield _Layer(problem, sc.relations(bare).direct())
    elif model is Model.REAL_TIME:
        yield _Layer(problem, real_time.relations(bare).direct())


def _within_locations(problem: Problem) -> list[list[int]]:
    """Program order between the accesses of one thread to one location."""
    successors: list[list[int]] = [[] for _ in problem.kinds]
    last: dict[tuple[str, int], int] = {}
    for event, kind in enumerate(problem.kinds):
        if kind in {LOAD, STORE}:
            key = problem.threads[event], problem.locations[event]
            if key in last:
                successors[last[key]].append(event)
            last[key] = event
    return successors
