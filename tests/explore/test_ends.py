"""Where runs end: quietly, in a deadlock, or with somebody who never comes to an end."""

from __future__ import annotations

import pytest
from tests.explore.random_programs import CHANNEL, add, prowl, serve, wait

from shootdown_engine.trap import trap
from shootdown_verify.check.finding import Finding
from shootdown_verify.explore.automaton import TaskSpec
from shootdown_verify.explore.breadth_first import BreadthFirst
from shootdown_verify.explore.reduction import ReducedSearch
from shootdown_verify.explore.store import ExploringStore
from shootdown_verify.explore.system import System

QUIET = (Finding("quiet", "", ""),)
STUCK = (Finding("stuck", "", ""),)


def ends(*specs: TaskSpec, kind: type[BreadthFirst] = ReducedSearch) -> set[str]:
    """How the runs of some tasks end."""
    system = System(specs, ExploringStore())
    search = kind(system, quiet=lambda _: QUIET, stuck=lambda _: STUCK, every=True)
    search.run(states=1000)
    return set(search.violations)


async def wait_for(value: int) -> None:
    """Wait for a cell to hold a value."""
    await trap("wait", wait, 0, value)


async def set_to(value: int) -> None:
    """Add to that cell."""
    await trap("set", add, 0, value)


async def request() -> None:
    """Send to the server."""
    await trap("send", lambda store: store.send(CHANNEL, 1))


async def swallow() -> None:
    """Take a message and then wait for ever."""
    await trap("take", lambda store: store.send(CHANNEL, 1))
    await trap("for ever", wait, 0, 2)


def test_a_wait_that_somebody_ends_is_no_deadlock() -> None:
    """All orders end quietly."""
    waiter = TaskSpec("waiter", (lambda: wait_for(1),))
    setter = TaskSpec("setter", (lambda: set_to(1),))

    assert ends(waiter, setter) == {"quiet"}


def test_a_wait_that_nobody_ends_is_a_deadlock() -> None:
    """It is found with and without reduction."""
    waiter = TaskSpec("waiter", (lambda: wait_for(2),))
    setter = TaskSpec("setter", (lambda: set_to(1),))

    assert ends(waiter, setter) == ends(waiter, setter, kind=BreadthFirst) == {"stuck"}


def test_a_prowler_that_moves_for_ever_hides_no_deadlock() -> None:
    """That a prefetcher can still move is no progress."""
    waiter = TaskSpec("waiter", (lambda: wait_for(2),))
    prowler = TaskSpec("prowler", (prowl,), server=True, prowler=True)

    assert ends(waiter, prowler) == ends(waiter, prowler, kind=BreadthFirst) == {"stuck"}


def test_a_prowler_that_lets_somebody_go_on_is_progress() -> None:
    """A wait that ends only by a prowler's step is no deadlock."""

    async def helper() -> None:
        await trap("look", wait, 1, 0)
        await trap("help", add, 0, 0)
        await trap("help more", lambda store: store.put(("x", 0), 2))

    waiter = TaskSpec("waiter", (lambda: wait_for(2),))
    prowler = TaskSpec("prowler", (helper,), server=True, prowler=True)

    assert ends(waiter, prowler) == {"quiet"}


def test_it_is_quiet_only_when_messages_are_served() -> None:
    """An end with a message under way is looked at only after the server's round."""
    sender = TaskSpec("sender", (request,))
    server = TaskSpec("server", (serve,), server=True)
    system = System([sender, server], ExploringStore())
    quiet: list[object] = []

    def note(state: int) -> tuple[Finding, ...]:
        quiet.append(system.read(state)(("x", 0)))
        return ()

    BreadthFirst(system, quiet=note, stuck=lambda _: STUCK).run(states=100)

    assert quiet == [1]


def test_a_server_stuck_in_its_round_is_no_quiet_end() -> None:
    """All tasks have ended, yet something is under way for ever."""
    sender = TaskSpec("sender", (request,))
    server = TaskSpec("server", (swallow,), server=True)

    assert ends(sender, server) == {"stuck"}


def test_a_task_that_tries_again_for_ever_puts_nobody_off() -> None:
    """The others' deadlock is found although one task never comes to its end."""

    async def try_again(_remembered: int = 0) -> int:
        await trap("try", wait, 1, 0)
        return 1

    trying = TaskSpec("trying", (try_again,), prowler=True)
    waiter = TaskSpec("waiter", (lambda: wait_for(2),))
    setter = TaskSpec("setter", (lambda: set_to(1),))

    assert ends(trying, waiter, setter) == {"stuck"}
    assert ends(trying, waiter, setter, kind=BreadthFirst) == {"stuck"}


def test_what_was_forgotten_of_a_step_is_not_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking at a step brings no outcome back whose fields have changed in the meantime."""
    monkeypatch.setattr(System, "overlaps", lambda *_: True)
    system = System([TaskSpec("setter", (lambda: set_to(1),))], ExploringStore())
    search = ReducedSearch(system, quiet=lambda _: QUIET, stuck=lambda _: STUCK)
    (step,) = system.enabled(system.start)
    memo = system.memo(step.node)
    assert memo is not None
    memo.table.clear()

    search._look(system.start, step)

    assert memo.table == {}
