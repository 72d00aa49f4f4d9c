"""Mutants by name: kernels with one whole operation, or their IOMMU driver, written wrong.

Each has a file of its own and is caught by a scenario that names it; one that no scenario
catches tests nothing.
"""

from __future__ import annotations

from typing import Final

from shootdown_daemon.machine.mutant import Mutant
from shootdown_daemon.machine.mutants import flushes_without_pasid

MUTANTS: Final[dict[str, Mutant]] = {
    mutant.name: mutant for mutant in (flushes_without_pasid.MUTANT,)
}
"""Every shipped mutant."""
