"""A fault that takes a share in the page table of a mapping that is being torn down."""

from __future__ import annotations

from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.file_lock import i_mmap_lock, i_mmap_unlock
from shootdown_daemon.machine.mutant import Mutant
from shootdown_daemon.machine.operations import Operation
from shootdown_daemon.machine.operations.hugetlb_share import HUGE_PMD_SHARE, partner, set_table
from shootdown_daemon.machine.pud import get_shared_table


async def huge_pmd_share(cpu: Cpu) -> None:
    """Take a share in whatever table the other one has."""
    other = cpu.at(partner(cpu))
    await i_mmap_lock(cpu)
    await set_table(cpu, await get_shared_table(cpu, other))
    await i_mmap_unlock(cpu)


MUTANT = Mutant(
    "shares_with_dying_mapping",
    "A hugetlb fault shares the page table of a mapping whose pages are unmapped already.",
    operations=(Operation(*HUGE_PMD_SHARE, huge_pmd_share),),
)
