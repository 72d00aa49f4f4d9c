"""The live runner: when a blocked task is parked, what wakes it, and how records are stamped."""

from __future__ import annotations

from collections.abc import Coroutine
from itertools import count

import pytest
from tests.machine.machines import make_store

from shootdown_engine.live_store import LiveStore
from shootdown_engine.runner import Runner
from shootdown_engine.store import Store, deliver
from shootdown_engine.task import Task
from shootdown_engine.trap import BLOCKED, Blocked, Request, trap
from shootdown_protocol.history import Ended, Entry, Stamped, Step
from shootdown_protocol.layout import Layout

CELL = ("a", "cell")
OTHER = ("another", "cell")
WORD = 70
FOREIGN_WORD = 71


class Live:
    """A runner whose clock counts and whose log is a list."""

    def __init__(self) -> None:
        """Let nobody write but this process, except for one word."""
        self.store: LiveStore = make_store(Layout(4, 64, 1))
        self.store.foreign = frozenset({FOREIGN_WORD})
        self.log: list[Stamped] = []
        clock = count(1)
        self.runner = Runner(
            self.store,
            now=lambda: next(clock),
            fence=lambda: None,
            log=self._log,
            instance_of=lambda _record: 9,
        )

    def _log(self, entry: Entry) -> None:
        begin, end, instance, task, record = entry
        self.log.append(Stamped(begin, end, 0, instance, task, record))

    def parked(self, task: Task) -> bool:
        """Try a task, which must be blocked; whether it is parked then."""
        assert not self.runner.step(task)
        return self.runner.park(task)


def waits_for(*what: tuple[str, ...] | int) -> Task:
    """A task that waits until one of some cells and words is set."""

    def guard(store: Store) -> Blocked | None:
        seen = [store.load(w) if isinstance(w, int) else store.get(w) for w in what]
        return None if any(seen) else BLOCKED

    async def body() -> None:
        await trap("wait", guard)

    return Task("waiter", body)


def test_a_task_that_waits_for_a_cell_is_parked_until_it_changes() -> None:
    """It is woken by a change of that cell and of no other."""
    live = Live()
    task = waits_for(CELL)
    assert live.parked(task)
    live.store.put(OTHER, 1)
    live.runner.wake()
    assert live.runner.woken == []

    live.store.put(CELL, 1)
    live.runner.wake()

    assert live.runner.woken == [task]
    assert live.runner.step(task)


def test_a_task_that_waits_for_a_message_is_woken_by_its_arrival() -> None:
    """A channel's receiving end is a cell like any other."""
    live = Live()
    task = waits_for(("channel", "completion", 0))  # type: ignore[arg-type]
    assert live.parked(task)

    deliver(live.store, ("completion", 0), 3)
    live.runner.wake()

    assert live.runner.woken == [task]


def test_a_task_that_waits_for_two_cells_is_woken_once() -> None:
    """Whichever changes first wakes it, and the other then finds it awake."""
    live = Live()
    task = waits_for(CELL, OTHER)
    assert live.parked(task)

    live.store.put(OTHER, 1)
    live.store.put(CELL, 1)
    live.runner.wake()

    assert live.runner.woken == [task]


def test_a_word_of_this_process_wakes_too() -> None:
    """A task that waits for a word which only this process writes is parked, and woken by it."""
    live = Live()
    task = waits_for(WORD)
    assert live.parked(task)

    live.store.store(WORD, 5)
    live.runner.wake()

    assert live.runner.woken == [task]


def test_a_word_of_another_process_is_asked_again() -> None:
    """Nobody here sees it change, so a task that waits for it is never parked."""
    live = Live()

    assert not live.parked(waits_for(CELL, FOREIGN_WORD))


def waits_and_writes(live: Live) -> Task:
    """A task that waits for a foreign word, which changes once it was looked at, and writes."""
    tries = count()

    def step(store: Store) -> Blocked | None:
        if next(tries):
            live.store.words[FOREIGN_WORD] = 1
        if not store.load(FOREIGN_WORD):
            return BLOCKED
        store.emit(Ended(0))
        return None

    async def body() -> None:
        await trap("wait", step)

    return Task("waiter", body)


def test_a_word_may_change_before_its_waiter_is_parked() -> None:
    """Stored by another process between the two looks, it makes the waiter be asked again."""
    live = Live()
    task = waits_and_writes(live)

    assert not live.parked(task)
    assert live.store.records == []

    assert live.runner.step(task)
    assert [stamped.record for stamped in live.log] == [Step("", "wait", -1, ""), Ended(0)]


