"""Names of the steps that tasks make, found by letting scenarios run on the machines themselves.

Nothing lists them: a name is there because a task, under some discipline and in some order, asked
for a step of that name.
"""

from __future__ import annotations

from collections.abc import Iterable
from random import Random
from typing import Final

from shootdown_daemon.machine.disciplines import DISCIPLINES
from shootdown_engine.task import Task
from shootdown_protocol.program import Program
from shootdown_verify.replaying import Follower

_WALKS: Final = 3
"""Runs a scenario and a discipline, each in another order."""
_STEPS_MAX: Final = 1000
_DISCIPLINES: Final = ("clear_flush", "range_end")


def steps_of(programs: Iterable[Program]) -> frozenset[str]:
    """Full names of all steps that were asked for."""
    names: set[str] = set()
    for program in programs:
        for discipline in _DISCIPLINES:
            for seed in range(_WALKS):
                follower = Follower(program, DISCIPLINES[discipline])
                _walk(follower, Random(seed), names)
    return frozenset(names)


def _walk(follower: Follower, random: Random, names: set[str]) -> None:
    tasks = [task for task in follower.whole.tasks if task.name not in follower.whole.prowlers]
    for _ in range(_STEPS_MAX):
        random.shuffle(tasks)
        if not any(_goes(follower, task, names) for task in tasks):
            break


def _goes(follower: Follower, task: Task, names: set[str]) -> bool:
    if task.request is None:
        return False
    if task.request.name:
        names.add(task.request.full_name)
    return follower.runner.step(task)
