"""An order of all events that is as near to a sequentially consistent one as a greedy run comes.

Nothing is decided here: a good order makes windows small, and where no coherence order was
recorded it suggests one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from shootdown_verify.check.events import LOAD, STORE
from shootdown_verify.foreign.columns import Columns, Numbers


def greedy(
    columns: Columns,
    writer: Numbers,
    rank: Numbers | None = None,
    before: Mapping[int, Collection[int]] | None = None,
) -> Numbers:
    """Run the threads: a load waits for its version, a store for the readers of the one before.

    ``rank`` is the place of each store in its location's order, counted from 1, where it is known;
    ``before`` has of stores what must have been made.
    """
    return np.array(_Run(columns, writer, rank, before or {}).run(), dtype=np.int64)


Conflict = tuple[int, int]
"""A store that cannot be made, and the one of its location that was made too early before it."""


def attempt(
    columns: Columns, writer: Numbers, before: Mapping[int, Collection[int]]
) -> tuple[Numbers, list[Conflict]]:
    """A greedy run, and why it could not go on when it could not for the first time."""
    run = _Run(columns, writer, None, before)
    return np.array(run.run(), dtype=np.int64), run.conflicts


class _Run:
    """The state of a greedy run."""

    def __init__(
        self,
        columns: Columns,
        writer: Numbers,
        rank: Numbers | None,
        before: Mapping[int, Collection[int]],
    ) -> None:
        self.before = before
        self.is_made = bytearray(len(columns))
        self.kind: list[int] = columns.kind.tolist()
        self.location: list[int] = columns.location.tolist()
        self.writer: list[int] = writer.tolist()
        self.rank: list[int] | None = None if rank is None else rank.tolist()
        by_thread = np.argsort(columns.thread, kind="stable")
        ends = np.cumsum(np.bincount(columns.thread, minlength=len(columns.threads)))
        self.threads: list[list[int]] = [part.tolist() for part in np.split(by_thread, ends[:-1])]
        self.next = [0] * len(self.threads)
        places = len(columns.locations)
        # Versions are stores; the initial one of a location is -1 minus its number.
        self.current = [-1 - place for place in range(places)]
        self.made = [0] * places
        self.left = self._readers()
        self.waiting: list[list[int]] = [[] for _ in range(places)]
        self.awaited: dict[int, int] = {}
        self.storing: list[int] = []
        self.order: list[int] = []
        self.conflicts: list[Conflict] = []

    def _readers(self) -> dict[int, int]:
        """How many loads of each version are still to be made."""
        left: dict[int, int] = {}
        for event, store in enumerate(self.writer):
            if store >= -1 and self.kind[event] == LOAD:
                version = store if store >= 0 else -1 - self.location[event]
                left[version] = left.get(version, 0) + 1
        return left

    def run(self) -> Sequence[int]:
        """Make all events; where nobody can go on, the earliest of the file goes first."""
        ready = deque(range(len(self.threads)))
        total = len(self.kind)
        while True:
            while ready or self.storing:
                if ready:
                    self._run_thread(ready.popleft(), ready)
                else:
                    self._store(ready)
            if len(self.order) == total:
                return self.order
            self.conflicts = self.conflicts or self._conflicts()
            self._force(ready)

    def _conflicts(self) -> list[Conflict]:
        """Stores that wait for loads of the version before them, the awaited ones first."""
        found = []
        for thread, numbers in enumerate(self.threads):
            if self.next[thread] < len(numbers):
                event = numbers[self.next[thread]]
                current = self.current[self.location[event]]
                if self.kind[event] == STORE and current >= 0 and self.left.get(current, 0):
                    found.append((event not in self.awaited, event, current))
        return [(event, current) for _, event, current in sorted(found)]

    def _force(self, ready: deque[int]) -> None:
        """Make an event that should wait."""
        heads = [
            (numbers[self.next[thread]], thread)
            for thread, numbers in enumerate(self.threads)
            if self.next[thread] < len(numbers)
        ]
        event, thread = min(heads)
        for waiting in self.waiting:
            if thread in waiting:
                waiting.remove(thread)
        self._make(event, ready)
        self.next[thread] += 1
        ready.append(thread)

    def _run_thread(self, thread: int, ready: deque[int]) -> None:
        """Go on up to a store, which is made when all that can be read has been."""
        numbers = self.threads[thread]
        at = self.next[thread]
        while at < len(numbers):
            event = numbers[at]
            if self.kind[event] == STORE and self.rank is None:
                self.storing.append(thread)
                break
            if not self._is_enabled(event):
                if self.kind[event] == LOAD:
                    self.awaited[self.writer[event]] = thread
                self.waiting[self.location[event]].append(thread)
                break
            self._make(event, ready)
            at += 1
        self.next[thread] = at

    def _store(self, ready: deque[int]) -> None:
        """Make the store that somebody waits for, or that of the thread that is furthest behind."""
        able = []
        for thread in self.storing:
            event = self.threads[thread][self.next[thread]]
            if self._is_enabled(event):
                share = self.next[thread] / len(self.threads[thread])
                able.append((event not in self.awaited, share, thread))
            else:
                self.waiting[self.location[event]].append(thread)
        if not able:
            self.storing.clear()
            return
        self.storing = [thread for _, _, thread in able]
        _, _, thread = min(able)
        self.storing.remove(thread)
        self._make(self.threads[thread][self.next[thread]], ready)
        self.next[thread] += 1
        ready.append(thread)

    def _is_enabled(self, event: int) -> bool:
        kind = self.kind[event]
        if kind == STORE:
            place = self.location[event]
            if self.left.get(self.current[place], 0):
                return False
            if not all(self.is_made[earlier] for earlier in self.before.get(event, ())):
                return False
            return self.rank is None or self.rank[event] == self.made[place] + 1
        if kind == LOAD:
            store = self.writer[event]
            place = self.location[event]
            return store < -1 or self.current[place] == (store if store >= 0 else -1 - place)
        return True

    def _make(self, event: int, ready: deque[int]) -> None:
        self.order.append(event)
        self.is_made[event] = 1
        kind, place = self.kind[event], self.location[event]
        if kind == STORE:
            self.current[place] = event
            self.made[place] = self.rank[event] if self.rank is not None else self.made[place] + 1
        elif kind == LOAD:
            store = self.writer[event]
            if store < -1:
                return
            version = store if store >= 0 else -1 - place
            self.left[version] -= 1
            if self.left[version]:
                return
        else:
            return
        if self.waiting[place]:
            ready.extend(self.waiting[place])
            self.waiting[place].clear()
