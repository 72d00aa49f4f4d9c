"""Mutants by name: kernels with one whole operation, or their IOMMU driver, written otherwise.

Each has a file of its own and is caught by a scenario that names it, or is what a hardware's bug
needs. One that no scenario names tests nothing.
"""

from __future__ import annotations

from typing import Final

from shootdown_daemon.machine.mutant import Mutant
from shootdown_daemon.machine.mutants import (
    atc_before_iotlb,
    empty_range,
    flushes_twice,
    flushes_upgrades,
    flushes_without_pasid,
    mirror_checks,
    publishes_late,
    reads_recipients_early,
    removes_queue_first,
    unassigns_before_flush,
    unbinds_without_devtlb,
)

MUTANTS: Final[dict[str, Mutant]] = {
    mutant.name: mutant
    for mutant in (
        atc_before_iotlb.MUTANT,
        empty_range.ALL,
        empty_range.NOTHING,
        flushes_twice.MUTANT,
        flushes_upgrades.MUTANT,
        flushes_without_pasid.MUTANT,
        mirror_checks.TOO_EARLY,
        mirror_checks.UNCHECKED,
        publishes_late.MUTANT,
        reads_recipients_early.MUTANT,
        removes_queue_first.MUTANT,
        unassigns_before_flush.MUTANT,
        unbinds_without_devtlb.MUTANT,
    )
}
"""Every shipped mutant."""
