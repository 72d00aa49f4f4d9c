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
    )
}
"""Every shipped mutant."""
