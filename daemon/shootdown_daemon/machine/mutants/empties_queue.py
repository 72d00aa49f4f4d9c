"""A driver that begins its queue anew after an error, and loses what others had written."""

from __future__ import annotations

from shootdown_daemon.machine.command_driver import QueueDriver, queue_cell, repeated_cell
from shootdown_daemon.machine.mutant import Mutant
from shootdown_engine.store import Store
from shootdown_protocol.commands import Words


class EmptiesQueue(QueueDriver):
    """Sets head and tail to the beginning, and writes there what has failed."""

    def repeat(self, store: Store, slot: int, failed: tuple[Words, ...]) -> None:
        """Write again what has failed, in place of all that was behind it."""
        store.put(repeated_cell(slot), failed)
        store.put(queue_cell(slot), failed)


MUTANT = Mutant(
    "empties_queue",
    "Commands behind a fence that failed are lost, and who waits for theirs waits for ever.",
    driver=EmptiesQueue,
)
