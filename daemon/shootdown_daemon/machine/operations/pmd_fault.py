"""What a fault does one level up: ``__handle_mm_fault()`` in mm/memory.c, above the page table.

Left out: PUD leaves, THP on first touch (a page-table page is always taken), NUMA hinting.
"""

from __future__ import annotations

from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.operations.huge_memory import (
    DO_HUGE_PMD_WP_PAGE,
    DO_HUGE_ZERO_WP_PMD,
    do_huge_pmd_wp_page,
    do_huge_zero_wp_pmd,
)
from shootdown_daemon.machine.operations.hugetlb import (
    HUGETLB_NO_PAGE,
    HUGETLB_WP,
    hugetlb_no_page,
    hugetlb_wp,
)
from shootdown_daemon.machine.operations.hugetlb_share import huge_pte_alloc
from shootdown_daemon.machine.operations.pgtable import pte_alloc
from shootdown_daemon.machine.phases import Phase
from shootdown_daemon.machine.pmd import (
    find_get_folio,
    find_get_page,
    first_page,
    mk_huge_pmd,
    pmd_lock,
    pmd_unlock,
    pmdp_get_lockless,
    region_entry,
    set_pmd_at,
    whole_region,
)
from shootdown_daemon.machine.region import pmd_leaf, pmd_none
from shootdown_protocol.memory import Pte, pte_present, pte_write
from shootdown_protocol.program import GIGANTIC_STATES, State

DO_SET_PMD = ("do_set_pmd", (Phase.OP_RETURN,))
"""Nothing was mapped, so nobody needs to be told."""
DO_SET_PTE = ("set_pte_range", (Phase.OP_RETURN,))
"""Nothing was mapped here either."""
_HUGETLB = (State.HUGETLB, State.HUGETLB_COW, *GIGANTIC_STATES)


async def handle_pmd_fault(cpu: Cpu, *, write: bool) -> bool:
    """Whether the fault is over at the PMD entry; otherwise its page-table page is there.

    Nothing can be done in a table that has been freed: the access goes there again.
    """
    pmd = await pmdp_get_lockless(cpu)
    if region_entry(cpu).pmd_bad(pmd):
        return True
    if pmd_none(pmd):
        return await _fill(cpu)
    if not pmd_leaf(pmd):
        return home_state(cpu) is State.FILE_THP and await do_set_pte(cpu.within(*DO_SET_PTE))
    if not pte_present(pmd):  # It is being split: wait until that is over.
        await pmd_lock(cpu)
        await pmd_unlock(cpu)
    elif write and not pte_write(pmd):
        await _write_fault(cpu, pmd)
    return True


async def _fill(cpu: Cpu) -> bool:
    state = home_state(cpu)
    if state in _HUGETLB:
        if await huge_pte_alloc(cpu):
            return True
        await hugetlb_no_page(cpu.within(*HUGETLB_NO_PAGE))
        return True
    if state is State.FILE_THP:
        await do_set_pmd(cpu.within(*DO_SET_PMD))
        return True
    await pte_alloc(cpu)
    return False


async def _write_fault(cpu: Cpu, pmd: Pte) -> None:
    if home_state(cpu) in _HUGETLB:
        await hugetlb_wp(cpu.within(*HUGETLB_WP), pmd)
    elif first_page(cpu, pmd) == cpu.zero_pfn:
        await do_huge_zero_wp_pmd(cpu.within(*DO_HUGE_ZERO_WP_PMD), pmd)
    else:
        await do_huge_pmd_wp_page(cpu.within(*DO_HUGE_PMD_WP_PAGE), pmd)


async def do_set_pmd(cpu: Cpu) -> None:
    """Map a 2 MiB folio of the page cache by one entry, as ``do_set_pmd()``."""
    whole = whole_region(cpu)
    page = await find_get_folio(whole)
    entry = await mk_huge_pmd(whole, page, writable=True)
    pmd = await pmd_lock(whole)
    if pmd_none(pmd):
        await set_pmd_at(whole, entry)
        await pmd_unlock(whole)
        return
    await pmd_unlock(whole)
    await whole.put_page(page)


async def do_set_pte(cpu: Cpu) -> bool:
    """Map one page of a folio by an entry, as ``set_pte_range()``; False where one was already."""
    pte = await cpu.ptep_get_lockless()
    if pte_present(pte):
        return False
    page = await find_get_page(cpu)
    entry = await cpu.mk_pte(page, writable=True)
    if await cpu.pte_offset_map_lock():
        await cpu.spin_unlock()
        await cpu.put_page(page)
        return True
    await cpu.set_pte_at(entry)
    await cpu.spin_unlock()
    return True


def home_state(cpu: Cpu) -> State:
    """How the location's mapping began; of another address of one, how that one's did."""
    places = cpu.kslot.kernel.program.locations
    place = places[cpu.site.index]
    for home in (place.alias, place.parent):
        if home >= 0:
            return places[home].state
    return place.state
