"""The faults of a testbed: what a run has met, and how agents share a count."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shootdown_daemon.shell.fault_set import SINCE_START, FaultSet
from shootdown_protocol.faults import Fault


def faults(agents: int = 2) -> FaultSet:
    """A set at a testbed of so many agents, whose clock stands still."""
    names = {number: f"agent{number}" for number in range(agents)}
    return FaultSet(lambda: 0.0, lambda: names, lambda: None, lambda: agents)


def test_a_run_is_not_told_of_what_had_ended() -> None:
    """Neither of what was cleared unapplied, nor of what the load has used up."""
    some = faults()
    never = some.add(Fault("inv.drop"))
    some.add(Fault("inv.delay", count=1))
    assert some.take("inv.delay") is not None
    some.clear(lambda fault: fault is never)

    before = some.before()

    assert some.within(before) == ()
    assert len(some.statuses()) == len(some.within(SINCE_START)) == 2


def test_a_run_counts_what_was_applied_in_it() -> None:
    """Of a fault that was live before, and of one that came meanwhile and is over."""
    some = faults()
    some.add(Fault("inv.drop"))
    assert some.take("inv.drop") is not None
    before = some.before()

    unapplied = some.within(before)
    assert some.take("inv.drop") is not None
    some.add(Fault("inv.delay", count=1), of_run=True)
    assert some.take("inv.delay") is not None

    assert [each.applied for each in unapplied] == [0]
    assert [each.applied for each in some.within(before)] == [1, 1]
    assert [each.applied for each in some.statuses()] == [2, 1]


def test_a_run_is_not_judged_by_how_its_testbed_started() -> None:
    """No agent joins late in a run that began when all had joined."""
    some = faults()
    some.add(Fault("agent.late_join"))

    assert some.within(some.before()) == ()


@given(count=st.integers(1, 40), agents=st.integers(1, 9), late=st.integers(0, 3))
def test_agents_share_a_count(count: int, agents: int, late: int) -> None:
    """Their shares add up to it, differ by one at most, and who joins later has none."""
    some = faults(agents)
    some.add(Fault("agent.slow_walk", count=count))

    told = [some.for_agent(f"agent{number}") for number in range(agents + late)]

    shares = [each[0].fault.count if each else 0 for each in told]
    assert sum(shares) == count
    assert max(shares[:agents]) - min(shares[:agents]) <= 1
    assert not any(shares[agents:])


def test_the_agent_that_is_meant_has_the_whole_count() -> None:
    """Nobody else is told of the fault."""
    some = faults()
    some.add(Fault("agent.stale", agent="1", count=3))

    assert some.for_agent("agent0") == ()
    assert [each.fault.count for each in some.for_agent("agent1")] == [3]


def test_a_process_in_anothers_place_goes_on_with_its_share() -> None:
    """It is told how much is used, and its first counters take nothing back."""
    some = faults()
    some.add(Fault("agent.stale", count=4))
    some.for_agent("agent0")
    some.counted("agent0", {"fault.1": 2})

    some.counted("agent0", {"fault.1": 0})

    (told,) = some.for_agent("agent0")
    assert (told.fault.count, told.applied) == (2, 2)


def test_an_agents_number_is_that_of_its_name() -> None:
    """Whichever has joined first; one that has a name of its own goes by when it joined."""
    names = {0: "agent1", 1: "agent0", 2: "mine"}
    some = FaultSet(lambda: 0.0, lambda: names, lambda: None, lambda: len(names))

    meant = [some.add(Fault("inv.drop", agent=number)).agent for number in ("0", "1", "2")]

    assert meant == ["agent0", "agent1", "mine"]
