"""Random runs: uniform, PCT and POS, each from its seed alone.

* Uniform takes any enabled task.
* PCT (Burckhardt and others, 2010) gives tasks random priorities and lowers that of the running
  task at d - 1 random steps; it hits a bug of depth d with a probability that is known.
* POS (Yuan and others, 2018) gives every pending step a random number, takes the highest, and
  draws anew for the pending steps in conflict with it. It has no parameter.

A prowler, which would be favoured for ever once it is, is let finish `PROWLS` rounds a run.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from time import monotonic
from typing import Final, Protocol

from shootdown_verify.check.finding import Finding
from shootdown_verify.explore.automaton import ROOT
from shootdown_verify.explore.breadth_first import only_prowlers_move
from shootdown_verify.explore.system import System
from shootdown_verify.explore.transition import Transition

PROWLS: Final = 2
_STEPS_BETWEEN_CLOCKS: Final = 64


class Chooser(Protocol):
    """Chooses a run's next step; `begin` is called before each run."""

    def begin(self) -> None:
        """Forget the last run."""
        ...

    def choose(self, enabled: list[Transition]) -> Transition:
        """Take one of at least one step."""
        ...


class Uniform:
    """Any enabled task, with equal probability."""

    def __init__(self, rng: random.Random) -> None:
        """Draw from ``rng``."""
        self._rng = rng

    def begin(self) -> None:
        """Forget nothing: there is no memory."""

    def choose(self, enabled: list[Transition]) -> Transition:
        """Take any."""
        return self._rng.choice(enabled)


class Pct:
    """Priorities with ``depth`` - 1 change points among the first ``steps`` steps."""

    def __init__(self, rng: random.Random, tasks: int, depth: int, steps: int) -> None:
        """Draw from ``rng``; ``steps`` is the length of runs, and may be raised between them."""
        self._rng = rng
        self._tasks = tasks
        self.depth = depth
        self.steps = steps
        self._priority: list[int] = []
        self._lowered: dict[int, int] = {}
        self._made = 0

    def begin(self) -> None:
        """Draw priorities and change points."""
        depth = self.depth
        self._priority = list(range(depth, depth + self._tasks))
        self._rng.shuffle(self._priority)
        places = self._rng.choices(range(1, max(2, self.steps)), k=depth - 1)
        self._lowered = {place: depth - 1 - i for i, place in enumerate(places)}
        self._made = 0

    def choose(self, enabled: list[Transition]) -> Transition:
        """Take the task of highest priority, and lower it at a change point."""
        step = max(enabled, key=lambda step: self._priority[step.task])
        self._made += 1
        if self._made in self._lowered:
            self._priority[step.task] = self._lowered[self._made]
        return step


class Pos:
    """A random number for every pending step."""

    def __init__(self, rng: random.Random) -> None:
        """Draw from ``rng``."""
        self._rng = rng
        self._numbers: dict[int, float] = {}

    def begin(self) -> None:
        """Forget all numbers."""
        self._numbers.clear()

    def choose(self, enabled: list[Transition]) -> Transition:
        """Take the highest, and forget those in conflict with it."""
        numbers = self._numbers
        for step in enabled:
            if step.task not in numbers:
                numbers[step.task] = self._rng.random()
        taken = max(enabled, key=lambda step: numbers[step.task])
        for step in enabled:
            if step is taken or step.conflicts(taken):
                del numbers[step.task]
        return taken


class Walk:
    """One run: its ``schedule``, whether it came to its end, and what was found."""

    __slots__ = ("ended", "findings", "schedule", "state")

    def __init__(self, state: int) -> None:
        """Stand at the start."""
        self.state = state
        self.schedule: list[int] = []
        self.findings: tuple[Finding, ...] = ()
        self.ended = False


def walk(
    system: System,
    chooser: Chooser,
    stuck: Callable[[int], tuple[Finding, ...]],
    run_steps: int,
    deadline: float = float("inf"),
) -> Walk:
    """Make one run, to its end, its first finding, ``run_steps`` steps, or a deadline.

    ``deadline`` is a reading of `time.monotonic`.
    """
    chooser.begin()
    run = Walk(system.start)
    rounds = dict.fromkeys(range(system.prowlers_from, len(system.specs)), 0)
    while len(run.schedule) < run_steps:
        if len(run.schedule) % _STEPS_BETWEEN_CLOCKS == 0 and monotonic() >= deadline:
            break
        enabled = [step for step in system.enabled(run.state) if rounds.get(step.task, 0) < PROWLS]
        if not enabled or system.is_quiet(run.state):
            run.ended = True
            if system.is_quiet(run.state) or only_prowlers_move(system, run.state):
                run.findings = stuck(run.state)
            return run
        step = chooser.choose(enabled)
        if step.task in rounds and step.after.number == ROOT:
            rounds[step.task] += 1
        run.schedule.append(step.task)
        run.state = step.apply(run.state)
        if step.findings:
            run.findings = step.findings
            return run
    return run
