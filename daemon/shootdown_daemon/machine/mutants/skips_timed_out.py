"""A driver that goes on behind a fence which failed, as if it had not."""

from __future__ import annotations

from shootdown_daemon.machine.command_driver import (
    DONE,
    FENCED_BETWEEN,
    NOBODY,
    QueueDriver,
    status_cell,
)
from shootdown_daemon.machine.mutant import Mutant
from shootdown_engine.store import Store
from shootdown_protocol.commands import Words


class SkipsTimedOut(QueueDriver):
    """Clears the error, and lets the fence, which has nothing to wait for now, be done.

    So ``arm_smmu_cmdq_skip_err()`` repeats a CMD_SYNC, and ``riscv_iommu_cmdq_process()`` goes on.
    """

    def repeat(self, store: Store, slot: int, failed: tuple[Words, ...]) -> None:
        """Write nothing again; VT-d's fence has been aborted, and counts as done here."""
        fence = self.language.decode(failed[-1])
        if self.dialect not in FENCED_BETWEEN and fence.address != NOBODY:
            store.put(status_cell(slot, fence.address), DONE)


MUTANT = Mutant(
    "skips_timed_out",
    "An invalidation that has timed out counts as complete, and its pages are freed.",
    driver=SkipsTimedOut,
)
