"""Exploring a program: the entry that commands and the matrix call.

It puts the kernel and the devices of one instance on an exploring store, lets a strategy loose on
them, and makes of what it finds a `Result`.
"""

from __future__ import annotations

import gc
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from time import monotonic
from typing import Final

import msgspec

from shootdown_daemon.machine.disciplines import Discipline
from shootdown_daemon.machine.kernel import settle
from shootdown_daemon.machine.mutant import RIGHT, Mutant
from shootdown_device_agent.machine.device import Device
from shootdown_engine.fault_step import BUDGET
from shootdown_engine.store import Store
from shootdown_engine.task import Task
from shootdown_protocol.history import AnyRecord
from shootdown_protocol.layout import Layout
from shootdown_protocol.program import Program
from shootdown_verify.check.finding import Finding
from shootdown_verify.check.local import check_record
from shootdown_verify.explore.automaton import TaskSpec, TooManyNodes
from shootdown_verify.explore.breadth_first import BreadthFirst
from shootdown_verify.explore.counterexample import Teller
from shootdown_verify.explore.dpor import ScheduleSearch, SleepSets, SourceDpor, Tally
from shootdown_verify.explore.ending import Ending
from shootdown_verify.explore.preemption import PreemptionSearch
from shootdown_verify.explore.reduction import LONG, ReducedSearch
from shootdown_verify.explore.result import (
    Budget,
    Counterexample,
    RandomBound,
    Result,
    Strategy,
    Verdict,
)
from shootdown_verify.explore.soundness import check_samples
from shootdown_verify.explore.store import ExploringStore
from shootdown_verify.explore.system import System
from shootdown_verify.explore.walks import PROWLS, Chooser, Pct, Pos, Uniform, Walk, walk
from shootdown_verify.fault_tasks import NO_FAULTS, Environment
from shootdown_verify.judge.outcome import Condition
from shootdown_verify.whole import DeviceMaker, Whole

PREEMPTIONS: Final = 3
PCT_DEPTHS: Final = (2, 3, 4)
SAMPLES: Final = 64
"""Steps and lists of results that are made again after each search (see `soundness`)."""
INTERRUPTED: Final = "Ctrl-C"
"""What has stopped a search that a person has ended."""
_ALONE_S: Final = 1.0
"""Seconds that the reduced search has for itself before source-DPOR races it."""
_TURN_S: Final = 0.5
_DPOR_TURN_S: Final = 0.1
"""Seconds of each turn of the race; states have most often been the quicker way."""
_WARM_UP_RUNS: Final = 8
"""Runs from which PCT learns how long runs are; a quarter is added."""


def explore(
    program: Program,
    discipline: Discipline,
    *,
    conditions: Sequence[Condition] = (),
    make_device: DeviceMaker = Device,
    mutant: Mutant = RIGHT,
    strategy: Strategy = Strategy.EXHAUSTIVE,
    preemptions: int = PREEMPTIONS,
    budget: Budget | None = None,
    seed: int = 0,
    outcomes: bool = False,
    every: bool = False,
    samples: int = SAMPLES,
    faults: Environment = NO_FAULTS,
    interruptible: bool = False,
    watch: Callable[[Exploration], object] | None = None,
) -> Result:
    """Look for orders in which a program goes wrong under a discipline.

    Registers are followed if there are ``conditions`` or all ``outcomes`` are asked for, which
    makes more states. With ``every``, an exhaustive search goes on after its first finding and
    brings a counterexample for each check that fails. ``seed`` decides what random strategies
    choose and what is sampled. ``faults`` is what may go wrong besides. An ``interruptible``
    search that Ctrl-C ends is inconclusive and says how far it came. ``watch`` is given the
    exploration before it begins, to ask it `Exploration.so_far` meanwhile.

    Raises `UnsoundStep` if a device, operation or discipline breaks the rule of `soundness`.
    """
    exploration = Exploration(
        program,
        discipline,
        conditions,
        make_device,
        budget if budget is not None else Budget(),
        mutant=mutant,
        faults=faults,
        registers=bool(conditions) or outcomes,
        endless=strategy not in {Strategy.SOURCE_DPOR, Strategy.SLEEP_SETS},
    )
    if watch is not None:
        watch(exploration)
    try:
        with _uncollected():
            result = exploration.search(strategy, preemptions=preemptions, seed=seed, every=every)
        check_samples(exploration.system, samples=samples, seed=seed)
    except TooManyNodes as error:
        result = exploration.cut_off(strategy, str(error))
    except KeyboardInterrupt:
        if not interruptible:
            raise
        result = exploration.cut_off(strategy, INTERRUPTED)
    finally:
        exploration.system.close()
    return exploration.closed(result)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Keep the collector of cycles off: a search keeps nearly all it makes and makes no cycles.

    It would look at millions of them again and again, for a tenth of the time.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


