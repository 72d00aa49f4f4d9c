"""A driver that invalidates the device TLB by domain and not by PASID."""

from __future__ import annotations

from shootdown_daemon.machine import iommu
from shootdown_daemon.machine.iommu import State, Ticket
from shootdown_daemon.machine.iommu_driver import IommuDriver
from shootdown_daemon.machine.mutant import Mutant
from shootdown_daemon.machine.phases import InvalidateRange
from shootdown_engine.store import Store
from shootdown_engine.trap import Blocked

NO_PASID = 0
"""Tag of translations for requests without a PASID."""


class FlushesWithoutPasid(IommuDriver):
    """Knows whom to tell, and names nothing that they hold."""

    def send(
        self, store: Store, span: InvalidateRange, instance: int, state: State
    ) -> tuple[Ticket, ...] | Blocked:
        """Send requests without the PASID to the members of the PASID."""
        members = iommu.members(store, span.pasid)
        return iommu.send_to(store, members, span._replace(pasid=NO_PASID), instance, state)


MUTANT = Mutant(
    "flushes_without_pasid",
    "The device TLB is invalidated without the PASID that its entries are tagged with.",
    driver=FlushesWithoutPasid,
)
