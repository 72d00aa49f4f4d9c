"""Threads that a device class declares itself: explored and judged as columns are."""

from __future__ import annotations

import pytest
from tests.explore.shipped import ALL

from shootdown_daemon.machine.disciplines import DISCIPLINES
from shootdown_device_agent.sdk import Device, InvalidateRequest, Io, Store, device_thread
from shootdown_verify.explore import Budget, Strategy, Verdict, explore


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
