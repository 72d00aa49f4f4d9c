"""hugetlb tables that come to be shared again: ``huge_pmd_share()`` in mm/hugetlb.c (row 31).

`hugetlb` takes a shared table of level 2 away and frees the last one's; here a mapping gives its
share up and stays, and the next fault shares again, or has a table of its own if nobody is left to
share with. Left out: ``VM_MAYSHARE`` and what a split does with it, several mappings to share with,
and what `shootdown_daemon.machine.operations.hugetlb` leaves out.
"""

from __future__ import annotations

from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.file_lock import i_mmap_lock, i_mmap_unlock
from shootdown_daemon.machine.operations.hugetlb import huge_pmd_unshare
from shootdown_daemon.machine.phases import Phase
from shootdown_daemon.machine.pmd import pte_alloc_one, pte_free, region_entry
from shootdown_daemon.machine.pud import (
    get_shared_table,
    pud_lock,
    pud_of,
    pud_populate,
    pud_unlock,
    put_shared_table,
)
from shootdown_daemon.machine.region import PUD_SIZE

HUGETLB_UNSHARE_PMDS = (
    "hugetlb_unshare_pmds",
    (
        Phase.RANGE_START,
        Phase.BEFORE_CLEAR,
        Phase.CLEAR_FLUSH,
        Phase.AFTER_UNLOCK,
        Phase.RANGE_END,
        Phase.OP_RETURN,
    ),
)
HUGE_PMD_SHARE = ("huge_pmd_share", (Phase.OP_RETURN,))
"""Nothing was mapped, so nobody needs to be told: no earlier phase can be bound."""


async def run_hugetlb_unshare_pmds(cpu: Cpu) -> None:
    """Give up a shared table and keep the mapping, as userfaultfd asks for, or a VMA's split."""
    whole = cpu.reaching(PUD_SIZE)
    await whole.mmap_write_lock()
    await whole.invalidate_range_start()
    await i_mmap_lock(whole)
    await huge_pmd_unshare(whole)
    await i_mmap_unlock(whole)
    await whole.invalidate_range_end()
    await whole.phase(Phase.OP_RETURN)
    await whole.mmap_write_unlock()
    await cpu.op_return()


async def run_huge_pmd_share(cpu: Cpu) -> None:
    """A fault that finds no table of level 2, as far as the table is concerned."""
    await cpu.lock_vma_under_rcu()
    if await cpu.vma_lookup():
        await huge_pte_alloc(cpu)
    await cpu.phase(Phase.OP_RETURN)
    await cpu.vma_end_read()
    await cpu.op_return()


async def huge_pte_alloc(cpu: Cpu) -> bool:
    """Have a table of level 2, as ``huge_pte_alloc()``; False where one was there already."""
    if not region_entry(cpu).shares_table or await pud_of(cpu):
        return False
    await cpu.call(HUGE_PMD_SHARE, huge_pmd_share)
    return True


async def huge_pmd_share(cpu: Cpu) -> None:
    """Under ``i_mmap``: take a share in the table of a mapping that is not about to go."""
    other = cpu.at(partner(cpu))
    await i_mmap_lock(cpu)
    shared = await get_shared_table(cpu, other) if await other.vma_lookup() else None
    await set_table(cpu, shared)
    await i_mmap_unlock(cpu)


async def set_table(cpu: Cpu, shared: int | None) -> None:
    """Lead to a shared table, or to an empty one; what another fault was first with is put."""
    table = await pte_alloc_one(cpu) if shared is None else shared
    await pud_lock(cpu)
    first = await pud_populate(cpu, table)
    await pud_unlock(cpu)
    if not first and shared is None:
        await pte_free(cpu, table)
    elif not first:
        await put_shared_table(cpu, table)


def partner(cpu: Cpu) -> int:
    """The location at which another address space maps the same page."""
    places, own = cpu.kslot.kernel.program.locations, cpu.site.index
    for index, place in enumerate(places):
        if place.mm != cpu.site.mm and (place.alias == own or places[own].alias == index):
            return index
    message = f"{cpu.site.name} is shared with nobody: say `X@other = share of {cpu.site.name}`"
    raise AssertionError(message)
