"""The nearest run that passes, and the one race between it and a run that fails.

The failing run is let come to its end. Two of its steps are a race when the order of the two
matters and no third task forces it. Each race is reversed, the latest first: the earlier step's
task is held there until the later step has been made, with all that it needs, and then the rest
goes on in its old order as far as it can. The first run that passes shares the most with the
failing one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from shootdown_daemon.machine.disciplines import Discipline
from shootdown_daemon.machine.mutant import RIGHT, Mutant
from shootdown_device_agent.machine.device import Device
from shootdown_protocol.program import Program
from shootdown_verify.explore.explorer import Exploration
from shootdown_verify.explore.result import Budget, Counterexample, TracedStep
from shootdown_verify.explore.trace import Run, causes, follow
from shootdown_verify.explore.transition import Transition
from shootdown_verify.fault_tasks import NO_FAULTS, Environment
from shootdown_verify.judge.outcome import Condition
from shootdown_verify.replay_file import ReplayStep
from shootdown_verify.whole import DeviceMaker

RUN_STEPS_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Race:
    """Two steps in the order in which the failing run makes them; ``over`` names what both touch.

    ``number`` and ``later_number`` are their places in the failing run let come to its end, from 1.
    """

    number: int
    earlier: TracedStep
    later_number: int
    later: TracedStep
    over: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """A failing run, and unless there was none the nearest passing one and the race between them.

    ``failing`` has no findings if the schedule shows nothing wrong. ``tried`` counts races that
    were reversed.
    """

    failing: Counterexample
    passing: Counterexample | None
    race: Race | None
    tried: int


def explain_schedule(
    program: Program,
    discipline: Discipline,
    steps: Sequence[ReplayStep],
    *,
    conditions: Sequence[Condition] = (),
    make_device: DeviceMaker = Device,
    mutant: Mutant = RIGHT,
    faults: Environment = NO_FAULTS,
) -> Explanation:
    """Look for the nearest passing run; raises `Divergence` if the schedule cannot be followed."""
    exploration = Exploration(
        program,
        discipline,
        conditions,
        make_device,
        Budget(),
        mutant=mutant,
        faults=faults,
        registers=bool(conditions),
    )
    try:
        return _Explainer(exploration).explain(steps)
    finally:
        exploration.system.close()


class _Explainer:
    def __init__(self, exploration: Exploration) -> None:
        self.system = exploration.system
        self.ending = exploration.ending
        self.teller = exploration.teller
        self.tried = 0

    def explain(self, steps: Sequence[ReplayStep]) -> Explanation:
        numbers = {spec.name: number for number, spec in enumerate(self.system.specs)}
        schedule = [numbers[step.task] for step in steps if step.task in numbers]
        given = follow(self.system, schedule)
        whole = self._complete(given)
        findings = next((step.findings for step in given.steps if step.findings), ())
        findings = findings or self.ending.stuck(whole.states[-1])
        failing = self.teller.tell(schedule, findings, as_it_is=True)
        if not findings:
            return Explanation(failing, None, None, 0)
        for earlier, later, run in self._reversals(whole, len(schedule)):
            if self._passes(run):
                told = self.teller.tell(_schedule(run.steps), ())
                return Explanation(failing, told, self._race(whole, earlier, later), self.tried)
        return Explanation(failing, None, None, self.tried)

    def _complete(self, run: Run) -> Run:
        """Let a run come to its end: each time the first task that can move moves."""
        steps, states = list(run.steps), list(run.states)
        while len(steps) < RUN_STEPS_MAX and not self.system.is_quiet(states[-1]):
            able = [
                step
                for step in self.system.enabled(states[-1])
                if not self.system.specs[step.task].prowler
            ]
            if not able:
                break
            steps.append(able[0])
            states.append(able[0].apply(states[-1]))
        return Run(tuple(steps), tuple(states))

    def _reversals(self, run: Run, length: int) -> Iterator[tuple[int, int, Run]]:
        """Races whose earlier step is among the first, each with the run that reverses it."""
        steps = run.steps
        before = causes(steps)
        for earlier in range(length - 1, -1, -1):
            follows = {earlier}
            for later in range(earlier + 1, len(steps)):
                reasons = follows.intersection(before[later])
                if not reasons:
                    continue
                follows.add(later)
                tasks = {steps[number].task for number in reasons}
                if tasks != {steps[earlier].task} or steps[later].task in tasks:
                    continue
                free = [n for n in range(earlier + 1, later) if n not in follows]
                self.tried += 1
                other = self._reverse(run, earlier, [*free, later])
                if other is not None:
                    yield earlier, later, other

    def _reverse(self, run: Run, earlier: int, first: Sequence[int]) -> Run | None:
        """Make some steps before the earlier one of a race; None if they cannot be."""
        system = self.system
        steps, states = list(run.steps[:earlier]), list(run.states[: earlier + 1])
        rest = [number for number in range(earlier, len(run.steps)) if number not in first]
        for place, number in enumerate((*first, *rest)):
            step = system.pending(states[-1], run.steps[number].task)
            if step is not None:
                steps.append(step)
                states.append(step.apply(states[-1]))
            elif place < len(first):
                return None
        return self._complete(Run(tuple(steps), tuple(states)))

    def _passes(self, run: Run) -> bool:
        wrong = any(step.findings for step in run.steps)
        return not wrong and not self.ending.stuck(run.states[-1])

    def _race(self, run: Run, earlier: int, later: int) -> Race:
        told = self.teller.tell(_schedule(run.steps), (), as_it_is=True).steps
        one, other = run.steps[earlier], run.steps[later]
        shared = one.writes & (other.reads | other.writes) | one.reads & other.writes
        cells = self.system.cells.names
        names = (self.teller.effects.name(cell) for n, cell in enumerate(cells) if shared >> n & 1)
        over = tuple(dict.fromkeys(name for name in names if name))
        return Race(earlier + 1, told[earlier], later + 1, told[later], over)


def _schedule(steps: Sequence[Transition]) -> list[int]:
    return [step.task for step in steps]
