"""A driver that sends every device TLB invalidation twice, as a quirk of some devices needs."""

from __future__ import annotations

from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.iommu_driver import IommuDriver
from shootdown_daemon.machine.mutant import Mutant
from shootdown_daemon.machine.phases import InvalidateRange


class FlushesTwice(IommuDriver):
    """Waits for one invalidation, and then for another like it."""

    async def invalidate(self, cpu: Cpu, span: InvalidateRange) -> None:
        """Invalidate, and again."""
        await super().invalidate(cpu, span)
        await super().invalidate(cpu, span)


MUTANT = Mutant(
    "flushes_twice",
    "Every device TLB invalidation is sent twice: a quirk, right for devices that need it.",
    driver=FlushesTwice,
)
