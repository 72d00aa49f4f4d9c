"""All searches see the same: the differential tests on random small programs with guards.

Breadth-first search without reduction is the yardstick of states, sleep sets that of traces. Each
of the rules that a search needs is shown to be needed by leaving it out.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from tests.explore.random_programs import KINDS, LOOPING, Program, random_program
from tests.explore.searches import UNTAUGHT, StateSearch, search_schedules, search_states

from shootdown_verify.explore import conflicts, dpor
from shootdown_verify.explore.breadth_first import BreadthFirst
from shootdown_verify.explore.conflicts import Crowd
from shootdown_verify.explore.dpor import Frame, SleepSets, SourceDpor
from shootdown_verify.explore.reduction import ReducedSearch
from shootdown_verify.explore.system import System
from shootdown_verify.explore.transition import Memo

PROGRAMS = 3000
SHARDS = 8


def programs(
    shard: int, *, tasks: int = 3, lines: int = 3, kinds: tuple[str, ...] = KINDS
) -> Iterator[Program]:
    """The programs of one shard."""
    for seed in range(shard, PROGRAMS, SHARDS):
        yield random_program(random.Random(seed), tasks=tasks, lines=lines, kinds=kinds)


def reduced_search(number: int) -> StateSearch:
    """The reduced search as it is for half of the programs, untaught for the others."""
    return UNTAUGHT if number % 2 else ReducedSearch


@pytest.mark.parametrize("shard", range(SHARDS))
def test_reduced_search_sees_every_step_and_every_end(shard: int) -> None:
    """The reduction loses no result of any step, no end and no deadlock."""
    states = reduced_states = 0
    for number, program in enumerate(programs(shard, tasks=4, lines=3)):
        full = search_states(program, BreadthFirst)

        reduced = search_states(program, reduced_search(number))

        assert reduced[:3] == full[:3], program
        states += full.states
        reduced_states += reduced.states
    assert reduced_states < states * 0.8


@pytest.mark.parametrize("shard", range(SHARDS))
def test_reduced_search_is_not_distracted_by_a_prowler(shard: int) -> None:
    """A task that moves for ever hides no deadlock and puts nobody off."""
    for number, program in enumerate(programs(shard, lines=2)):
        full = search_states(program, BreadthFirst, prowler=True)

        reduced = search_states(program, reduced_search(number), prowler=True)

        assert reduced[:3] == full[:3], program


@pytest.mark.parametrize("shard", range(SHARDS))
def test_reduced_search_copes_with_tasks_that_loop(shard: int) -> None:
    """Tasks that try again for ever put nobody off either."""
    for number, program in enumerate(programs(shard, tasks=3, lines=3, kinds=LOOPING)):
        full = search_states(program, BreadthFirst)

        reduced = search_states(program, reduced_search(number))

        assert reduced[:3] == full[:3], program


@pytest.mark.parametrize("shard", range(SHARDS))
def test_source_dpor_makes_each_trace_once(shard: int) -> None:
    """Complete runs of source-DPOR are as many as those of sleep sets, and end where states end."""
    blocked = blocked_by_sleep_sets = 0
    for program in programs(shard):
        states = search_states(program, BreadthFirst)
        reference = search_schedules(program, SleepSets)

        walked = search_schedules(program, SourceDpor)

        assert walked.ends == reference.ends == states.ends, program
        assert walked.traces == reference.traces, program
        blocked += walked.blocked
        blocked_by_sleep_sets += reference.blocked
    assert blocked * 10 < blocked_by_sleep_sets


def loses_traces(kind: type[SourceDpor]) -> bool:
    """Whether some program shows that a search over schedules loses runs."""
    return any(
        search_schedules(program, kind).traces != search_schedules(program, SleepSets).traces
        for program in programs(0, lines=4)
    )


def loses_steps_or_ends(*, prowler: bool = False) -> bool:
    """Whether some program shows that the reduced search, untaught, misses something."""
    return any(
        search_states(program, UNTAUGHT, prowler=prowler)[:3]
        != search_states(program, BreadthFirst, prowler=prowler)[:3]
        for program in programs(0, tasks=4, lines=2 if prowler else 3)
    )


def test_races_of_disabled_steps_are_needed() -> None:
    """Source-DPOR that does not look for races of disabled steps is caught."""

    class Careless(SourceDpor):
        def _races_of_disabled(self, frame: Frame) -> None:
            pass

    assert loses_traces(Careless)


def test_going_on_past_a_disabled_step_is_needed() -> None:
    """Source-DPOR that stops looking where the step is disabled without an event is caught."""

    class Careless(SourceDpor):
        def _without(self, place: int, future: int) -> int:
            self.stopped |= self.events[place].past
            return super()._without(place, future)

        def _have_reversed(self, place: int, future: int, task: int, memo: Memo) -> None:
            if not self.stopped >> place & 1:
                super()._have_reversed(place, future, task, memo)

        def _races(self, frame: Frame, task: int, *, enabled: bool) -> None:
            self.stopped = 0
            super()._races(frame, task, enabled=enabled)

    assert loses_traces(Careless)


def test_footprints_of_nodes_are_needed() -> None:
    """Dependence by what was touched until then, in one search alone, is caught."""

    class Careless(SourceDpor):
        def _arrive(self, state: int, sleep: dict[int, Memo]) -> None:
            super()._arrive(state, sleep)
            self._footprints = self.system.footprints

    assert loses_traces(Careless)


def test_dependent_steps_must_wake(monkeypatch: pytest.MonkeyPatch) -> None:
    """Source-DPOR that lets dependent steps sleep on is caught."""
    program = (("add", 0, 1),), (("add", 0, 2),)
    before = search_schedules(program, SourceDpor)
    monkeypatch.setattr(dpor, "depend", lambda *_: False)

    after = search_schedules(program, SourceDpor)

    assert (before.traces, after.traces) == (2, 1)


def test_doubting_what_was_taken_on_trust_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reduced search that never judges its notes anew is caught."""
    monkeypatch.setattr(ReducedSearch, "_broken", lambda _: [])

    assert loses_steps_or_ends()


def test_voiding_what_was_judged_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reduced search that judges a step and a node only once is caught."""
    learn = System._learn

    def forgetful(system: System, memo: Memo, *, more: bool = True) -> None:
        memo.judges.clear()
        learn(system, memo, more=more)

    monkeypatch.setattr(System, "_learn", forgetful)

    assert loses_steps_or_ends()


def test_being_shut_out_must_be_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reduced search that thinks that nobody can come to touch a cell is caught."""
    monkeypatch.setattr(conflicts, "reaches", lambda *_: False)

    assert loses_steps_or_ends()


def test_blocked_tasks_may_be_let_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reduced search that thinks that who is blocked stays so is caught."""
    monkeypatch.setattr(conflicts, "stay_blocked", lambda *_: True)

    assert loses_steps_or_ends()


def test_a_set_must_be_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reduced search that takes any task for a set of its own is caught."""
    monkeypatch.setattr(Crowd, "closed", lambda _self, tasks, *_: tasks)

    assert loses_steps_or_ends()


def test_tasks_outside_a_set_may_let_each_other_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reduced search that leaves out of a set who is blocked and can be let go on is caught."""
    monkeypatch.setattr(Crowd, "_awake", lambda self, tasks: self.able & ~tasks)

    assert loses_steps_or_ends()


def test_a_prowler_must_not_go_round_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reduced search that makes a server's steps alone to states met before is caught."""
    monkeypatch.setattr(ReducedSearch, "_may_go_on", lambda *_: True)

    assert loses_steps_or_ends(prowler=True)
