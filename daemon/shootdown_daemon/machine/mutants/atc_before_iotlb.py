"""A driver that empties the device TLB first and the IOMMU's own after it."""

from __future__ import annotations

from shootdown_daemon.machine import iommu
from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.iommu import State
from shootdown_daemon.machine.iommu_driver import IommuDriver, Waiter
from shootdown_daemon.machine.mutant import Mutant
from shootdown_daemon.machine.phases import InvalidateRange
from shootdown_engine.store import Store
from shootdown_engine.trap import Blocked
from shootdown_protocol.ats_range import covering_block
from shootdown_protocol.messages import InvalidateFlag

ATC_ONLY = 0
IOTLB_ONLY = int(InvalidateFlag.IOTLB_ONLY)


class AtcBeforeIotlb(IommuDriver):
    """Sends ATC_INV and waits, and only then the main TLB's invalidation."""

    async def invalidate(self, cpu: Cpu, span: InvalidateRange) -> None:
        """Both invalidations, in the wrong order."""
        waiter = (cpu.kslot.index, cpu.task)
        instance = cpu.kslot.slot.instance
        for name, flags in (("atc_inv", ATC_ONLY), ("tlbi", IOTLB_ONLY)):
            if await cpu.step(name, self.step_send_one, span, instance, waiter, flags):
                await self.wait(cpu, waiter)

    def step_send_one(
        self, store: Store, span: InvalidateRange, instance: int, waiter: Waiter, flags: int
    ) -> bool | Blocked:
        """Send one of the two to every member."""
        block = covering_block(span.start, span.end)
        members = iommu.members(store, span.pasid)
        tickets = iommu.send_block(
            store, members, span.pasid, block, instance, State.WAITED, flags=flags
        )
        if isinstance(tickets, Blocked):
            return tickets
        iommu.keep_tickets(store, waiter, tickets)
        return bool(tickets)


MUTANT = Mutant(
    "atc_before_iotlb",
    "The device TLB is invalidated before the IOMMU's, and may be filled from that again.",
    driver=AtcBeforeIotlb,
)
