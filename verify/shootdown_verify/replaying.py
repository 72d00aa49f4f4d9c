"""Follows a schedule step by step on the machines themselves, in this process.

No search is involved: the kernel's and the devices' tasks run on a plain memory, exactly as they
would live, but in the order that the schedule gives. What is left when it is over runs freely.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from shootdown_daemon.machine.disciplines import Discipline
from shootdown_daemon.machine.kernel import settle
from shootdown_daemon.machine.mutant import RIGHT, Mutant
from shootdown_device_agent.machine.device import Device
from shootdown_engine.live_store import LiveStore
from shootdown_engine.runner import Runner
from shootdown_engine.task import Task
from shootdown_protocol.history import Entry, Stamped
from shootdown_protocol.layout import Layout
from shootdown_protocol.program import Program
from shootdown_verify.fault_tasks import NO_FAULTS, Environment
from shootdown_verify.judge.instance import judge_instance
from shootdown_verify.judge.outcome import Condition
from shootdown_verify.replay_file import ReplayStep
from shootdown_verify.whole import DeviceMaker, Whole

FREE_STEPS_MAX = 10_000
"""Steps that what is left may take once a schedule is over."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a schedule showed: a check and a title or ``""``, the outcome, or where it diverged."""

    verdict: str
    outcome: str
    diverged: str
    records: tuple[Stamped, ...]


def in_known_order(program: Program) -> Program:
    """The program with racy locations judged: where the order is given, it is known."""
    places = tuple(msgspec.structs.replace(place, racy=False) for place in program.locations)
    return msgspec.structs.replace(program, locations=places)


class Follower:
    """The whole testbed on one memory, made to go as somebody says, one step at a time.

    ``records`` are stamped with the number of their step.
    """

    def __init__(
        self,
        program: Program,
        discipline: Discipline,
        make_device: DeviceMaker = Device,
        mutant: Mutant = RIGHT,
        faults: Environment = NO_FAULTS,
    ) -> None:
        """Lay out the instance; nothing has happened yet."""
        self.program = program
        self.records: list[Stamped] = []
        self.seen: Counter[tuple[str, str]] = Counter()
        self._clock = itertools.count()
        stores: list[LiveStore] = []

        def make_store(layout: Layout) -> LiveStore:
            stores.append(LiveStore(memoryview(bytearray(layout.words * 8)).cast("Q")))
            return stores[0]

        self.whole = Whole(program, discipline, make_store, make_device, mutant, faults)
        self.store = stores[0]
        self.store.records.clear()
        self.store.changed.clear()
        self.runner = Runner(
            self.store, self.now, lambda: None, self._log, lambda _record: self.whole.slot.instance
        )
        self.tasks = {task.name: task for task in self.whole.tasks}

    def now(self) -> int:
        """Count: every reading is later than the one before."""
        return next(self._clock)

    def make(self, name: str) -> str:
        """Let a task make its pending step; gives the step's name, or raises `ValueError`."""
        task = self.tasks.get(name)
        if task is None or task.request is None:
            message = f"{name} has ended" if task else f"no task is called {name}"
            raise ValueError(message)
        step = task.request.full_name
        if not self.runner.step(task):
            message = f"{name} cannot go: the guard of {step or 'its step'} is false"
            raise ValueError(message)
        self.seen[name, step] += 1
        return step

    def enabled(self) -> list[tuple[str, str]]:
        """Tasks that can go now, each with its step; finding out changes nothing."""
        return [
            (task.name, task.request.full_name)
            for task in self.whole.tasks
            if task.request is not None and self.runner.can_step(task)
        ]

    def finish(self) -> None:
        """Let what is left run in order until nothing more can go, prefetchers apart."""
        tasks = [task for task in self.whole.tasks if task.name not in self.whole.prowlers]
        for _ in range(FREE_STEPS_MAX):
            if not any(self._goes(task) for task in tasks):
                break
        begin = self.now()
        settle(self.store, self.whole.kslot)
        for record in self.store.records:
            self._log((begin, begin, self.whole.slot.instance, "settle", record))
        self.store.records.clear()

    def _goes(self, task: Task) -> bool:
        return task.request is not None and self.runner.step(task)

    def _log(self, entry: Entry) -> None:
        begin, end, instance, task, record = entry
        number = len(self.records) + 1
        self.records.append(Stamped(begin, end, number, instance, task, record))


def replay_schedule(
    program: Program,
    discipline: Discipline,
    steps: Sequence[ReplayStep],
    *,
    conditions: Sequence[Condition] = (),
    make_device: DeviceMaker = Device,
    mutant: Mutant = RIGHT,
    faults: Environment = NO_FAULTS,
) -> Replayed:
    """Follow a schedule; a step that is not the expected one, or cannot go, is a divergence."""
    follower = Follower(program, discipline, make_device, mutant, faults)
    for number, expected in enumerate(steps, 1):
        task = follower.tasks.get(expected.task)
        pending = task.request.full_name if task is not None and task.request else "its end"
        able = {name for name, _ in follower.enabled()}
        if expected.task not in able or pending != expected.step:
            listed = ", ".join(sorted(f"{name}: {step}" for name, step in follower.enabled()))
            diverged = (
                f"step {number}: expected {expected.task} {expected.step} "
                f"(time {expected.occurrence}), it is at {pending}; enabled {{{listed}}}"
            )
            return Replayed("", "", diverged, tuple(follower.records))
        follower.make(expected.task)
    follower.finish()
    judged = judge_instance(follower.records, program, conditions)
    verdict = ""
    if judged.findings:
        first = judged.findings[0]
        verdict = f"{first.check} {first.title}"
    return Replayed(verdict, judged.outcome, "", tuple(follower.records))