def test_a_guard_that_looks_past_the_store_is_an_assertion() -> None:
    """A guard that was false and is true though nothing changed cannot be waited for."""
    live = Live()
    tries = count()

    def guard(store: Store) -> Blocked | None:
        store.get(CELL)
        return None if next(tries) else BLOCKED

    async def body() -> None:
        await trap("wait", guard)

    task = Task("waiter", body)
    assert not live.runner.step(task)

    with pytest.raises(AssertionError, match="past the store"):
        live.runner.park(task)


def server_of(cell: tuple[str, ...]) -> Task:
    """A server that takes what is in a cell, says so, and counts what it took."""

    def take(store: Store) -> object:
        found = store.get(cell)
        if found is None:
            return BLOCKED
        store.put(cell, None)
        return found

    def tell(store: Store, found: object) -> None:
        store.emit(Ended(3))
        store.put(OTHER, found)

    async def body() -> None:
        await trap("tell", tell, await trap("take", take))

    return Task("server", body, server=True)


def test_a_server_that_is_alone_makes_its_round_at_once() -> None:
    """Its records are stamped with when the round began and ended; then its guard is false."""
    live = Live()
    live.store.put(CELL, 7)

    made = live.runner.serve(server_of(CELL), 64)

    assert (made, live.runner.steps, live.store.get(OTHER)) == (2, 2, 7)
    assert [(s.begin, s.end, s.instance, s.record) for s in live.log] == [(1, 2, 9, Ended(3))]


def test_steps_made_at_once_are_stamped_around_all_of_them() -> None:
    """Whoever waits for what they did is woken, though no task has made them."""
    live = Live()
    waiter = waits_for(OTHER)
    assert live.parked(waiter)

    def steps(store: Store, value: int) -> bool:
        store.put(OTHER, value)
        store.emit(Ended(3))
        return True

    assert live.runner.make_at_once(steps, 7, "d0.invalidate", 4)

    assert live.runner.woken == [waiter]
    assert [(s.begin, s.end, s.instance, s.task) for s in live.log] == [(2, 3, 4, "d0.invalidate")]


def test_a_guard_that_found_nothing_is_not_asked_twice() -> None:
    """A server that waits for the same empty cell again is parked, and woken, as at first."""
    live = Live()
    server = server_of(CELL)
    for value in (7, 8):
        assert live.parked(server)
        live.store.put(CELL, value)
        live.runner.wake()
        assert live.runner.woken.pop() is server
        assert live.runner.serve(server, 64) == 2

    assert server.found_empty is not None
    assert server.found_empty[2] == CELL


def test_a_guard_that_polls_is_asked_once_a_turn() -> None:
    """That it reads a word of another process is found out once, and not at each turn."""
    live, asked = Live(), []

    def guard(store: Store) -> Blocked | None:
        asked.append(store)
        return None if store.load(FOREIGN_WORD) else BLOCKED

    async def body() -> None:
        await trap("wait", guard)

    task = Task("waiter", body)
    assert not live.parked(task)
    asked.clear()

    assert not live.parked(task)

    assert len(asked) == 1


def test_a_step_is_stamped_around_its_work() -> None:
    """Begin is taken before the step and end after it; records outside an instance ask whose."""
    live = Live()

    def report(store: Store) -> None:
        store.emit(Ended(2))

    async def body() -> None:
        await trap("end", report, operation="wp_page_copy", location=1, detail="frame 7")

    assert live.runner.step(Task("CPU0", body))

    assert [(s.begin, s.end, s.task, s.record) for s in live.log] == [
        (1, 2, "CPU0", Step("wp_page_copy", "end", 1, "frame 7")),
        (1, 2, "CPU0", Ended(2)),
    ]


def test_a_nameless_step_is_not_reported() -> None:
    """Steps that only the machinery knows of leave no record."""
    live = Live()

    async def body() -> None:
        await trap("", lambda _store: None)

    assert live.runner.step(Task("CPU0", body))

    assert live.log == []


def body_of_two(seen: list[object]) -> Coroutine[Request, object, int | None]:
    """Two traps that give what they are told."""

    async def body() -> int | None:
        seen.append(await trap("one", lambda _store: 1))
        seen.append(await trap("two", lambda _store: 2))
        return None

    return body()


def test_a_task_hands_each_result_to_its_body() -> None:
    """What a step gives is what the await returns, in order."""
    live = Live()
    seen: list[object] = []
    task = Task("CPU0", lambda: body_of_two(seen))

    while not task.ended:
        assert live.runner.step(task)

    assert seen == [1, 2]
    assert live.runner.steps == 2
