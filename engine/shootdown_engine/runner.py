"""Runs tasks live: makes steps, stamps what they report, parks blocked tasks and wakes them.

Clock, fence and log are given from outside, so that the same runner serves daemon, agent and
tests. A blocked task waits for a change of what its guard read; a guard that read a word which
another process writes is tried again whenever its turn comes.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import NoReturn, TypeVar

from shootdown_engine.live_store import LiveStore
from shootdown_engine.store import Store
from shootdown_engine.task import Task
from shootdown_engine.trap import BLOCKED, Request
from shootdown_protocol.history import Access, AnyRecord, Entry, Kind, Step

Log = Callable[[Entry], object]
A = TypeVar("A")
Cell = tuple[Hashable, ...]
_STORE = Kind.STORE
WOKEN_AT_ONCE = 4
"""How many of those that wait to take one thing are woken when it becomes free."""


class _Changed(Exception):  # noqa: N818 - no error: it ends a probe
    """A guard that was false a moment ago is true."""


class _Probe:
    """A store that forwards reads and notes which; a false guard writes nothing."""

    def __init__(self, store: LiveStore) -> None:
        self.cells: list[Cell] = []
        self.words: list[int] = []
        self._store = store

    def load(self, word: int) -> int:
        self.words.append(word)
        return self._store.load(word)

    def get(self, cell: Cell) -> object:
        self.cells.append(cell)
        return self._store.get(cell)

    def compare_exchange(self, word: int, expected: int, value: int) -> int:
        old = self.load(word)
        if old == expected:
            self._write(word, value)
        return old

    def _write(self, *_: object) -> NoReturn:
        raise _Changed

    store = exchange = put = fill_frame = copy_frame = send = emit = _write


class _Trial:
    """A store whose writes are kept from the real one, and forgotten with it."""

    def __init__(self, store: LiveStore) -> None:
        self._store = store
        self._written: dict[object, object] = {}

    def load(self, word: int) -> int:
        value = self._written.get(word)
        return value if isinstance(value, int) else self._store.load(word)

    def get(self, cell: Cell) -> object:
        return self._written[cell] if cell in self._written else self._store.get(cell)

    def store(self, word: int, value: int) -> None:
        self._written[word] = value

    def exchange(self, word: int, value: int) -> int:
        old = self.load(word)
        self.store(word, value)
        return old

    def compare_exchange(self, word: int, expected: int, value: int) -> int:
        old = self.load(word)
        if old == expected:
            self.store(word, value)
        return old

    def put(self, cell: Cell, value: object) -> None:
        self._written[cell] = value

    def fill_frame(self, first_word: int, pattern: int) -> None:
        """Forget it."""

    def copy_frame(self, source_word: int, target_word: int) -> None:
        """Forget it."""

    def broken_word(self, first_word: int, pattern: int) -> int | None:
        return self._store.broken_word(first_word, pattern)

    def send(self, channel: Cell, message: object) -> None:
        """Forget it."""

    def emit(self, record: AnyRecord) -> None:
        """Forget it."""


class Runner:
    """Tasks over one live store. A task is *parked* while its guard is known to be false.

    ``instance_of`` names the instance of a record that a task without an instance reported.
    """

    def __init__(
        self,
        store: LiveStore,
        now: Callable[[], int],
        fence: Callable[[], None],
        log: Log,
        instance_of: Callable[[AnyRecord], int],
    ) -> None:
        """Start with no task."""
        self.store = store
        self.steps = 0
        self._now = now
        self._fence = fence
        self.log = log
        self._instance_of = instance_of
        self._waiting: dict[Cell | int, list[Task]] = {}
        self._began: dict[Task, int] = {}
        self._parked: set[Task] = set()
        self._probe = _Probe(store)
        self.woken: list[Task] = []
        self.taken: frozenset[str] = frozenset()
        """Kinds of cells that one of many waiters takes when they become free."""

    def step(self, task: Task) -> bool:
        """Make a task's pending step; False when it is blocked and has been parked or not."""
        request = task.request
        assert request is not None
        store = self.store
        begin = self._now()
        result = request.apply(store, *request.arguments)
        if result is BLOCKED:
            return False
        self.steps += 1
        if store.records:
            self._report(task, request, begin)
        elif task.is_told:
            operation, name = request.operation, request.name
            if operation == "device" and name == "atc_lookup":
                self._began[task] = begin
            elif name and (operation != "device" or name == "walk"):
                owner = task.owner
                instance = -1 if owner is None else owner.instance
                step = Step(operation, name, request.location, request.detail)
                self.log((begin, self._now(), instance, task.name, step))
        changed = store.changed
        if changed:
            if self._waiting.keys().isdisjoint(changed):
                changed.clear()
            else:
                self.wake()
        try:
            task.request = task.coroutine.send(result)
        except StopIteration as stop:
            task.begin_next(stop.value)
        return True

    def serve(self, server: Task, count: int) -> int:
        """Make steps of a server that belongs to nobody, one after the other; gives how many.

        Fewer than ``count`` when its guard is false, or as soon as somebody is woken. What they
        report is stamped with when the first began and the last ended.
        """
        assert server.owner is None
        store = self.store
        begin = self._now()
        made = 0
        request = server.request
        while made < count and request is not None:
            result = request.apply(store, *request.arguments)
            if result is BLOCKED:
                break
            made += 1
            try:
                request = server.request = server.coroutine.send(result)
            except StopIteration as stop:
                server.begin_next(stop.value)
                request = server.request
            if self._waiting:
                self.wake()
                if self.woken:
                    break
        store.changed.clear()
        self.steps += made
        if store.records:
            end = self._now()
            name = server.name
            for record in store.records:
                self.log((begin, end, self._instance_of(record), name, record))
            store.records.clear()
        return made

    def make_at_once(
        self, steps: Callable[[Store, A], bool], argument: A, task: str, instance: int
    ) -> bool:
        """Make steps of a task without it; what they report is stamped around all of them."""
        store = self.store
        begin = self._now()
        result = steps(store, argument)
        records = store.records
        if records:
            end, log = self._now(), self.log
            for record in records:
                log((begin, end, instance, task, record))
            records.clear()
        changed = store.changed
        if self._waiting.keys().isdisjoint(changed):
            changed.clear()
        else:
            self.wake()
        return result

    def can_step(self, task: Task) -> bool:
        """Whether a task's guard is true now: finding out makes the step on a copy that is lost."""
        request = task.request
        assert request is not None
        trial = _Trial(self.store)
        return request.apply(trial, *request.arguments) is not BLOCKED

    def park(self, task: Task) -> bool:
        """Park a task whose guard was false; False when it must be tried again by turn."""
        request = task.request
        assert request is not None
        if task.polls is request:
            return False
        known = task.found_empty
        if known is not None and known[0] == request.apply and known[1] == request.arguments:
            only = known[2]
            if self.store.get(only) is None:
                self._parked.add(task)
                self._waiting.setdefault(only, []).append(task)
                return True
        probe = self._probe
        cells, words = probe.cells, probe.words
        cells.clear()
        words.clear()
        try:
            blocked = request.apply(probe, *request.arguments) is BLOCKED
        except _Changed:
            blocked = False
        if not blocked:
            # Another process may change a word at any time; nothing else changes between the two.
            assert words, f"{task.name}: {request.full_name} reads state past the store"
            return False
        foreign = self.store.foreign
        for word in words:
            if word in foreign:
                task.polls = request
                return False
        if not (cells or words):
            return False
        self._parked.add(task)
        waiting = self._waiting
        for cell in cells:
            waiting.setdefault(cell, []).append(task)
        if words:
            self.store.watched.update(words)
            for word in words:
                waiting.setdefault(word, []).append(task)
        elif task.server and len(cells) == 1 and self.store.get(cells[0]) is None:
            # What a guard reads first is the same each time, and so is what it makes of the same
            # value: the next time no probe is needed.
            task.found_empty = request.apply, request.arguments, cells[0]
        return True

    def is_parked(self, task: Task) -> bool:
        """Whether a task waits for a change of what its guard has read."""
        return task in self._parked

    def wake(self) -> None:
        """Move the tasks that wait for changed cells to ``woken``.

        Of those that wait for a cell of ``taken`` only a few are: one will take what has become
        free, and all others would only find that out. `wake_all` is for when none did.
        """
        waiting = self._waiting
        changed = self.store.changed
        if waiting.keys().isdisjoint(changed):
            changed.clear()
            return
        for cell in changed:
            tasks = waiting.pop(cell, None)
            if tasks is None:
                continue
            if len(tasks) > WOKEN_AT_ONCE and type(cell) is tuple and cell[0] in self.taken:
                waiting[cell] = self._wake_some(tasks)
                continue
            for task in tasks:
                if task in self._parked:
                    self._parked.remove(task)
                    self.woken.append(task)
        changed.clear()

    def wake_all(self) -> None:
        """Move all tasks that wait for cells of ``taken`` to ``woken``."""
        cells = [cell for cell in self._waiting if type(cell) is tuple and cell[0] in self.taken]
        for cell in cells:
            for task in self._waiting.pop(cell):
                if task in self._parked:
                    self._parked.remove(task)
                    self.woken.append(task)

    def _wake_some(self, tasks: list[Task]) -> list[Task]:
        """Wake the first that still wait; gives the rest, in their order."""
        woken = 0
        for place, task in enumerate(tasks):
            if task in self._parked:
                self._parked.remove(task)
                self.woken.append(task)
                woken += 1
                if woken == WOKEN_AT_ONCE:
                    return tasks[place + 1 :]
        return []

    def report_outside(self, task: str) -> None:
        """Stamp records that a function of the shell, not a task, has made.

        Who waits for what it has changed is woken.
        """
        store = self.store
        begin = self._now()
        for record in store.records:
            self.log((begin, begin, self._instance_of(record), task, record))
        store.records.clear()
        if self._waiting.keys().isdisjoint(store.changed):
            store.changed.clear()
        else:
            self.wake()

    def forget(self, task: Task) -> None:
        """Drop what is kept of a task that has ended."""
        self._began.pop(task, None)
        self._parked.discard(task)

    def _report(self, task: Task, request: Request, begin: int) -> None:
        records = self.store.records
        owner = task.owner
        instance = owner.instance if owner is not None else -1
        for record in records:
            if type(record) is Access and record.kind is _STORE:
                self._fence()
        end, log, who = self._now(), self.log, task.name
        operation, name = request.operation, request.name
        if name == "atc_lookup":
            self._began[task] = begin
        if task.is_told and name and (operation != "device" or name == "walk"):
            step = Step(operation, name, request.location, request.detail)
            log((begin, end, instance, who, step))
        for record in records:
            if type(record) is Access:
                log((self._began.get(task, begin), end, instance, who, record))
                continue
            if instance < 0:
                instance = self._instance_of(record)
            log((begin, end, instance, who, record))
        records.clear()
