"""Random runs and preemption bounds: what they find, and what they honestly say."""

from __future__ import annotations

import random
from functools import partial

import pytest
from tests.explore.random_programs import add, put, random_program, task_specs, wait, wait_not
from tests.explore.shipped import ALL

from shootdown_daemon.machine.disciplines import DISCIPLINES
from shootdown_engine.trap import trap
from shootdown_verify.check.finding import Finding
from shootdown_verify.explore import Budget, Result, Strategy, Verdict, explore
from shootdown_verify.explore.automaton import TaskSpec
from shootdown_verify.explore.breadth_first import BreadthFirst
from shootdown_verify.explore.preemption import PreemptionSearch
from shootdown_verify.explore.store import ExploringStore
from shootdown_verify.explore.system import System
from shootdown_verify.explore.trace import Divergence, follow, preemptions
from shootdown_verify.explore.walks import Pct, walk

RANDOM = (Strategy.PCT, Strategy.POS, Strategy.RANDOM)
STUCK = (Finding("stuck", "", ""),)


def result_of(strategy: Strategy, discipline: str, *, runs: int, seed: int = 0) -> Result:
    """Explore the two-page COW scenario at random."""
    return explore(
        ALL["cow-two-pages"].program,
        DISCIPLINES[discipline],
        strategy=strategy,
        seed=seed,
        budget=Budget(runs=runs),
    )


@pytest.mark.parametrize("strategy", RANDOM)
def test_the_founding_bug_is_found(strategy: Strategy) -> None:
    """Each strategy meets it in far fewer runs than a live race does."""
    result = result_of(strategy, "range_end", runs=3000)

    assert result.verdict is Verdict.VIOLATION
    assert result.findings[0].check == "S2"


@pytest.mark.parametrize("strategy", RANDOM)
def test_runs_without_a_finding_prove_nothing(strategy: Strategy) -> None:
    """A right discipline is inconclusive at random, however many the runs."""
    result = result_of(strategy, "clear_flush", runs=60)

    assert (result.verdict, result.complete, result.traces) == (Verdict.INCONCLUSIVE, False, 60)
    assert result.stopped_by == "runs"


@pytest.mark.parametrize("strategy", RANDOM)
def test_a_seed_repeats_a_search(strategy: Strategy) -> None:
    """Equal seeds make equal searches."""
    one = result_of(strategy, "range_end", runs=3000, seed=7)

    other = result_of(strategy, "range_end", runs=3000, seed=7)

    assert one.counterexamples == other.counterexamples
    assert one.traces == other.traces


def test_pct_states_its_bound() -> None:
    """Each depth's runs of the expected length are counted, and the bound is their product."""
    result = result_of(Strategy.PCT, "clear_flush", runs=60)

    assert [bound.depth for bound in result.bounds] == [2, 3, 4]
    for bound in result.bounds:
        assert 15 <= bound.runs <= 20
        assert bound.hit == pytest.approx(1 / (bound.tasks * bound.steps ** (bound.depth - 1)))
        assert bound.miss <= (1 - bound.hit) ** bound.runs


def test_pct_keeps_its_promise() -> None:
    """A bug of depth 2 in 12 steps of 2 tasks is hit by at least one run in 24."""

    async def counting() -> None:
        for _ in range(10):
            await trap("count", add, 1, 1)
        await trap("last", add, 0, 1)

    async def early() -> None:
        await trap("only before", wait_not, 0, 1)

    specs = [TaskSpec("counting", (counting,)), TaskSpec("early", (early,))]
    system = System(specs, ExploringStore())
    chooser = Pct(random.Random(0), tasks=2, depth=2, steps=12)

    hits = sum(bool(walk(system, chooser, lambda _: STUCK, 100).findings) for _ in range(2000))

    assert hits >= 2000 / 24


def test_a_bound_that_was_completed_is_named() -> None:
    """With a right discipline, what was looked at is all runs of so many preemptions."""
    scenario = ALL["zap-use-after-free"]

    result = explore(
        scenario.program,
        DISCIPLINES["clear_flush"],
        strategy=Strategy.PREEMPTIONS,
        preemptions=1,
    )

    assert (result.verdict, result.preemptions) == (Verdict.INCONCLUSIVE, 1)
    assert result.stopped_by == "preemptions"


@pytest.mark.parametrize("needed", [0, 1, 2])
def test_a_violation_is_found_with_as_few_preemptions_as_it_needs(needed: int) -> None:
    """A task that has to be left so often is found out with so many preemptions, no fewer."""

    async def left() -> None:
        for value in range(1, needed + 1):
            await trap("raise", put, 0, value)
            await trap("lower", put, 0, 0)

    async def watching() -> None:
        for value in range(1, needed + 1):
            await trap("watch", wait, 0, value)
        await trap("seen all", wait, 0, -1)

    specs = [TaskSpec("left", (left,)), TaskSpec("watching", (watching,))]
    system = System(specs, ExploringStore())

    def stuck(state: int) -> tuple[Finding, ...]:
        return STUCK if system.node(state, 1).depth == needed else ()

    search = PreemptionSearch(system, stuck=stuck)
    search.run(preemptions=5, states=1000, deadline=float("inf"))

    assert search.violation is not None
    assert search.bound == needed - 1
    assert preemptions(system, follow(system, search.schedule())) == needed


def test_enough_preemptions_are_everything() -> None:
    """With as many as there are steps, the bounded search sees what all states show."""
    for seed in range(150):
        program = random_program(random.Random(seed))
        ends: list[set[int]] = [set(), set()]
        system = System(task_specs(program), ExploringStore())

        def note(where: set[int], state: int) -> tuple[Finding, ...]:
            where.add(state)
            return ()

        whole = partial(note, ends[0])
        BreadthFirst(system, quiet=whole, stuck=whole).run(states=1 << 30)
        search = PreemptionSearch(system, stuck=partial(note, ends[1]))
        search.run(preemptions=30, states=1 << 30, deadline=float("inf"))

        assert search.complete
        assert ends[0] == ends[1]


def test_a_schedule_that_cannot_go_on_says_where() -> None:
    """A divergence names the step, the task expected and those that can move."""
    system = System(task_specs(((("wait", 0, 1),), (("add", 0, 1),))), ExploringStore())

    with pytest.raises(Divergence, match=r"step 1: expected T0, enabled \{T1\}"):
        follow(system, [0, 1])

    assert preemptions(system, follow(system, [1, 0])) == 0
