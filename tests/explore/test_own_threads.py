"""Threads that a device class declares itself: explored and judged as columns are."""

from __future__ import annotations

import pytest
from tests.explore.shipped import ALL

from shootdown_daemon.machine.disciplines import DISCIPLINES
from shootdown_device_agent.sdk import Device, InvalidateRequest, Io, Store, device_thread
from shootdown_verify.explore import Budget, Result, Strategy, Verdict, explore


class Patrol(Device):
    """A right device that reads every word."""

    @device_thread
    async def patrol(self, io: Io) -> None:
        """Read, and translate anew."""
        for location in io.locations:
            await io.load(location)


class Deaf(Patrol):
    """Obeys no invalidation."""

    def obey(self, store: Store, request: InvalidateRequest) -> None:
        """Do nothing."""


class Lost(Device):
    """Asks for what is not there."""

    @device_thread
    async def stray(self, io: Io) -> None:
        """Name a location that no scenario has."""
        await io.load("no such place")


class Spins(Device):
    """A right device that polls for ever."""

    @device_thread
    async def spin(self, io: Io) -> None:
        """Never end."""
        while True:
            await io.pause()


def spun(discipline: str, strategy: Strategy) -> Result:
    """What half a second of search finds with a thread that never ends."""
    scenario = ALL["cow-two-pages"]
    return explore(
        scenario.program,
        DISCIPLINES[discipline],
        conditions=scenario.conditions,
        strategy=strategy,
        budget=Budget(seconds=0.5),
        make_device=Spins,
    )


def test_a_thread_that_never_ends_uses_the_budget_up() -> None:
    """Its steps concern nobody, so it would be followed for ever; the thread is named."""
    result = spun("clear_flush", Strategy.EXHAUSTIVE)

    assert result.verdict is Verdict.INCONCLUSIVE
    assert result.stopped_by.startswith("seconds, as d0.spin made 1000 steps in a row")


def test_a_thread_that_never_ends_puts_nobody_off() -> None:
    """What the others do wrong meanwhile is still found."""
    assert spun("none", Strategy.EXHAUSTIVE).verdict is Verdict.VIOLATION


def test_runs_at_random_stop_with_the_budget() -> None:
    """Also in the midst of one, and a thread that never ends is told."""
    result = spun("clear_flush", Strategy.PCT)

    assert result.verdict is Verdict.INCONCLUSIVE
    assert result.stopped_by == "seconds, and no run came to its end"


@pytest.mark.parametrize(("device", "verdict"), [(Patrol, Verdict.OK), (Deaf, Verdict.VIOLATION)])
def test_a_thread_of_the_device_s_own_is_explored(device: type[Device], verdict: Verdict) -> None:
    """What it does is judged: a right device is proved and a deaf one caught."""
    scenario = ALL["cow-message-passing"]

    result = explore(
        scenario.program,
        DISCIPLINES["clear_flush"],
        conditions=scenario.conditions,
        strategy=Strategy.EXHAUSTIVE,
        budget=Budget(seconds=60),
        make_device=device,
    )

    assert result.verdict is verdict
    tasks = {step.task for found in result.counterexamples for step in found.steps}
    assert device is Patrol or "d0.patrol" in tasks


def test_a_location_that_is_not_there_is_named() -> None:
    """The error says which there are."""
    scenario = ALL["cow-message-passing"]

    with pytest.raises(ValueError, match="no location 'no such place' in this scenario; it has"):
        explore(
            scenario.program,
            DISCIPLINES["clear_flush"],
            conditions=scenario.conditions,
            strategy=Strategy.EXHAUSTIVE,
            budget=Budget(seconds=60),
            make_device=Lost,
        )
