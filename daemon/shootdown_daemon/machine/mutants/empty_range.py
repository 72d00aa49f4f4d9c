"""An architecture's flush that moves the start of the range before it notifies."""

from __future__ import annotations

from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.iommu_driver import ADDRESS_END, IommuDriver
from shootdown_daemon.machine.mutant import Mutant
from shootdown_daemon.machine.phases import InvalidateRange


class EmptyRangeIsNothing(IommuDriver):
    """Is given ``[end, end)``, and takes it at its word."""

    async def invalidate(self, cpu: Cpu, span: InvalidateRange) -> None:
        """The loop of range flushes has moved ``start`` to ``end``."""
        moved = span._replace(start=span.end)
        if moved.start < moved.end:
            await super().invalidate(cpu, moved)


class EmptyRangeIsAll(IommuDriver):
    """Is given ``[end, end)``; its hardware takes size 0 for everything."""

    async def invalidate(self, cpu: Cpu, span: InvalidateRange) -> None:
        """The same loop, before an IOMMU that happens to invalidate too much."""
        await super().invalidate(cpu, span._replace(start=0, end=ADDRESS_END))


NOTHING = Mutant(
    "empty_range",
    "Secondary TLBs are told of an empty range, and drop nothing.",
    driver=EmptyRangeIsNothing,
)
ALL = Mutant(
    "empty_range_is_all",
    "Secondary TLBs are told of an empty range, and drop everything: the bug does not show.",
    driver=EmptyRangeIsAll,
)
