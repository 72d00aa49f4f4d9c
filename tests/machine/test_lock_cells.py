"""A thread that dies with a lock held: every lock is known, and what it held holds nobody up."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle
from random import Random

import pytest
from tests.machine.machines import make_store

from shootdown_cli.faults import shipped_programs
from shootdown_daemon.machine import resending
from shootdown_daemon.machine.disciplines import DISCIPLINES
from shootdown_daemon.machine.iommu import Outstanding, State
from shootdown_daemon.machine.kernel import prepare, settle
from shootdown_daemon.machine.lock_cells import Cell, break_locks, held_by, lock_cells
from shootdown_engine.live_store import LiveStore
from shootdown_engine.task import Task
from shootdown_protocol.board import CUT_OFF
from shootdown_protocol.program import Program
from shootdown_verify.whole import Whole

STEPS_MAX = 400
PROGRAMS = shipped_programs()
KINDS = {"ptl", "mmap_lock", "i_mmap", "folio_lock", "mirror_lock", "vma_lock"}


class Instance:
    """One instance of a program, whose tasks go by turns that a seed draws."""

    def __init__(self, program: Program, seed: int) -> None:
        self.whole = Whole(program, DISCIPLINES["clear_flush"], make_store)
        assert isinstance(self.whole.store, LiveStore)
        self.store = self.whole.store
        self.cells = lock_cells(self.whole.kslot)
        self.cpus = {c.name: c.cpu for c in program.columns if c.device < 0}
        self.random = Random(f"{program.name}:{seed}")

    def steps(self) -> Iterator[Task]:
        """Make steps until nothing can go; gives whose each was."""
        for _ in range(STEPS_MAX):
            tasks = [task for task in self.whole.tasks if not task.ended]
            self.random.shuffle(tasks)
            gone = next((task for task in tasks if task.step(self.store)), None)
            if gone is None:
                return
            yield gone

    def kill_holder(self) -> str:
        """Go on until a column holds a lock, and a while; its kind, or empty if none ever does."""
        wanted = self.random.randrange(1, 20)
        for task in self.steps():
            if task.name in self.cpus and not task.ended:
                lock = held_by(self.store, self.cells, task.name, self.cpus[task.name])
                wanted -= bool(lock)
                if lock and not wanted:
                    self.cut_off()
                    return lock
        return ""

    def cut_off(self) -> None:
        """What a live run does when a column has died."""
        slot = self.whole.slot
        for task in self.whole.tasks:
            if task.name in self.cpus:
                task.close()
        for name in self.cpus:
            resending.abandon(self.store, (slot.index, name))
        break_locks(self.store, self.cells, self.cpus)
        self.store.words[slot.started] |= CUT_OFF
        for index, column in enumerate(slot.program.columns):
            if column.device < 0:
                self.store.store(slot.ended[index], slot.instance + 1)

    def end(self) -> list[str]:
        """Let the rest go to its end, but nobody translate unasked; gives who never ends."""
        tasks = [t for t in self.whole.tasks if not t.ended]
        stood = 0
        for task in cycle(tasks):
            begins = task.request is not None and task.request.name == "atc_lookup"
            idle = task.name.startswith("speculation") and begins
            moved = not task.ended and not idle and task.step(self.store)
            stood = 0 if moved else stood + 1
            if stood > len(tasks):
                break
        return [task.name for task in tasks if not task.ended and not task.server]

    def next(self) -> dict[Cell, object]:
        """Lay out the next instance in the slot; gives all private cells but ITags out of use."""
        settle(self.store, self.whole.kslot)
        prepare(self.store, self.whole.kslot, 1)
        for device in self.whole.devices:
            device.reset(self.store, self.whole.slot)
        return {
            cell: value
            for cell, value in self.store.cells.items()
            if not (isinstance(value, Outstanding) and value.state is State.RETIRED)
        }


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_nothing_of_a_dead_holder_is_left(program: Program) -> None:
    """Devices come to their end, and the slot's next instance begins as the very first did."""
    fresh = Instance(program, 0).next()

    for seed in range(3):
        instance = Instance(program, seed)
        if instance.kill_holder():
            assert instance.end() == []
            assert instance.next() == fresh


def test_every_lock_is_known() -> None:
    """What holds a task's name, or is called a lock, is among a slot's locks; of every kind."""
    met = set()
    for program in PROGRAMS:
        instance = Instance(program, 0)
        known = {*instance.cells.exclusive, *instance.cells.shared}
        for _ in instance.steps():
            for cell, value in instance.store.cells.items():
                if value in instance.cpus or str(cell[0]).endswith("lock"):
                    met.add(cell[0])
                    assert cell in known or cell[:-1] in known, f"{program.name}: {cell}"
    assert met == KINDS
