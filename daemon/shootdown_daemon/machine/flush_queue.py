"""The flush queue of dma-iommu: invalidations that nobody waits for, sent some time later.

A queue is a channel of its slot. The timer is a task: when it goes is the scheduler's choice.
"""

from __future__ import annotations

from collections.abc import Coroutine

from shootdown_daemon.machine.disciplines import Lazy
from shootdown_daemon.machine.kernel import KernelSlot
from shootdown_daemon.machine.phases import InvalidateRange
from shootdown_engine.store import Store, receive
from shootdown_engine.task import Task
from shootdown_engine.trap import BLOCKED, Blocked, Request, trap

QUEUE = "flush_queue"


def queue_iova(store: Store, slot: int, span: InvalidateRange) -> None:
    """``queue_iova()``: put a range into the slot's queue."""
    store.send((QUEUE, slot), span)


def take_queued(store: Store, slot: int) -> InvalidateRange | Blocked:
    """Guard: something is queued, and the timer has gone off."""
    span = receive(store, (QUEUE, slot))
    if span is None:
        return BLOCKED
    assert isinstance(span, InvalidateRange)
    return span


def flush_queue_servers(kslot: KernelSlot) -> list[Task]:
    """The timers that a slot needs: one where the discipline queues, else none."""
    if not isinstance(kslot.kernel.discipline, Lazy):
        return []
    return [Task(QUEUE, lambda: _flush(kslot), server=True, owner=kslot.slot)]


def _flush(kslot: KernelSlot) -> Coroutine[Request, object, None]:
    """``fq_flush_timeout()``: one round flushes one range and waits."""

    async def body() -> None:
        waiter = (kslot.index, QUEUE)
        instance = kslot.slot.instance
        driver = kslot.kernel.driver
        span = await trap("fq_flush_timeout", take_queued, kslot.index)
        if await trap("flush_iotlb", driver.step_send, span, instance, waiter):
            await trap("wait_invalidate_completion", driver.step_wait, waiter)

    return body()
