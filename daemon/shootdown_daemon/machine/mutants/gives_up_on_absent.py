"""A driver that looks whether a device is there before it waits for it any longer."""

from __future__ import annotations

from shootdown_daemon.machine import iommu
from shootdown_daemon.machine.iommu import State, Ticket
from shootdown_daemon.machine.iommu_driver import IommuDriver, Waiter
from shootdown_daemon.machine.mutant import Mutant
from shootdown_engine.store import Store
from shootdown_engine.trap import Blocked


class GivesUpOnAbsent(IommuDriver):
    """``pci_device_is_present()``: who is not there holds nothing, and need not complete."""

    def step_wait(self, store: Store, waiter: Waiter) -> Blocked | None:
        """Guard: every device has completed or is gone."""
        tickets = store.get(("tickets", *waiter))
        assert isinstance(tickets, tuple)
        for ticket in tickets:
            assert isinstance(ticket, Ticket)
            held = iommu.outstanding(store, ticket.device, ticket.itag)
            if held is not None and store.get(("absent_device", ticket.device)):
                done = held.but(State.DONE)
                store.put(("itag", ticket.device, ticket.itag), done)
        return super().step_wait(store, waiter)


MUTANT = Mutant(
    "gives_up_on_absent",
    "A wait for an invalidation ends where the device is found to be gone.",
    driver=GivesUpOnAbsent,
)
