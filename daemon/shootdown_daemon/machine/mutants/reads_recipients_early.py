"""A driver that reads whom to tell before the entry is changed."""

from __future__ import annotations

from shootdown_daemon.machine import iommu
from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.iommu import State
from shootdown_daemon.machine.iommu_driver import IommuDriver, Waiter
from shootdown_daemon.machine.mutant import Mutant
from shootdown_daemon.machine.phases import InvalidateRange
from shootdown_engine.store import Store
from shootdown_engine.trap import Blocked


class ReadsRecipientsEarly(IommuDriver):
    """Looks at the count of ATS masters when the range begins, and believes it to the end."""

    async def range_start(self, cpu: Cpu) -> None:
        """Read who may hold translations now."""
        waiter = (cpu.kslot.index, cpu.task)
        await cpu.step("read_ats_masters", self.step_read, cpu.site.pasid, waiter)

    def step_read(self, store: Store, pasid: int, waiter: Waiter) -> None:
        """Keep the recipients for later."""
        store.put(("recipients", *waiter), iommu.members(store, pasid) or None)

    def step_send(
        self, store: Store, span: InvalidateRange, instance: int, waiter: Waiter
    ) -> bool | Blocked:
        """Send to those that were read."""
        read = store.get(("recipients", *waiter)) or ()
        assert isinstance(read, tuple)
        tickets = iommu.send_to(store, read, span, instance, State.WAITED)
        if isinstance(tickets, Blocked):
            return tickets
        iommu.keep_tickets(store, waiter, tickets)
        return bool(tickets)


MUTANT = Mutant(
    "reads_recipients_early",
    "Whom to tell is read before the entry is changed: who attaches in between is left out.",
    driver=ReadsRecipientsEarly,
)
