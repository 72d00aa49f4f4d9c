"""The whole testbed in one process, stepped by hand: helpers of the machine tests.

A test says which task goes and how far; nothing goes by itself.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, TypeVar

import msgspec
from tests.verify.record_builders import column, location, program, run

from shootdown_daemon.machine.disciplines import DISCIPLINES, Discipline
from shootdown_daemon.machine.operations import OPERATIONS
from shootdown_daemon.machine.phases import Hook
from shootdown_device_agent.machine.config import DeviceConfig
from shootdown_device_agent.machine.device import Device
from shootdown_engine.live_store import LiveStore
from shootdown_engine.memory import PhysicalMemory
from shootdown_engine.task import Task
from shootdown_protocol.history import AnyRecord
from shootdown_protocol.layout import Layout
from shootdown_protocol.memory import Pte
from shootdown_protocol.program import Column, Location, Program, Speculation, State, Warm
from shootdown_verify.whole import Whole

Kind = TypeVar("Kind", bound=AnyRecord)

STEPS_MAX = 2000
"""More steps than any test here needs."""


def make_store(layout: Layout) -> LiveStore:
    """A live store over words of its own."""
    return LiveStore(memoryview(array("Q", bytes(8 * layout.words))))


def scene(
    *columns: Column,
    places: Iterable[Location] = (),
    warm: Iterable[int] = (),
    speculate: Iterable[int] = (),
    **options: str,
) -> Program:
    """A program whose discipline binds every operation that it names.

    ``warm`` and ``speculate`` are locations that d0 has cached, and may translate unasked.
    """
    made = program(*columns, locations=places)
    lines = [line for each in columns for line in each.instructions]
    return msgspec.structs.replace(
        made,
        mms=tuple(f"mm{number}" for number in range(1 + max(p.mm for p in made.locations))),
        warm=tuple(Warm(0, place) for place in warm),
        speculation=tuple(Speculation(0, place) for place in speculate),
        bound=tuple(sorted({line.operation for line in lines if line.operation})),
        options=options,
    )


def forked() -> tuple[Location, Location]:
    """A writable page, and its place in a child that a fork is to make."""
    return location("A", state=State.RW), location("B", state=State.NONE, mm=1, parent=0)


def places_of(operation: str, state: State) -> tuple[Location, ...]:
    """A, and what else an operation needs: a child, a place to go to, another process's address."""
    place = location("A", state=state)
    if operation == "copy_pte_range":
        return forked()
    if operation == "copy_hugetlb_page_range":
        return place, location("B", state=State.NONE, mm=1, parent=0)
    if operation in {"move_ptes", "move_normal_pmd", "move_hugetlb_page_tables", "move_pages_ptes"}:
        return place, location("B", state=State.NONE, alias=0)
    if operation in {"huge_pmd_unshare", "hugetlb_unshare_pmds", "huge_pmd_share"}:
        return place, location("B", state=state, mm=1, alias=0, va=place.va)
    return (place,)


class Bench:
    """A program on one store. ``made`` has the steps made by hand, ``records`` their reports."""

    def __init__(
        self,
        program: Program,
        discipline: Discipline | str = "clear_flush",
        make_device: Callable[[DeviceConfig, PhysicalMemory], Device] = Device,
        **config: Any,  # noqa: ANN401 - fields of a DeviceConfig
    ) -> None:
        """Lay the instance out, caches warm; ``config`` is the device's."""
        bound = DISCIPLINES[discipline] if isinstance(discipline, str) else discipline
        self.whole = Whole(
            program, bound, make_store, lambda given, m: make_device(replace(given, **config), m)
        )
        assert isinstance(self.whole.store, LiveStore)
        self.store = self.whole.store
        self.store.records.clear()
        self.memory = self.whole.memory
        self.slot = self.whole.slot
        self.made: list[str] = []

    @classmethod
    def of(cls, operation: str, state: State, discipline: Discipline | str = "none") -> Bench:
        """CPU0 that runs an operation on A, which is in a state."""
        places = places_of(operation, state)
        return cls(scene(column("CPU0", run(operation, 0)), places=places), discipline)

    def announce(self, *operations: str) -> None:
        """Start anew, and write the operations' phases among the steps, in angle brackets."""
        for operation in operations:
            self.whole.kernel._bindings[operation] = {
                phase: (_writer(self.made, f"<{phase}>"),) for phase in OPERATIONS[operation].phases
            }
        for task in self.whole.tasks:
            task.close()
        self.whole.tasks = self.whole._tasks()

    # Going

    def task(self, name: str) -> Task:
        """A task by its name."""
        return next(task for task in self.whole.tasks if task.name == name)

    def next_step(self, name: str) -> str:
        """The step that a task waits to make; empty once it has ended."""
        request = self.task(name).request
        return "" if request is None else request.name

    def step(self, name: str) -> bool:
        """Make a task's next step; False when it is blocked."""
        task = self.task(name)
        assert task.request is not None, f"{name} has ended"
        position, step = len(self.made), task.request.name
        if not task.step(self.store):
            return False
        # A step's phases are announced as it ends, before `made` is told of it.
        if step:
            self.made.insert(position, step)
        return True

    def go(self, name: str, *, before: str = "") -> None:
        """Let a task go until it is about to make a step of a name (none: to its end).

        The servers go whenever it is blocked, other columns never.
        """
        for _ in range(STEPS_MAX):
            if self.task(name).ended or (before and self.next_step(name) == before):
                return
            if not self.step(name):
                assert self.serve(), f"{name} waits for ever: {self.task(name)}"
        message = f"{name} never comes to {before or 'its end'}"
        raise AssertionError(message)

    def serve(self) -> bool:
        """Let every server but the prefetchers go as far as it can; False when none could."""
        servers = [
            task
            for task in self.whole.tasks
            if task.server and not task.name.startswith("speculation")
        ]
        made = False
        while any(server.step(self.store) for server in servers):
            made = True
        return made

    # Looking

    @property
    def records(self) -> list[AnyRecord]:
        """Everything reported so far."""
        return self.store.records

    def of_kind(self, kind: type[Kind]) -> list[Kind]:
        """Records of one kind."""
        return [record for record in self.records if isinstance(record, kind)]

    def entry(self, place: int = 0) -> Pte:
        """What the page table says of a location."""
        return Pte(self.store.load(self.whole.kslot.entries[place].word))

    def refs(self, pfn: int) -> object:
        """References to a frame; None for a free one."""
        return self.store.get(("refs", pfn))


def _writer(made: list[str], text: str) -> Hook:
    async def write(_cpu: object, _span: object) -> None:
        made.append(text)

    return write