class Exploration:
    """One program under one discipline, ready to be searched.

    Searches over schedules come to no end with an ``endless`` prefetcher; for them, each makes
    `PROWLS` rounds, and nothing is proved that way.
    """

    def __init__(
        self,
        program: Program,
        discipline: Discipline,
        conditions: Sequence[Condition],
        make_device: DeviceMaker,
        budget: Budget,
        *,
        mutant: Mutant = RIGHT,
        faults: Environment = NO_FAULTS,
        registers: bool,
        endless: bool = True,
    ) -> None:
        """Build the instance and start the clock."""
        self.began = monotonic()
        self.budget = budget
        self.deadline = self.began + budget.seconds
        self.program = program
        self.faults = faults.budget
        stores: list[ExploringStore] = []

        def make_store(layout: Layout) -> ExploringStore:
            stores.append(ExploringStore(layout.memory))
            return stores[0]

        self.whole = Whole(program, discipline, make_store, make_device, mutant, faults)
        self.system = System(
            [self._spec(task, endless=endless) for task in self.whole.tasks],
            stores[0],
            judge=self._judge,
            registers=registers,
        )
        for task in self.whole.tasks:
            task.close()
        self.ending = Ending(self.system, program, conditions, self._settle)
        self.teller = Teller(self.whole, self.system)
        self._running: BreadthFirst | PreemptionSearch | ScheduleSearch | None = None

    def search(self, strategy: Strategy, *, preemptions: int, seed: int, every: bool) -> Result:
        """Search by one strategy."""
        match strategy:
            case Strategy.EXHAUSTIVE:
                return self._exhaustive(every=every)
            case Strategy.BREADTH_FIRST:
                return self._breadth_first(every=every)
            case Strategy.SOURCE_DPOR:
                return self._by_schedules(strategy, SourceDpor)
            case Strategy.SLEEP_SETS:
                return self._by_schedules(strategy, SleepSets)
            case Strategy.PREEMPTIONS:
                return self._by_preemptions(preemptions)
            case Strategy.PCT | Strategy.POS | Strategy.RANDOM:
                return self._at_random(strategy, random.Random(seed))

    def so_far(self) -> str:
        """How far the search has come, in words; any thread may ask."""
        search = self._running
        if isinstance(search, ScheduleSearch):
            return f"{search.tally.steps:,} steps"
        return f"{len(search.parent):,} states" if search is not None else ""

    def cut_off(self, strategy: Strategy, why: str) -> Result:
        """The result of a search that something has ended in its midst."""
        search = self._running
        tally = search.tally if isinstance(search, ScheduleSearch) else Tally()
        seen = search.parent if isinstance(search, BreadthFirst | PreemptionSearch) else ()
        return Result(
            verdict=Verdict.INCONCLUSIVE,
            strategy=strategy,
            complete=False,
            states=len(seen),
            traces=tally.traces,
            blocked=tally.blocked,
            steps=tally.steps,
            stopped_by=why,
        )

    def closed(self, result: Result) -> Result:
        """The result with what is known only when all is over."""
        first = result.counterexamples[0] if result.counterexamples else None
        return replace(
            result,
            outcomes=frozenset(self.ending.outcomes) if self.system.registers else frozenset(),
            hazards=self.system.hazards,
            most_faults=self._most_faults(),
            elapsed_s=monotonic() - self.began,
            shortest_steps=len(first.steps) if first is not None else -1,
            preemptions=first.preemptions if first is not None else result.preemptions,
        )

    def _most_faults(self) -> int:
        """The largest number of faults in any order met: the budget, less what was always left."""
        met = self.system.cells.values_met(BUDGET)
        left = [each if isinstance(each, int) else 0 for each in met]
        return self.faults - min(left, default=self.faults)

    def _spec(self, task: Task, *, endless: bool) -> TaskSpec:
        prowls = task.name in self.whole.prowlers
        if prowls and not endless:
            return TaskSpec(task.name, task.stages * PROWLS, prowler=True)
        return TaskSpec(task.name, task.stages, task.server, prowls)

    def _judge(self, record: AnyRecord, task: str) -> Finding | None:
        finding = check_record(record, self.program)
        return finding and msgspec.structs.replace(finding, task=task)

    def _settle(self, store: Store) -> None:
        settle(store, self.whole.kslot)

    # Breadth-first

    def _exhaustive(self, *, every: bool) -> Result:
        """Reduced breadth-first search, raced by source-DPOR once it has taken long."""
        search = self._running = ReducedSearch(
            self.system, quiet=self.ending.quiet, stuck=self.ending.stuck, every=every
        )
        alone = monotonic() + _ALONE_S
        search.run(states=self.budget.states, deadline=min(alone, self.deadline))
        if search.stopped_by == "seconds" and alone < self.deadline:
            other = self._race(search)
            if other is not None:
                return other
        result = self._of_states(Strategy.EXHAUSTIVE, search)
        if search.stopped_by and search.tireless:
            result = replace(result, stopped_by=f"{search.stopped_by}, as {self._tireless(search)}")
        return self._shortened(result) if result.counterexamples and not every else result

    def _tireless(self, search: ReducedSearch) -> str:
        specs = enumerate(self.system.specs)
        names = ", ".join(spec.name for task, spec in specs if search.tireless >> task & 1)
        return f"{names} made {LONG} steps in a row that concern nobody else and may never end"

    def _race(self, search: ReducedSearch) -> Result | None:
        """Let both searches go on by turns; gives the result if source-DPOR wins."""
        prowlers = len(self.system.specs) > self.system.prowlers_from
        other = SourceDpor(self.system, self.ending.stuck, run_steps=self.budget.run_steps)
        while search.stopped_by == "seconds" and monotonic() < self.deadline:
            if not prowlers and not search.every:
                turn = min(monotonic() + _DPOR_TURN_S, self.deadline)
                other.run(steps=self.budget.steps, deadline=turn)
                if other.complete or other.tally.findings:
                    result = self._of_schedules(Strategy.EXHAUSTIVE, other)
                    return self._shortened(result) if result.counterexamples else result
            turn = min(monotonic() + _TURN_S, self.deadline)
            search.run(states=self.budget.states, deadline=turn)
        return None

    def _breadth_first(self, *, every: bool) -> Result:
        search = self._running = BreadthFirst(
            self.system, quiet=self.ending.quiet, stuck=self.ending.stuck, every=every
        )
        search.run(states=self.budget.states, deadline=self.deadline)
        return replace(self._of_states(Strategy.BREADTH_FIRST, search), shortest=search.over)

    def _shortened(self, result: Result) -> Result:
        """Look for a shortest counterexample, now that the length of one is known."""
        search = BreadthFirst(self.system, quiet=self.ending.quiet, stuck=self.ending.stuck)
        length = len(result.counterexamples[0].steps)
        search.run(states=self.budget.shortest_states, deadline=self.deadline, depth=length + 1)
        if not search.over:
            return result
        found = self._of_states(result.strategy, search)
        return replace(
            found,
            states=result.states + found.states,
            transitions=result.transitions + found.transitions,
            traces=result.traces,
            blocked=result.blocked,
            steps=result.steps,
            shortest=True,
        )

    def _of_states(self, strategy: Strategy, search: BreadthFirst) -> Result:
        told = []
        for violation in dict.fromkeys(search.violations.values()):
            schedule = [step.task for step in search.path(violation.state)]
            if violation.transition is not None:
                schedule.append(violation.transition.task)
            told.append(self.teller.tell(schedule, violation.findings))
        return Result(
            verdict=_verdict(bool(told), search.complete),
            strategy=strategy,
            complete=search.complete,
            states=len(search.parent),
            transitions=search.transitions,
            counterexamples=tuple(told),
            stopped_by=search.stopped_by,
        )

    # By schedules

    def _by_schedules(self, strategy: Strategy, kind: type[ScheduleSearch]) -> Result:
        search = kind(self.system, self.ending.stuck, run_steps=self.budget.run_steps)
        self._running = search
        search.run(steps=self.budget.steps, deadline=self.deadline)
        return self._of_schedules(strategy, search)

    def _of_schedules(self, strategy: Strategy, search: ScheduleSearch) -> Result:
        tally = search.tally
        complete = search.complete and not self.whole.prowlers
        stopped = "run_steps" if tally.cut else "speculation" if self.whole.prowlers else ""
        told = (self.teller.tell(tally.tasks, tally.findings),) if tally.findings else ()
        return Result(
            verdict=_verdict(bool(told), complete),
            strategy=strategy,
            complete=complete,
            traces=tally.traces,
            blocked=tally.blocked,
            steps=tally.steps,
            counterexamples=told,
            stopped_by=tally.stopped_by or ("" if told else stopped),
        )

    def _by_preemptions(self, most: int) -> Result:
        search = self._running = PreemptionSearch(self.system, stuck=self.ending.stuck)
        search.run(preemptions=most, states=self.budget.states, deadline=self.deadline)
        told: tuple[Counterexample, ...] = ()
        if (violation := search.violation) is not None:
            schedule = search.schedule()
            if violation.transition is not None:
                schedule.append(violation.transition.task)
            told = (self.teller.tell(schedule, violation.findings, as_it_is=True),)
        return Result(
            verdict=_verdict(bool(told), search.complete),
            strategy=Strategy.PREEMPTIONS,
            complete=search.complete,
            states=len(search.parent),
            steps=search.steps,
            preemptions=search.bound,
            counterexamples=told,
            stopped_by=search.stopped_by or ("" if search.complete or told else "preemptions"),
        )

    # At random

    def _at_random(self, strategy: Strategy, rng: random.Random) -> Result:
        """Make runs until one has a finding; each of PCT's depths has its turn."""
        choosers = self._choosers(strategy, rng)
        campaign = Campaign(len(self.system.specs))
        found: Walk | None = None
        while found is None and campaign.runs < self.budget.runs:
            if monotonic() >= self.deadline:
                break
            chooser = choosers[campaign.runs % len(choosers)]
            run = self._walk(chooser)
            campaign.count(chooser, run)
            found = run if run.findings else None
        told = () if found is None else (self.teller.tell(found.schedule, found.findings),)
        stopped = "runs" if campaign.runs >= self.budget.runs else "seconds"
        if not campaign.ended:
            stopped += ", and no run came to its end"
        return Result(
            verdict=Verdict.VIOLATION if told else Verdict.INCONCLUSIVE,
            strategy=strategy,
            complete=False,
            traces=campaign.runs,
            steps=campaign.steps,
            counterexamples=told,
            bounds=campaign.bounds(),
            stopped_by="" if told else stopped,
        )

    def _walk(self, chooser: Chooser) -> Walk:
        return walk(self.system, chooser, self.ending.stuck, self.budget.run_steps, self.deadline)

    def _choosers(self, strategy: Strategy, rng: random.Random) -> list[Chooser]:
        if strategy is Strategy.RANDOM:
            return [Uniform(rng)]
        if strategy is Strategy.POS:
            return [Pos(rng)]
        warm = (
            self._walk(Uniform(rng)) for _ in range(_WARM_UP_RUNS) if monotonic() < self.deadline
        )
        steps = max((len(run.schedule) for run in warm), default=0) * 5 // 4
        return [Pct(rng, len(self.system.specs), depth, steps) for depth in PCT_DEPTHS]


