"""hugetlb mappings: fork, mprotect and mremap, in mm/hugetlb.c (rows 8, 11 and 22 of the table).

As the operations on small pages, with the entry one level up. mprotect flushes, and mremap flushes
once for all, after the page table lock but before ``i_mmap`` is dropped. Left out: what
`shootdown_daemon.machine.operations.hugetlb` leaves out, pinned pages, migration entries.
"""

from __future__ import annotations

from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.file_lock import i_mmap_lock, i_mmap_unlock
from shootdown_daemon.machine.operations.mremap import destination
from shootdown_daemon.machine.phases import Phase
from shootdown_daemon.machine.pmd import (
    first_page,
    mk_huge_pmd,
    pmd_lock,
    pmd_unlock,
    pmd_unlock_changed,
    pmdp_huge_clear_flush,
    pmdp_set_wrprotect,
    region_entry,
    set_pmd_at,
    whole_region,
)
from shootdown_protocol.board import READ
from shootdown_protocol.memory import pte_present, pte_write, pte_wrprotect

_PHASES = (
    Phase.RANGE_START,
    Phase.BEFORE_CLEAR,
    Phase.CLEAR_FLUSH,
    Phase.AFTER_SET,
    Phase.AFTER_UNLOCK,
    Phase.RANGE_END,
    Phase.OP_RETURN,
)
COPY_HUGETLB_PAGE_RANGE = ("copy_hugetlb_page_range", _PHASES)
HUGETLB_CHANGE_PROTECTION = ("hugetlb_change_protection", _PHASES)
MOVE_HUGETLB_PAGE_TABLES = ("move_hugetlb_page_tables", _PHASES)


async def run_copy_hugetlb_page_range(cpu: Cpu) -> None:
    """fork: write-protect the parent's entry and give the child a copy of it."""
    places = cpu.kslot.kernel.program.locations
    children = [i for i, place in enumerate(places) if place.parent == cpu.site.index]
    assert children, f"{cpu.site.name} has no child: say `X@child = child of {cpu.site.name}`"
    whole, child = whole_region(cpu), whole_region(cpu.at(children[0]))
    await whole.mmap_change_lock()
    await whole.invalidate_range_start()
    pmd = await pmd_lock(whole)
    if pte_present(pmd):
        await pmd_lock(child)
        await whole.get_page(first_page(whole, pmd))
        old = await pmdp_set_wrprotect(whole)
        await set_pmd_at(child, pte_wrprotect(old), operating=whole)
        await pmd_unlock(child)
        await pmd_unlock_changed(whole)
    else:
        await pmd_unlock(whole)
    await whole.invalidate_range_end()
    await whole.phase(Phase.OP_RETURN)
    await whole.mmap_change_unlock()
    await cpu.fork_return(children[0])


async def run_hugetlb_change_protection(cpu: Cpu) -> None:
    """mprotect(PROT_READ): what is flushed after the loop is flushed before range_end."""
    whole = whole_region(cpu)
    await whole.mmap_change_lock()
    if not cpu.lets_faults_in:
        await cpu.vm_flags_reset(READ)
    await i_mmap_lock(whole)
    await whole.invalidate_range_start()
    pmd = await pmd_lock(whole)
    if pte_present(pmd):
        old = await pmdp_huge_clear_flush(whole)
        await set_pmd_at(whole, pte_wrprotect(old))
        await pmd_unlock_changed(whole)
    else:
        await pmd_unlock(whole)
    await i_mmap_unlock(whole)
    await whole.invalidate_range_end()
    await whole.phase(Phase.OP_RETURN)
    await whole.mmap_change_unlock()
    await cpu.op_return(permissions=None if cpu.lets_faults_in else READ)


async def run_move_hugetlb_page_tables(cpu: Cpu) -> None:
    """mremap: move the entry; one flush after the loop, while ``i_mmap`` keeps truncation out."""
    new = cpu.at(destination(cpu))
    whole = whole_region(cpu)
    await whole.mmap_write_lock()
    await new.vm_flags_reset(await cpu.vma_lookup())
    await i_mmap_lock(whole)
    await whole.invalidate_range_start()
    await _move_huge_pte(whole, new)
    await whole.invalidate_range_end()
    await i_mmap_unlock(whole)
    await cpu.vm_flags_reset(0)
    await whole.phase(Phase.OP_RETURN)
    await whole.mmap_write_unlock()
    await cpu.op_return(permissions=0)
    await new.op_return()


async def _move_huge_pte(whole: Cpu, new: Cpu) -> None:
    """``move_huge_pte()``: clear the source, set the destination, drop the lock."""
    assert region_entry(whole).pmd_lock == region_entry(new).pmd_lock
    pmd = await pmd_lock(whole)
    if pte_present(pmd):
        old = await pmdp_huge_clear_flush(whole)
        entry = await mk_huge_pmd(new, first_page(whole, old), writable=pte_write(old))
        await set_pmd_at(new, entry, operating=whole)
        await pmd_unlock_changed(whole)
    else:
        await pmd_unlock(whole)
