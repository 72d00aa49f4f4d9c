"""The host's side of an invalidation: whom to tell what, in which order, and what to wait for.

`IommuDriver` is the right one. A faulty one subclasses it and overrides what differs: each method
named ``step_...`` is one atomic step over the store, each ``async`` method a sequence of steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shootdown_daemon.machine import iommu

if TYPE_CHECKING:
    from shootdown_daemon.machine.cpu import Cpu
    from shootdown_daemon.machine.phases import InvalidateRange
    from shootdown_engine.store import Store
    from shootdown_engine.trap import Blocked

Waiter = tuple[int, str]
"""Slot and task of who waits for completions."""


class IommuDriver:
    """Reads who may hold the PASID's translations, tells each, waits for all."""

    async def invalidate(self, cpu: Cpu, span: InvalidateRange) -> None:
        """``mmu_notifier_arch_invalidate_secondary_tlbs()``: tell every member and wait."""
        waiter = (cpu.kslot.index, cpu.task)
        sent = await cpu.step(
            "arch_invalidate_secondary_tlbs",
            self.step_send,
            span,
            cpu.kslot.slot.instance,
            waiter,
        )
        if sent:
            await self.wait(cpu, waiter)

    async def wait(self, cpu: Cpu, waiter: Waiter) -> None:
        """Wait until all that the waiter has sent is completed."""
        await cpu.step("wait_invalidate_completion", self.step_wait, waiter)

    def step_send(
        self, store: Store, span: InvalidateRange, instance: int, waiter: Waiter
    ) -> bool | Blocked:
        """Send requests that the waiter will wait for; False when nobody is told."""
        return iommu.send_waited(store, span, instance, waiter)

    def step_wait(self, store: Store, waiter: Waiter) -> Blocked | None:
        """Guard: every device has completed; then give the ITags back."""
        return iommu.wait_sent(store, waiter)
