"""Random schedules of a whole testbed in one process, repeatable by seed.

Priorities with change points, some of them uniform: a uniform walk alone hardly ever meets a bug
that needs one long preemption.
"""

from __future__ import annotations

from collections import Counter
from itertools import count
from random import Random

from tests.machine.machines import Bench

from shootdown_daemon.machine.kernel import settle
from shootdown_engine.runner import Runner
from shootdown_engine.task import Task
from shootdown_protocol.history import Entry, Stamped

STEPS_MAX = 4000
PREFETCHES_MAX = 12
CHANGE_SHARE = 0.03
"""How often a step changes the priority of the task that made it."""


class Schedule:
    """One schedule of a bench, made step by step; ``records`` are stamped with step numbers."""

    def __init__(self, bench: Bench, seed: int) -> None:
        """Draw priorities and change points."""
        self.bench = bench
        self.records: list[Stamped] = []
        self.random = Random(seed)
        self.uniform = self.random.random() < 0.2
        self.tasks = list(bench.whole.tasks)
        self.priority = {task: self.random.random() for task in self.tasks}
        self.changes = {self.random.randrange(1, 120) for _ in range(self.random.randrange(4))}
        self.prefetches = Counter[Task]()
        clock = count(1)
        self.runner = Runner(
            bench.store,
            now=lambda: next(clock),
            fence=lambda: None,
            log=self._log,
            instance_of=lambda _record: 0,
        )

    def run(self) -> list[Stamped]:
        """Go on until nothing can go; gives every record, those of the final state last."""
        for made in range(1, STEPS_MAX):
            task = self._step(self._in_order())
            if task is None:
                settle(self.bench.store, self.bench.whole.kslot)
                self.runner.report_outside("settle")
                return self.records
            if made in self.changes:
                self.priority[task] = -self.random.random()
            elif self.random.random() < CHANGE_SHARE:
                self.priority[task] = self.random.uniform(-1, 1)
        message = f"no end after {STEPS_MAX} steps"
        raise AssertionError(message)

    def _in_order(self) -> list[Task]:
        tasks = [task for task in self.tasks if not task.ended and not self._is_tired(task)]
        if self.uniform:
            self.random.shuffle(tasks)
            return tasks
        return sorted(tasks, key=lambda task: -self.priority[task])

    def _is_tired(self, task: Task) -> bool:
        """Whether a prefetcher has translated often enough; none rests within a translation."""
        assert task.request is not None
        between = task.name.startswith("speculation") and task.request.name == "atc_lookup"
        return between and self.prefetches[task] > PREFETCHES_MAX

    def _step(self, tasks: list[Task]) -> Task | None:
        """The first task that can go makes its step."""
        for task in tasks:
            name = task.request and task.request.name
            if self.runner.step(task):
                self.runner.woken.clear()
                self.prefetches[task] += name == "atc_lookup"
                return task
        return None

    def _log(self, entry: Entry) -> None:
        begin, end, instance, task, record = entry
        self.records.append(Stamped(begin, end, len(self.records), max(0, instance), task, record))
