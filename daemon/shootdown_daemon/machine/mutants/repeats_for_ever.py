"""A driver that never gives a device up."""

from __future__ import annotations

from shootdown_daemon.machine.command_driver import QueueDriver, queue_cell
from shootdown_daemon.machine.mutant import Mutant
from shootdown_engine.store import Store
from shootdown_protocol.commands import Words


class RepeatsForEver(QueueDriver):
    """Does not note what was written a second time: each time-out is the first."""

    def repeat(self, store: Store, slot: int, failed: tuple[Words, ...]) -> None:
        """Write again what has failed, however often."""
        store.put(queue_cell(slot), (*self.without_failed(store, slot), *failed))


MUTANT = Mutant(
    "repeats_for_ever",
    "An invalidation of a device that completes nothing is repeated until no ITag is left.",
    driver=RepeatsForEver,
)
