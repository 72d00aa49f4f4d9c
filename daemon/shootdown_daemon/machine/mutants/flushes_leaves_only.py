"""A flush with a hint that only last-level entries have changed, where a table goes too."""

from __future__ import annotations

from shootdown_daemon.machine.iommu import State, Ticket
from shootdown_daemon.machine.iommu_driver import IommuDriver
from shootdown_daemon.machine.mutant import Mutant
from shootdown_daemon.machine.phases import InvalidateRange
from shootdown_engine.store import Store
from shootdown_engine.trap import Blocked


class FlushesLeavesOnly(IommuDriver):
    """Lets paging-structure caches keep what they hold, whatever was changed."""

    def send(
        self, store: Store, span: InvalidateRange, instance: int, state: State
    ) -> tuple[Ticket, ...] | Blocked:
        """Send the hint with every request."""
        return super().send(store, span._replace(leaf_only=True), instance, state)


MUTANT = Mutant(
    "flushes_leaves_only",
    "Invalidations carry the hint that no table was changed, also where one is freed.",
    driver=FlushesLeavesOnly,
)
