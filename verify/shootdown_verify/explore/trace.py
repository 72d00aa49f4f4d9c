"""One run of a system: how it goes, what of it is needed, and how few switches it can do with.

A run is given by its schedule: the task that moves, step by step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from shootdown_verify.explore.system import System
from shootdown_verify.explore.transition import Transition


class Divergence(Exception):  # noqa: N818 - says what a schedule met
    """A schedule asks for a step that cannot happen there."""


class Run(NamedTuple):
    """Steps made, and the states between them: one more than steps."""

    steps: tuple[Transition, ...]
    states: tuple[int, ...]


def follow(system: System, schedule: Sequence[int]) -> Run:
    """Make the steps of a schedule from the start; `Divergence` where a task cannot move."""
    states = [system.start]
    steps = []
    for number, task in enumerate(schedule, 1):
        step = system.pending(states[-1], task)
        if step is None:
            able = ", ".join(system.specs[other.task].name for other in system.enabled(states[-1]))
            wanted = system.specs[task].name
            raise Divergence(f"step {number}: expected {wanted}, enabled {{{able}}}")
        steps.append(step)
        states.append(step.apply(states[-1]))
    return Run(tuple(steps), tuple(states))


def causes(steps: Sequence[Transition]) -> list[list[int]]:
    """For each step, the places of earlier ones that it may not be swapped with."""
    return [
        [
            place
            for place in range(number)
            if steps[place].task == step.task or steps[place].conflicts(step)
        ]
        for number, step in enumerate(steps)
    ]


def causal_past(steps: Sequence[Transition]) -> list[int]:
    """The schedule without the steps that the last one does not depend on."""
    needed = {len(steps) - 1}
    before = causes(steps)
    for number in range(len(steps) - 1, -1, -1):
        if number in needed:
            needed.update(before[number])
    return [steps[number].task for number in sorted(needed)]


def gathered(steps: Sequence[Transition]) -> list[int]:
    """The same trace with few switches: each task goes on as long as no other must come first."""
    before = [set(places) for places in causes(steps)]
    waiting = list(range(len(steps)))
    schedule: list[int] = []
    done: set[int] = set()
    while waiting:
        ready = [number for number in waiting if before[number] <= done]
        same = [number for number in ready if schedule and steps[number].task == schedule[-1]]
        number = (same or ready)[0]
        waiting.remove(number)
        done.add(number)
        schedule.append(steps[number].task)
    return schedule


def preemptions(system: System, run: Run) -> int:
    """How often a task was left for another although it could have gone on."""
    return sum(
        one.task != other.task and system.pending(state, one.task) is not None
        for one, other, state in zip(run.steps, run.steps[1:], run.states[1:], strict=False)
    )
