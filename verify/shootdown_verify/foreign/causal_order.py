"""An order of each location's stores that release/acquire allows, if it allows any.

Of release/acquire the order of two stores of one location is forced exactly where one of them, or
a load that met it, happens before the other, or a load that met that: whatever obeys this is
allowed (Tunc et al., PLDI 2023). So, fences apart, coherence and causality are decided by it.
Sequential consistency forces more: what is forced orders stores, and loads before newer stores,
and that forces more in turn.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from typing import Final, NamedTuple

import numpy as np

from shootdown_verify.check.events import LOAD, STORE
from shootdown_verify.foreign.columns import Columns, Numbers
from shootdown_verify.foreign.schedule import attempt


class _Accesses(NamedTuple):
    """One thread's accesses to a location: their places in it, and the store that each is about.

    A store is about itself, a load about the store that it met; -1 for the initial value.
    """

    thread: int
    places: list[int]
    stores: list[int]


ROUNDS_MAX: Final = 6
"""Rounds in which sequential consistency may force more."""
EVENTS_MAX: Final = 100_000
"""Events of a history beyond which it is not asked to."""
RUNS_MAX: Final = 40
WORK_MAX: Final = 2_000_000
"""Events of all runs together."""
CONFLICTS_MAX: Final = 4
"""Pairs of stores of one run that are tried the other way round."""

Forced = dict[int, set[int]]
"""For each store those of its location that must come after it."""


def causal_key(columns: Columns, writer: Numbers, key: Numbers) -> Numbers | None:
    """For each store a number that grows along its location's order; ``key`` decides the rest.

    None where happens-before has a cycle.
    """
    forced = _Walk(columns, writer, {}).forced()
    return None if forced is None else _numbered(columns, forced, key)


def sequential_run(columns: Columns, writer: Numbers) -> Numbers | None:
    """A run of the threads that obeys what sequential consistency forces; None if that cannot be.

    Where it gets stuck, two stores were made in the wrong order: with them the other way round, and
    all that this forces, another run is made, so many times.
    """
    if len(columns) > EVENTS_MAX:
        return None
    forced = _saturated(columns, writer, {})
    schedule = None
    for _ in range(min(RUNS_MAX, WORK_MAX // (ROUNDS_MAX * len(columns)) + 1)):
        if forced is None:
            break
        walk, known = forced
        schedule, conflicts = attempt(columns, writer, _orders(known, walk))
        if not conflicts:
            break
        forced = None
        for store, early in conflicts[:CONFLICTS_MAX]:
            if store not in known.get(early, ()):
                learned = {**known, store: known.get(store, set()) | {early}}
                forced = _saturated(columns, writer, learned)
                if forced is not None:
                    break
    return schedule


def _saturated(columns: Columns, writer: Numbers, forced: Forced) -> tuple[_Walk, Forced] | None:
    """All that follows from what is forced; None where it is contradicted."""
    walk = _Walk(columns, writer, {})
    for _ in range(ROUNDS_MAX):
        if forced:
            walk = _Walk(columns, writer, _orders(forced, walk))
        more = walk.forced()
        if more is None:
            return None
        joined = {s: forced.get(s, set()) | more.get(s, set()) for s in forced.keys() | more.keys()}
        if joined == forced:
            break
        forced = joined
    return walk, forced


def _orders(forced: Forced, walk: _Walk) -> dict[int, set[int]]:
    """For each store the events that it must come after: older stores, and loads that met them."""
    readers: dict[int, dict[int, int]] = {}
    for numbers in walk.threads:
        for event in numbers:
            if walk.kind[event] == LOAD and walk.writer[event] >= 0:
                readers.setdefault(walk.writer[event], {})[walk.owner[event]] = event
    before: dict[int, set[int]] = {}
    for store, later in forced.items():
        last = readers.get(store, {}).values()
        for newer in later:
            before.setdefault(newer, set()).update((store, *last))
    return before


def _numbered(columns: Columns, forced: Forced, key: Numbers) -> Numbers:
    order = np.zeros(len(columns), dtype=np.int64)
    by_place: dict[int, list[int]] = {}
    for store in np.flatnonzero(columns.kind == STORE).tolist():
        by_place.setdefault(int(columns.location[store]), []).append(store)
    keys = key.tolist()
    for stores in by_place.values():
        for number, store in enumerate(_topological(stores, forced, keys)):
            order[store] = number
    return order


def _topological(stores: list[int], forced: Forced, key: list[int]) -> list[int]:
    """Stores of a location in an order that obeys what is forced; a cycle is cut anywhere."""
    waits = dict.fromkeys(stores, 0)
    for store in stores:
        for later in forced.get(store, ()):
            waits[later] += 1
    ready = [(key[store], store) for store in stores if not waits[store]]
    heapq.heapify(ready)
    order: list[int] = []
    placed: set[int] = set()
    while len(order) < len(stores):
        if not ready:
            ready = [min((key[s], s) for s in stores if s not in placed)]
        _, store = heapq.heappop(ready)
        if store in placed:
            continue
        placed.add(store)
        order.append(store)
        for later in forced.get(store, ()):
            waits[later] -= 1
            if not waits[later]:
                heapq.heappush(ready, (key[later], later))
    return order


class _Walk:
    """Goes through all events by happens-before, with a vector clock for each thread.

    ``before`` has of some events others that come before them, beside the store of a load.
    """

    def __init__(self, columns: Columns, writer: Numbers, before: dict[int, set[int]]) -> None:
        self.kind: list[int] = columns.kind.tolist()
        self.location: list[int] = columns.location.tolist()
        self.writer: list[int] = writer.tolist()
        self.owner: list[int] = columns.thread.tolist()
        by_thread = np.argsort(columns.thread, kind="stable")
        ends = np.cumsum(np.bincount(columns.thread, minlength=len(columns.threads)))
        self.threads: list[list[int]] = [part.tolist() for part in np.split(by_thread, ends[:-1])]
        self.clocks = [[-1] * len(self.threads) for _ in self.threads]
        self.before = before
        self.kept: dict[int, tuple[int, ...]] = {}
        self.seen_by_others = self._seen_by_others()
        self.accesses = self._accesses()
        self.after: Forced = {}

    def _seen_by_others(self) -> set[int]:
        """Events that come before one of another thread, by themselves and not by a third."""
        seen = {
            store
            for event, store in enumerate(self.writer)
            if store >= 0 and self.owner[store] != self.owner[event]
        }
        for event, earlier in self.before.items():
            seen.update(e for e in earlier if self.owner[e] != self.owner[event])
        return seen

    def _accesses(self) -> dict[int, list[_Accesses]]:
        by_place: dict[int, dict[int, _Accesses]] = {}
        for thread, numbers in enumerate(self.threads):
            for at, event in enumerate(numbers):
                store = self._store_of(event)
                if store is not None:
                    of_place = by_place.setdefault(self.location[event], {})
                    own = of_place.setdefault(thread, _Accesses(thread, [], []))
                    own.places.append(at)
                    own.stores.append(store)
        return {place: list(of_place.values()) for place, of_place in by_place.items()}

    def _store_of(self, event: int) -> int | None:
        """The store that an access is about; None for what is no access, or whose is not known."""
        if self.kind[event] == STORE:
            return event
        if self.kind[event] == LOAD and self.writer[event] >= -1:
            return self.writer[event]
        return None

    def forced(self) -> Forced | None:
        """For each store those that must come after it; None where an event is before itself."""
        waiting: dict[int, list[int]] = {}
        ready = list(range(len(self.threads)))
        left = len(self.kind)
        while ready:
            thread = ready.pop()
            numbers, clock = self.threads[thread], self.clocks[thread]
            while clock[thread] + 1 < len(numbers):
                event = numbers[clock[thread] + 1]
                missing = self._join(event, clock)
                if missing is not None:
                    waiting.setdefault(missing, []).append(thread)
                    break
                clock[thread] += 1
                left -= 1
                self._compare(event, clock)
                if event in self.seen_by_others:
                    self.kept[event] = tuple(clock)
                    ready += waiting.pop(event, ())
        return self.after if not left else None

    def _join(self, event: int, clock: list[int]) -> int | None:
        """Let a thread's clock know what comes before its next event; gives what is not made."""
        own = self.owner[event]
        earlier = self.before.get(event, ())
        if self.kind[event] == LOAD and self.writer[event] >= 0:
            earlier = (self.writer[event], *earlier)
        for before in earlier:
            if self.owner[before] == own:
                continue
            known = self.kept.get(before)
            if known is None:
                return before
            for other, place in enumerate(known):
                clock[other] = max(clock[other], place)
        return None

    def _compare(self, event: int, clock: list[int]) -> None:
        """Order an access's store behind the last that happens before it in each thread."""
        store = self._store_of(event)
        if store is None or store < 0:
            return
        own = self.owner[event]
        for thread, places, stores in self.accesses[self.location[event]]:
            at = bisect_right(places, clock[thread]) - (2 if thread == own else 1)
            if at >= 0:
                earlier = stores[at]
                if earlier >= 0 and earlier != store:
                    self.after.setdefault(earlier, set()).add(store)
