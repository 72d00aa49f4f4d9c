"""Running searches on random programs, and what of their outcome does not depend on the search."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial
from typing import Final, NamedTuple

from tests.explore.random_programs import (
    Program,
    describe_automata,
    describe_state,
    make_system,
)

from shootdown_verify.check.finding import Finding
from shootdown_verify.explore.breadth_first import BreadthFirst
from shootdown_verify.explore.dpor import ScheduleSearch
from shootdown_verify.explore.reduction import ReducedSearch

States = frozenset[tuple[Hashable, ...]]
StateSearch = Callable[..., BreadthFirst]
UNBOUNDED = 1 << 40
UNTAUGHT: Final = partial(ReducedSearch, lessons=0)
"""The reduced search without random runs before: it takes much on trust that turns out false."""


class Seen(NamedTuple):
    """Where runs end well, where they are stuck, and all that steps ever did."""

    quiet: States
    stuck: States
    automata: frozenset[Hashable]
    states: int

    @property
    def ends(self) -> States:
        """All ends."""
        return self.quiet | self.stuck


def search_states(program: Program, kind: StateSearch, *, prowler: bool = False) -> Seen:
    """Search to the end."""
    system = make_system(program, prowler=prowler)
    quiet: set[tuple[Hashable, ...]] = set()
    stuck: set[tuple[Hashable, ...]] = set()

    def note(where: set[tuple[Hashable, ...]], state: int) -> tuple[Finding, ...]:
        where.add(describe_state(system, state)[: len(program) if prowler else None])
        return ()

    search = kind(
        system, quiet=lambda state: note(quiet, state), stuck=lambda state: note(stuck, state)
    )
    search.run(states=UNBOUNDED)
    assert search.complete
    return Seen(frozenset(quiet), frozenset(stuck), describe_automata(system), len(search.parent))


class Walked(NamedTuple):
    """Complete runs, blocked ones, and where they ended."""

    traces: int
    blocked: int
    ends: States


def search_schedules(program: Program, kind: type[ScheduleSearch]) -> Walked:
    """Search to the end."""
    system = make_system(program)
    ends: set[tuple[Hashable, ...]] = set()

    def end(state: int) -> tuple[Finding, ...]:
        ends.add(describe_state(system, state))
        return ()

    search = kind(system, end, run_steps=1000)
    tally = search.run(steps=UNBOUNDED)
    assert search.complete
    return Walked(tally.traces, tally.blocked, frozenset(ends))
