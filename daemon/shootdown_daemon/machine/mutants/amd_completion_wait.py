"""AMD's completion wait: one word, to which the IOMMU writes each wait's number in turn."""

from __future__ import annotations

from collections.abc import Hashable

from shootdown_daemon.machine import iommu
from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.iommu_driver import IommuDriver, Waiter
from shootdown_daemon.machine.mutant import Mutant
from shootdown_daemon.machine.phases import InvalidateRange
from shootdown_engine.store import Store
from shootdown_engine.trap import BLOCKED, Blocked

SEQUENCE = ("cmd_sem_val",)
SEMAPHORE = ("cmd_sem",)
QUEUE = ("cmd_queue",)


class CompletionWait(IommuDriver):
    """Takes its number under the queue's lock, with the command that has it."""

    async def wait(self, cpu: Cpu, waiter: Waiter) -> None:
        """``iommu_completion_wait()``: queue a number, and wait until the word has come to it."""
        number = await cpu.step("queue_completion_wait", self.step_queue)
        await self.wait_for(cpu, waiter, number)

    async def wait_for(self, cpu: Cpu, waiter: Waiter, number: int) -> None:
        """Let the IOMMU come to the command, and read the word."""
        await cpu.step("completion_wait", self.step_execute, waiter, number)
        await cpu.step("wait_on_sem", self.step_wait_on_sem, number)

    def step_queue(self, store: Store) -> int:
        """Take the next number and queue it, as one."""
        number = self.step_number(store)
        self.step_append(store, number)
        return number

    def step_number(self, store: Store) -> int:
        """``++iommu->cmd_sem_val``."""
        number = _count(store, SEQUENCE) + 1
        store.put(SEQUENCE, number)
        return number

    def step_append(self, store: Store, number: int) -> None:
        """Put the command at the end of the queue."""
        store.put(QUEUE, (*_queue(store), number))

    def step_execute(self, store: Store, waiter: Waiter, number: int) -> Blocked | None:
        """Guard: it is the command's turn, and what came before it is completed."""
        queue = _queue(store)
        if queue[0] != number or iommu.wait_sent(store, waiter) is BLOCKED:
            return BLOCKED
        store.put(QUEUE, queue[1:] or None)
        store.put(SEMAPHORE, number)
        return None

    def step_wait_on_sem(self, store: Store, number: int) -> Blocked | None:
        """Guard: the word is at the number or beyond."""
        return BLOCKED if _count(store, SEMAPHORE) < number else None


class SequenceOutsideLock(CompletionWait):
    """Takes its number first, and then the lock under which the command is queued."""

    async def invalidate(self, cpu: Cpu, span: InvalidateRange) -> None:
        """As it should be, but for the order of the two."""
        waiter = (cpu.kslot.index, cpu.task)
        instance = cpu.kslot.slot.instance
        if not await cpu.step(
            "arch_invalidate_secondary_tlbs", self.step_send, span, instance, waiter
        ):
            return
        number = await cpu.step("cmd_sem_val", self.step_number)
        await cpu.step("queue_completion_wait", self.step_append, number)
        await self.wait_for(cpu, waiter, number)


def _count(store: Store, cell: tuple[Hashable, ...]) -> int:
    held = store.get(cell) or 0
    assert isinstance(held, int)
    return held


def _queue(store: Store) -> tuple[int, ...]:
    held = store.get(QUEUE) or ()
    assert isinstance(held, tuple)
    return held


RIGHT = Mutant(
    "amd_completion_wait",
    "AMD's completion wait as it should be: numbers are in the order of the queue.",
    driver=CompletionWait,
)
WRONG = Mutant(
    "sequence_outside_lock",
    "The number of a completion wait is taken outside the lock of the queue.",
    driver=SequenceOutsideLock,
)
