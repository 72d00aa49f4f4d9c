"""Drivers whose range encodings cover less than the range."""

from __future__ import annotations

from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.iommu_driver import IommuDriver
from shootdown_daemon.machine.mutant import Mutant
from shootdown_daemon.machine.phases import InvalidateRange
from shootdown_protocol.memory import PAGE_SHIFT, PAGE_SIZE

OPERAND_BITS = 9
"""Bits of the operand that says how many pages a range has."""


class OperandOverflows(IommuDriver):
    """Puts the number of pages into a field that it does not fit in."""

    async def invalidate(self, cpu: Cpu, span: InvalidateRange) -> None:
        """The largest range has no bit left, and nothing is invalidated."""
        pages = (span.end - span.start) >> PAGE_SHIFT
        encoded = pages & (1 << OPERAND_BITS) - 1
        if encoded:
            end = span.start + encoded * PAGE_SIZE
            await super().invalidate(cpu, span._replace(end=end))


class MaskTooSmall(IommuDriver):
    """Makes a mask of the range's last page instead of one that covers the range."""

    def widen(self, span: InvalidateRange) -> InvalidateRange:
        """Wrong parentheses: the mask is that of one page."""
        return span._replace(end=span.start + PAGE_SIZE)


OVERFLOWS = Mutant(
    "range_operand_overflows",
    "The operand of a range invalidation overflows for the largest range.",
    driver=OperandOverflows,
)
MASK = Mutant(
    "mask_too_small",
    "The mask of a page-specific invalidation covers less than the range.",
    driver=MaskTooSmall,
)
