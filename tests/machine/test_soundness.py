"""A task learns about shared state only through what its traps return.

On that rests every "proved": a task's state is the list of results it has received. Held by making
each stage of each task again, with the results it had, and comparing what it asks for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.machine.machines import Bench, scene
from tests.machine.schedules import Schedule
from tests.machine.test_random_schedules import SCENARIOS, read
from tests.verify.record_builders import column, location, run

from shootdown_daemon.machine.disciplines import Discipline, Notifier
from shootdown_daemon.machine.phases import InvalidateRange
from shootdown_engine.task import Stage, Task
from shootdown_engine.trap import Request
from shootdown_protocol.program import State

SCHEDULES = 12


class Asked(NamedTuple):
    """What of a request does not depend on which objects carry it."""

    name: str
    location: int
    detail: str
    step: object
    numbers: tuple[object, ...]


def asked(request: Request) -> Asked:
    """Take a request apart."""
    numbers = tuple(a for a in request.arguments if isinstance(a, int | str | tuple))
    return Asked(request.full_name, request.location, request.detail, request.apply, numbers)


class Run:
    """One making of one stage: what it was given, what it asked for, what it was answered."""

    def __init__(self, stage: Stage, arguments: tuple[object, ...]) -> None:
        """Begin with nothing asked."""
        self.stage = stage
        self.arguments = arguments
        self.asked: list[Asked] = []
        self.results: list[object] = []

    def differs(self) -> str:
        """Make the stage again and say where it asks for something else; empty if nowhere."""
        coroutine = self.stage(*self.arguments)
        result: object = None
        for number, expected in enumerate(self.asked):
            seen = asked(coroutine.send(result))
            if seen != expected:
                return f"after {number} results it asked for {seen}, not for {expected}"
            result = self.results[number] if number < len(self.results) else None
        coroutine.close()
        return ""


class Listener:
    """Notes every making of every stage of a bench's tasks."""

    def __init__(self, bench: Bench) -> None:
        """Stand between the tasks and their stages."""
        self.runs: list[Run] = []
        for task in bench.whole.tasks:
            task.coroutine.close()
            task.stages = tuple(self._wrap(stage) for stage in task.stages)
            task.coroutine = task.stages[0]()
            task.advance(None)

    def _wrap(self, stage: Stage) -> Stage:
        def make(*arguments: object) -> Listened:
            run = Run(stage, arguments)
            self.runs.append(run)
            return Listened(run)

        return make  # type: ignore[return-value]


class Listened:
    """A stage's coroutine, listened to."""

    def __init__(self, run: Run) -> None:
        """Make the stage."""
        self.run = run
        self.coroutine = run.stage(*run.arguments)

    def send(self, result: object) -> Request:
        """Hand a result on, and note it and what is asked for next."""
        if self.run.asked:
            self.run.results.append(result)
        request = self.coroutine.send(result)
        self.run.asked.append(asked(request))
        return request

    def close(self) -> None:
        """Drop the stage."""
        self.coroutine.close()


def differences(bench: Bench, seed: int) -> Iterator[str]:
    """Run a schedule, then make every stage again."""
    listener = Listener(bench)
    Schedule(bench, seed).run()
    for made in listener.runs:
        if difference := made.differs():
            yield difference


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_equal_results_mean_equal_requests(path: Path) -> None:
    """Every stage of every task asks the same again when it is answered the same again."""
    program = read(path).program
    for seed in range(SCHEDULES):
        bench = Bench(program, "clear_flush", iotlb=bool(seed % 2), walk_by_level=seed % 3 == 0)

        assert list(differences(bench, seed)) == []


@dataclass(frozen=True)
class Remembers(Discipline):
    """A discipline that notifies every second time: it looks past the traps."""

    seen: list[int]

    async def clear_flush(self, cpu: Notifier, span: InvalidateRange) -> None:
        """Count in a place that no trap knows of."""
        self.seen.append(span.location)
        if len(self.seen) % 2:
            await cpu.arch_invalidate_secondary_tlbs(span)


def test_a_discipline_that_remembers_is_caught() -> None:
    """User code that keeps state of its own asks for something else when it is made again."""
    places = (location("A", state=State.COW),)
    program = scene(column("CPU0", run("wp_page_copy", 0)), places=places)

    found = list(differences(Bench(program, Remembers([])), 0))

    assert len(found) == 1
    assert "arch_invalidate_secondary_tlbs" in found[0]


def test_a_task_ends_after_its_last_stage() -> None:
    """A task whose stages have all ended has no request; a server begins again instead."""
    bench = Bench(scene(column("CPU0", run("wp_page_copy", 0))))
    bench.go("CPU0")

    ended: Task = bench.task("CPU0")
    server = bench.task("iopf")

    assert (ended.ended, ended.request) == (True, None)
    assert server.request is not None
    assert server.request.name == "take_page_request"
