"""CPU columns and the page request server: the kernel's tasks.

A column has a stage for each of its instructions and for what that waits for; the server answers
page requests of devices by the fault path.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from functools import partial

from shootdown_daemon.machine import cpu_tlb, iommu
from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.kernel import KernelSlot
from shootdown_daemon.machine.mirror import Outcome
from shootdown_daemon.machine.operations import OPERATIONS
from shootdown_daemon.machine.operations.fault import FaultAnswer, handle_mm_fault
from shootdown_engine.access import Intent, Target, begin, take_effect
from shootdown_engine.channels import Completion
from shootdown_engine.column import await_column, deny, end_column, sync_column, tick
from shootdown_engine.slot import operations_in
from shootdown_engine.store import Store, receive
from shootdown_engine.task import Stage, Task
from shootdown_engine.trap import BLOCKED, Blocked, trap
from shootdown_protocol.history import Fault, Kind
from shootdown_protocol.memory import (
    ACCESSED,
    DIRTY,
    pte_generation,
    pte_pfn,
    pte_present,
    pte_same,
    pte_write,
)
from shootdown_protocol.program import Column, Instruction, Op, When

FAULTS_MAX = 16
"""Faults that one access may take before it is given up (S5)."""


def column_task(kslot: KernelSlot, index: int) -> Task:
    """The task of one CPU column."""
    column = kslot.kernel.program.columns[index]
    assert column.device < 0
    return Task(column.name, *_stages(kslot, column), partial(_end, kslot, index), owner=kslot.slot)


async def _end(kslot: KernelSlot, index: int) -> None:
    await trap("end", end_column, kslot.slot, index)


def _stages(kslot: KernelSlot, column: Column) -> Iterator[Stage]:
    for position, line in enumerate(column.instructions):
        if line.when is not When.NOW:
            yield partial(_wait, kslot, column, position)
        yield partial(_run, kslot, column, line)


def _cpu(kslot: KernelSlot, column: Column, line: Instruction) -> Cpu:
    from_buddy = line.when is When.FREED
    return Cpu(kslot, column.name, column.cpu, line.location, from_buddy=from_buddy)


async def _wait(kslot: KernelSlot, column: Column, position: int) -> None:
    line = column.instructions[position]
    cpu = _cpu(kslot, column, line)
    to_come = operations_in(kslot.kernel.program, column.instructions[position:], line.location)
    await trap("when", wait_until, cpu, line.when, cpu.site.returns - to_come)


async def _run(kslot: KernelSlot, column: Column, line: Instruction, faults: int = 0) -> int | None:
    slot = kslot.slot
    if line.op is Op.AWAIT:
        await trap("await", await_column, slot, line.target)
    elif line.op is Op.SYNC:
        await trap("sync", sync_column, slot, line.target)
    elif line.op is Op.DELAY:
        for _ in range(line.amount):
            await trap("delay", tick)
    elif line.op is Op.RUN:
        mutated = kslot.kernel.mutant.operation(line.operation)
        operation = mutated or OPERATIONS[line.operation]
        cpu = _cpu(kslot, column, line)
        await operation.run(cpu.within(operation.name, operation.phases))
    elif column.is_mirror:
        return await mirror_access(_cpu(kslot, column, line), line, faults)
    else:
        return await access(_cpu(kslot, column, line), line, faults)
    return None


async def mirror_access(cpu: Cpu, line: Instruction, attempts: int) -> int | None:
    """Attempt a load or store through the mirror; gives the attempts when it is to try again."""
    mirror = cpu.kslot.kernel.mirror
    assert mirror is not None
    kind = Kind.LOAD if line.op is Op.LOAD else Kind.STORE
    intent = Intent(kind, line.location, line.value, line.register)
    outcome = await mirror.access(cpu.in_mirror(), intent, _resolve)
    if outcome is Outcome.DENIED:
        await trap("segv", deny, cpu.kslot.slot, intent, "no permission")
    if outcome is not Outcome.AGAIN:
        return None
    if attempts + 1 < FAULTS_MAX:
        return attempts + 1
    await trap("give_up", give_up, intent)
    return None


async def _resolve(cpu: Cpu, write: bool) -> bool:
    return await handle_mm_fault(cpu, write=write) is FaultAnswer.SUCCESS


async def access(cpu: Cpu, line: Instruction, faults: int) -> int | None:
    """Attempt a CPU's load or store; a fault is handled inline.

    Gives the faults that it has taken when it is to be attempted again, None when it is over.
    """
    kind = Kind.LOAD if line.op is Op.LOAD else Kind.STORE
    intent = Intent(kind, line.location, line.value, line.register)
    done = await trap(
        kind.name.lower(), access_memory, cpu, intent, operation="", location=line.location
    )
    if done is Accessed.DONE:
        return None
    if done is Accessed.UNMARKED:
        await trap("set_ad_bits", set_ad_bits, cpu, intent, location=line.location)
        return faults
    if await handle_mm_fault(cpu, write=kind is Kind.STORE) is FaultAnswer.INVALID:
        await trap("segv", deny, cpu.kslot.slot, intent, "no permission")
        return None
    if faults + 1 < FAULTS_MAX:
        return faults + 1
    await trap("give_up", give_up, intent)
    return None


class Accessed(Enum):
    """What came of an attempt: done, a fault, or its entry lacks an accessed or dirty bit."""

    DONE = 1
    FAULT = 2
    UNMARKED = 3


def access_memory(store: Store, cpu: Cpu, intent: Intent) -> Accessed:
    """Walk and access in one step, as a CPU whose own TLB is flushed in no time, or go by its TLB.

    It takes no IPI between the two.
    """
    hit = False
    if cpu.kslot.kernel.cpu_tlb is None:
        pte = cpu.entry.read(store)
    else:
        pte, hit = cpu_tlb.look_up(store, cpu, write=intent.kind is Kind.STORE)
    if not pte_present(pte) or (intent.kind is Kind.STORE and not pte_write(pte)):
        return Accessed.FAULT
    if cpu.kslot.kernel.ad_bits and _marks(intent) & ~pte:
        return Accessed.UNMARKED
    stale = hit and not pte_same(pte, cpu.entry.read(store))
    target = Target(pte_pfn(pte), pte_generation(pte), hit=hit, stale=stale)
    begun = begin(store, cpu.site)
    take_effect(store, cpu.memory, cpu.kslot.slot, intent, begun, target)
    return Accessed.DONE


def set_ad_bits(store: Store, cpu: Cpu, intent: Intent) -> None:
    """Set what an access needs of accessed and dirty bits; the access is then attempted again."""
    pte = cpu.entry.read(store)
    if pte_present(pte) and (intent.kind is Kind.LOAD or pte_write(pte)):
        store.compare_exchange(cpu.entry.at(store), pte, pte | _marks(intent))


def _marks(intent: Intent) -> int:
    return ACCESSED if intent.kind is Kind.LOAD else ACCESSED | DIRTY


def give_up(store: Store, intent: Intent) -> None:
    """Report an access whose faults were handled and never helped (S5)."""
    write = intent.kind is Kind.STORE
    store.emit(Fault(intent.location, write, "retried", exhausted=True))


def wait_until(store: Store, cpu: Cpu, when: When, returns: int) -> Blocked | None:
    """Guard of an instruction's ``when``; ``returns`` are the operations that are to return."""
    if when is When.FREED:
        met = store.get(("freed", cpu.kslot.index)) is not None
    elif when is When.RETURNED:
        met = store.load(cpu.site.returned) >= returns
    else:
        pte = cpu.entry.read(store)
        met = pte_present(pte) and (when is When.PRESENT or pte_write(pte))
    return None if met else BLOCKED


def completion_server(device: int) -> Task:
    """The server that takes a device's completions in, one a round."""

    async def body() -> None:
        await trap("", take_completion, device)

    return Task(f"completion{device}", body, server=True)


def take_completion(store: Store, device: int) -> Blocked | None:
    """Guard: a completion has arrived; an unexpected one is reported and dropped."""
    completion = receive(store, ("completion", device))
    if completion is None:
        return BLOCKED
    assert isinstance(completion, Completion)
    iommu.take(store, device, completion)
    return None
