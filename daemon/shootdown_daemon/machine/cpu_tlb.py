"""Primary TLBs: the CPUs' own, filled by their accesses and flushed by emulated IPIs.

Only where a scenario says ``cpu_tlb on``; elsewhere a CPU walks at every access, as if its TLB
were flushed in no time. A flush drops the flushing CPU's own entries and asks every other CPU that
runs the program; each takes the IPI as a step of its own, between any two steps of its column. The
CPUs are flushed where v6.18 flushes them, whatever the discipline. At the same phase they come
before secondary TLBs, as in x86's ``flush_tlb_mm_range()``; with ``cpu_tlb after`` behind them, as
on arm64, where the ``dsb`` that waits for the CPUs is the last step of a flush.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from shootdown_daemon.machine.phases import Binding, InvalidateRange, Phase, later_phase
from shootdown_daemon.machine.profiles import times_of
from shootdown_engine.task import Stage, Task
from shootdown_engine.trap import BLOCKED, Blocked, trap
from shootdown_protocol.device_options import ON
from shootdown_protocol.memory import Pte, pte_present, pte_write
from shootdown_protocol.program import Op, Program

if TYPE_CHECKING:
    from shootdown_daemon.machine.cpu import Cpu
    from shootdown_daemon.machine.kernel import KernelSlot
    from shootdown_engine.store import Store

VERSION: Final = "linux-6.18"
BATCHED: Final[Mapping[str, tuple[Phase, ...]]] = {
    "try_to_unmap": (Phase.BEFORE_FREE,),
    "try_to_unmap_one": (Phase.RANGE_END,),
    "try_to_migrate_one": (Phase.RANGE_END,),
}
"""Batched unmapping tells secondary TLBs at once and the CPUs later, before the copy or I/O."""


AFTER: Final = "after"
"""The option's value with which secondary TLBs are told first."""


class Ipi(NamedTuple):
    """A request to one CPU: who waits for it, and which locations it is to forget."""

    waiter: str
    locations: tuple[int, ...]


class CpuTlb:
    """The right way to flush. A faulty one subclasses it and overrides what differs."""

    def __init__(self, program: Program) -> None:
        """Know the CPUs that run the program's address spaces (``mm_cpumask()``)."""
        self.secondary_first = program.options.get("cpu_tlb") == AFTER
        self.cpus = tuple(
            sorted(
                column.cpu
                for column in program.columns
                if column.device < 0
                and any(line.op in (Op.LOAD, Op.STORE) for line in column.instructions)
            )
        )

    def bind(self, binding: Binding, operation: str, phases: tuple[Phase, ...]) -> None:
        """Flush at the phases at which the kernel flushes for an operation."""
        for phase in BATCHED.get(operation, times_of(VERSION, operation)):
            at = later_phase(phase, phases)
            told = binding.get(at, ())
            binding[at] = (*told, self.flush) if self.secondary_first else (self.flush, *told)

    async def flush(self, cpu: Cpu, span: InvalidateRange) -> None:
        """``flush_tlb_mm_range()``: flush here, send an IPI to all others, wait for each."""
        asked = await cpu.step(
            "flush_tlb_multi", self.step_send, cpu.kslot, cpu.cpu, cpu.task, span
        )
        if asked:
            await cpu.step("wait_ipi", self.step_wait, cpu.kslot.index, cpu.task)

    def step_send(
        self, store: Store, kslot: KernelSlot, cpu: int, task: str, span: InvalidateRange
    ) -> bool:
        """Drop the CPU's own entries and ask the others; says whether anybody was asked."""
        locations = locations_in(kslot, span)
        forget(store, kslot.index, cpu, locations)
        others = [other for other in self.cpus if other != cpu]
        for other in others:
            cell = ("tlb_ipi", kslot.index, other)
            store.put(cell, (*_waiting(store, cell), Ipi(task, locations)))
        return bool(others)

    def step_wait(self, store: Store, slot: int, task: str) -> Blocked | None:
        """Guard: every CPU has taken the IPI."""
        for cpu in self.cpus:
            if any(ipi.waiter == task for ipi in _waiting(store, ("tlb_ipi", slot, cpu))):
                return BLOCKED
        return None


def tlb_of(kind: type[CpuTlb], program: Program) -> CpuTlb | None:
    """The primary TLBs of a program; None where its CPUs walk at every access."""
    return kind(program) if program.options.get("cpu_tlb") in (ON, AFTER) else None


def locations_in(kslot: KernelSlot, span: InvalidateRange) -> tuple[int, ...]:
    """Locations of a slot that a range covers."""
    return tuple(
        site.index
        for site in kslot.slot.sites
        if site.pasid == span.pasid and span.start <= site.va < span.end
    )


def forget(store: Store, slot: int, cpu: int, locations: tuple[int, ...]) -> None:
    """Drop a CPU's translations of some locations."""
    for location in locations:
        store.put(("tlb", slot, cpu, location), None)


def look_up(store: Store, cpu: Cpu, *, write: bool) -> tuple[Pte, bool]:
    """The entry that an access of a CPU goes by, and whether it was in its TLB.

    A cached entry without the permission that is needed is dropped, and the tables are walked.
    """
    cell = ("tlb", cpu.kslot.index, cpu.cpu, cpu.site.index)
    held = store.get(cell)
    if isinstance(held, int) and (pte_write(held) or not write):
        return Pte(held), True
    walked = cpu.entry.read(store)
    allowed = pte_present(walked) and (pte_write(walked) or not write)
    if allowed or held is not None:
        store.put(cell, walked if allowed else None)
    return walked, False


def ipi_servers(kslot: KernelSlot) -> Iterator[Task]:
    """The servers that take IPIs, one for each CPU with a TLB."""
    tlb = kslot.kernel.cpu_tlb
    for cpu in () if tlb is None else tlb.cpus:
        yield Task(f"ipi{cpu}", _server(kslot, cpu), server=True, owner=kslot.slot)


def _server(kslot: KernelSlot, cpu: int) -> Stage:
    async def body() -> None:
        await trap("flush_tlb_func", take_ipi, kslot.index, cpu)

    return body


def take_ipi(store: Store, slot: int, cpu: int) -> Blocked | None:
    """``flush_tlb_func()``. Guard: an IPI has arrived; drop what it names and say so."""
    cell = ("tlb_ipi", slot, cpu)
    waiting = _waiting(store, cell)
    if not waiting:
        return BLOCKED
    forget(store, slot, cpu, waiting[0].locations)
    store.put(cell, waiting[1:] or None)
    return None


def prepare(store: Store, kslot: KernelSlot) -> None:
    """Empty every TLB of a slot."""
    tlb = kslot.kernel.cpu_tlb
    for cpu in () if tlb is None else tlb.cpus:
        forget(store, kslot.index, cpu, tuple(site.index for site in kslot.slot.sites))
        store.put(("tlb_ipi", kslot.index, cpu), None)


def _waiting(store: Store, cell: tuple[str | int, ...]) -> tuple[Ipi, ...]:
    waiting = store.get(cell)
    assert waiting is None or isinstance(waiting, tuple)
    return waiting or ()
