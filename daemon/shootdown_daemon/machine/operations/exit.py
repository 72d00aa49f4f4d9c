"""The end of an address space: ``exit_mmap()`` in mm/mmap.c (row 13 of the table).

``mmu_notifier_release()`` comes first: the subscriber takes the PASID's root away and flushes all
of it; the unmapping that follows notifies nobody. The release is therefore what the discipline's
phases before and after a clearing are about. Nobody uses the address space any more
(``mm_users`` is 0), so no fault handler gets hold of it: here its mappings are without permission.
Left out: draining page requests (the PASID is not given out again), the page-table pages.
"""

from __future__ import annotations

from collections.abc import Awaitable

from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.phases import Phase
from shootdown_daemon.machine.region import PUD_SIZE
from shootdown_engine.store import Store
from shootdown_protocol.memory import NONE, Pte, pte_pfn, pte_present

EXIT_MMAP = (
    "exit_mmap",
    (
        Phase.BEFORE_CLEAR,
        Phase.CLEAR_FLUSH,
        Phase.RANGE_START,
        Phase.AFTER_UNLOCK,
        Phase.RANGE_END,
        Phase.BEFORE_FREE,
        Phase.OP_RETURN,
    ),
)


async def run_exit_mmap(cpu: Cpu) -> None:
    """Release the subscribers, then unmap and free everything that is mapped."""
    whole = cpu.reaching(PUD_SIZE)
    mappings = [cpu.at(location) for location in locations_of_mm(cpu)]
    await cpu.mmap_write_lock()
    for vma in mappings:
        await vma.vm_flags_reset(0)
    await mmu_notifier_release(whole)
    await whole.invalidate_range_start()
    gathered = [page for vma in mappings if (page := await clear_unnotified(vma)) is not None]
    await whole.phase(Phase.AFTER_UNLOCK)
    await whole.invalidate_range_end()
    await whole.phase(Phase.BEFORE_FREE)
    for page in gathered:
        await cpu.put_page(page)
    await whole.phase(Phase.OP_RETURN)
    await cpu.mmap_write_unlock()
    for vma in mappings:
        await vma.op_return(new_epoch=True, permissions=0)


async def mmu_notifier_release(whole: Cpu) -> None:
    """``mmu_notifier_release()``: what the IOMMU driver does, as ``intel_mm_release()``."""
    await whole.phase(Phase.BEFORE_CLEAR)
    await clear_pasid_entry(whole)
    await whole.phase(Phase.CLEAR_FLUSH)


def clear_pasid_entry(cpu: Cpu) -> Awaitable[None]:
    """``intel_pasid_tear_down_entry()``: no walk finds the PASID's root any more."""
    return cpu.step("pasid_clear_entry", clear_word, cpu.kslot.pasid_words[cpu.site.mm])


async def clear_unnotified(vma: Cpu) -> int | None:
    """Clear an entry under its lock, with nobody to notify; gives the page it mapped."""
    pte: Pte = await vma.pte_offset_map_lock()
    if pte_present(pte):
        await vma.ptep_get_and_clear_full()
    await vma.spin_unlock()
    return pte_pfn(pte) if pte_present(pte) else None


def clear_word(store: Store, word: int) -> None:
    """Clear an entry of the PASID table."""
    store.store(word, NONE)


def locations_of_mm(cpu: Cpu) -> list[int]:
    """Every location of the address space that the CPU stands in."""
    return [site.index for site in cpu.kslot.slot.sites if site.mm == cpu.site.mm]