class Campaign:
    """Runs made, and what those of PCT that found nothing are worth."""

    def __init__(self, tasks: int) -> None:
        """Begin with no run."""
        self.tasks = tasks
        self.runs = 0
        self.steps = 0
        self.ended = 0
        self._hit: dict[int, float] = {}
        self._miss: dict[int, float] = {}
        self._counted: dict[int, int] = {}
        self._longest = 1

    def count(self, chooser: Chooser, run: Walk) -> None:
        """Count a run; one of PCT longer than it was drawn for counts for no bound."""
        length = len(run.schedule)
        self.runs += 1
        self.steps += length
        self.ended += run.ended
        if not isinstance(chooser, Pct):
            return
        depth = chooser.depth
        if length <= chooser.steps and run.ended:
            hit = 1 / (self.tasks * chooser.steps ** (depth - 1))
            self._hit[depth] = min(hit, self._hit.get(depth, 1.0))
            self._miss[depth] = self._miss.get(depth, 1.0) * (1 - hit)
            self._counted[depth] = self._counted.get(depth, 0) + 1
        chooser.steps = max(chooser.steps, length)
        self._longest = max(self._longest, chooser.steps)

    def bounds(self) -> tuple[RandomBound, ...]:
        """One bound for each depth."""
        return tuple(
            RandomBound(
                runs=self._counted[depth],
                tasks=self.tasks,
                steps=self._longest,
                depth=depth,
                hit=self._hit[depth],
                miss=self._miss[depth],
            )
            for depth in sorted(self._counted)
        )


def _verdict(found: bool, complete: bool) -> Verdict:
    if found:
        return Verdict.VIOLATION
    return Verdict.OK if complete else Verdict.INCONCLUSIVE
