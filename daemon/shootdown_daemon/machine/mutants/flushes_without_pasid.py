"""A driver that invalidates the device TLB by domain and not by PASID."""

from __future__ import annotations

from shootdown_daemon.machine import iommu
from shootdown_daemon.machine.iommu import State
from shootdown_daemon.machine.iommu_driver import IommuDriver, Waiter
from shootdown_daemon.machine.mutant import Mutant
from shootdown_daemon.machine.phases import InvalidateRange
from shootdown_engine.store import Store
from shootdown_engine.trap import Blocked

NO_PASID = 0
"""Tag of translations for requests without a PASID."""


class FlushesWithoutPasid(IommuDriver):
    """Knows whom to tell, and names nothing that they hold."""

    def step_send(
        self, store: Store, span: InvalidateRange, instance: int, waiter: Waiter
    ) -> bool | Blocked:
        """Send requests without the PASID to the members of the PASID."""
        untagged = span._replace(pasid=NO_PASID)
        tickets = iommu.send_to(
            store, iommu.members(store, span.pasid), untagged, instance, State.WAITED
        )
        if isinstance(tickets, Blocked):
            return tickets
        iommu.keep_tickets(store, waiter, tickets)
        return bool(tickets)


MUTANT = Mutant(
    "flushes_without_pasid",
    "The device TLB is invalidated without the PASID that its entries are tagged with.",
    driver=FlushesWithoutPasid,
)
