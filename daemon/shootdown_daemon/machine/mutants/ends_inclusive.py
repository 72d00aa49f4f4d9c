"""A driver that takes the end of a range for its last byte, and never comes to it."""

from __future__ import annotations

from shootdown_daemon.machine import iommu
from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.iommu import State
from shootdown_daemon.machine.iommu_driver import IommuDriver, Waiter
from shootdown_daemon.machine.mutant import Mutant
from shootdown_daemon.machine.phases import InvalidateRange
from shootdown_engine.store import Store
from shootdown_engine.trap import Blocked
from shootdown_protocol.memory import PAGE_SHIFT, PAGE_SIZE


class EndsInclusive(IommuDriver):
    """``size = end - start + 1``: what is left after the last page is less than a page."""

    async def invalidate(self, cpu: Cpu, span: InvalidateRange) -> None:
        """Write commands for as many pages as are left, until none are; and then a CMD_SYNC."""
        waiter = (cpu.kslot.index, cpu.task)
        instance = cpu.kslot.slot.instance
        iova, end = span.start, span.end + 1
        while iova < end:
            pages = end - iova >> PAGE_SHIFT
            step = "tlbi", self.step_append, span.pasid, iova, instance, waiter
            await cpu.step(*step)
            iova += pages << PAGE_SHIFT
        await self.wait(cpu, waiter)

    def step_append(
        self, store: Store, pasid: int, iova: int, instance: int, waiter: Waiter
    ) -> Blocked | None:
        """Write one command. Guard: the queue has room, which only a CMD_SYNC makes."""
        tickets = iommu.send_block(
            store,
            iommu.members(store, pasid),
            pasid,
            (iova & -PAGE_SIZE, PAGE_SIZE),
            instance,
            State.WAITED,
            depth=self.depth,
        )
        if isinstance(tickets, Blocked):
            return tickets
        iommu.keep_tickets(store, waiter, (*iommu.kept_tickets(store, waiter), *tickets))
        return None


MUTANT = Mutant(
    "ends_inclusive",
    "The size of a range is one byte too large, and the loop over it never ends.",
    driver=EndsInclusive,
)
