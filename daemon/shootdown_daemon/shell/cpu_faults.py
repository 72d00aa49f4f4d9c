"""Faults of the kernel's threads, of its memory and of the daemon itself, applied between steps.

`InFlight` asks before each step of a column's task, and only while there is such a fault.
"""

from __future__ import annotations

import heapq
import os
import signal
from collections.abc import Callable, Iterable

from shootdown_daemon.machine.kernel import KernelSlot
from shootdown_daemon.machine.lock_cells import LockCells, held_by, lock_cells
from shootdown_daemon.machine.page_alloc import drain_pages
from shootdown_daemon.shell.fault_set import FaultSet, LiveFault
from shootdown_engine.live_store import LiveStore
from shootdown_engine.slot import Slot
from shootdown_engine.task import Task
from shootdown_protocol.history import AnyRecord, Injected

STEP_KINDS = (
    "cpu.preempt",
    "cpu.preempt_locked",
    "cpu.die",
    "daemon.crash_before",
    "daemon.crash_after",
)
"""Kinds that are applied before or after a step of a task."""
TICK_S = 0.000_02
"""About how long a step takes: how fast the batch clock goes while all that could go is held."""
GO, HELD, DEAD = range(3)
"""What becomes of a task that is about to make its step."""


class CpuFaults:
    """Faults between the steps of a run's tasks; ``log`` takes (instance, task, record).

    A task held once goes on when its time is over, and is not held again before that step.
    """

    def __init__(
        self,
        faults: FaultSet,
        store: LiveStore,
        slots: list[KernelSlot],
        now: Callable[[], float],
        log: Callable[[int, str, AnyRecord], None],
        flush: Callable[[], None],
    ) -> None:
        """Begin with nothing held; ``flush`` keeps what was recorded before a crash."""
        self._faults = faults
        self._store = store
        self._slots = slots
        self._now = now
        self._log = log
        self._flush = flush
        self._held: list[tuple[float, int, Task]] = []
        self._holds = 0
        self._step = ""
        self._ticked_s = now()
        self._excused: set[Task] = set()
        self._locks: dict[int, LockCells] = {}
        columns = slots[0].kernel.program.columns
        self._cpus = {column.name: column.cpu for column in columns if column.device < 0}

    @property
    def active(self) -> bool:
        """Whether a task may be met by a fault before its step, or is held by one."""
        live = self._faults.live
        return bool(self._held) or any(kind in live for kind in STEP_KINDS)

    @property
    def holds(self) -> bool:
        """Whether a task is held."""
        return bool(self._held)

    def before(self, task: Task) -> int:
        """Ask before a task's step: `GO`, `HELD`, or `DEAD` if it makes no step any more."""
        self._step = ""
        if task in self._excused:
            self._excused.remove(task)
            return GO
        request = task.request
        if request is None or task.owner is None:
            return GO
        step, thread, live = request.full_name, task.name, self._faults.live
        self._step = step if "daemon.crash_after" in live else ""
        if "daemon.crash_before" in live:
            self._crash("daemon.crash_before", task, step)
        if "cpu.preempt" in live:
            found = self._faults.take("cpu.preempt", thread=thread, step=step)
            if found is not None:
                return self._hold(found, task, step)
        if task.server or not ("cpu.preempt_locked" in live or "cpu.die" in live):
            return GO
        return self._locked(task, task.owner, step)

    def after(self, task: Task) -> None:
        """Told after a task's step."""
        if self._step:
            self._crash("daemon.crash_after", task, self._step)

    @property
    def presses(self) -> bool:
        """Whether `start` is to be told."""
        return "mem.pressure" in self._faults.live

    def start(self, slot: int, cpus: Iterable[tuple[str, int]]) -> None:
        """Told when an instance starts: memory pressure drains its CPUs' lists."""
        for thread, cpu in cpus:
            found = self._faults.take("mem.pressure", thread=thread)
            if found is not None:
                drain_pages(self._store, slot, cpu)
                self._report(found, self._slots[slot].slot, thread, "its free list is drained")

    @property
    def hold_ticks(self) -> int:
        """About how many ticks the longest hold lasts that may be made now; 0 without one."""
        live = self._faults.live
        held = (*live.get("cpu.preempt", ()), *live.get("cpu.preempt_locked", ()))
        return max((int(each.fault.ms / 1000 / TICK_S) for each in held), default=0)

    def ticks_passed(self) -> int:
        """Ticks since this was last asked."""
        now = self._now()
        ticks = int((now - self._ticked_s) / TICK_S)
        self._ticked_s += ticks * TICK_S
        return ticks

    def release(self, *, heal: bool = False) -> list[Task]:
        """Tasks whose time is over, or all of them when they are healed."""
        now = self._now()
        released = []
        while self._held and (heal or self._held[0][0] <= now):
            task = heapq.heappop(self._held)[2]
            self._excused.add(task)
            released.append(task)
        return released

    def _locked(self, task: Task, owner: Slot, step: str) -> int:
        lock = self._lock_held(self._slots[owner.index], task.name)
        if not lock:
            return GO
        found = self._faults.take("cpu.preempt_locked", thread=task.name, step=step)
        if found is not None:
            return self._hold(found, task, step)
        found = self._faults.take("cpu.die", thread=task.name, step=step)
        if found is None:
            return GO
        self._report(found, owner, task.name, f"died before {step}, holding {lock}", cut_off=True)
        return DEAD

    def _lock_held(self, kslot: KernelSlot, task: str) -> str:
        cells = self._locks.get(kslot.index)
        if cells is None:
            cells = self._locks[kslot.index] = lock_cells(kslot)
        return held_by(self._store, cells, task, self._cpus[task])

    def _hold(self, found: LiveFault, task: Task, step: str) -> int:
        assert task.owner is not None
        lasts_s = found.lasts_s(self._faults.random)
        self._holds += 1
        heapq.heappush(self._held, (self._now() + lasts_s, self._holds, task))
        detail = f"held for {lasts_s * 1000:.0f} ms before {step}"
        self._report(found, task.owner, task.name, detail)
        return HELD

    def _crash(self, kind: str, task: Task, step: str) -> None:
        found = self._faults.take(kind, thread=task.name, step=step)
        if found is None:
            return
        assert task.owner is not None
        self._report(found, task.owner, "daemon", f"{kind.removeprefix('daemon.')} {step}")
        self._flush()
        os.kill(os.getpid(), signal.SIGKILL)

    def _report(
        self, found: LiveFault, slot: Slot, target: str, detail: str, *, cut_off: bool = False
    ) -> None:
        record = Injected(found.fault.kind, target, found.number, detail, cut_off)
        self._log(slot.instance, target, record)
