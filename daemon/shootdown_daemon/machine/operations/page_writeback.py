"""Writing a file's page back: ``clear_page_dirty_for_io()`` and ``page_vma_mkclean_one()``.

Row 35 of the table. Left out: DAX, several pages to an I/O, and that a fault waits for the I/O
to end: it makes the page dirty again, so that it is written once more.
"""

from __future__ import annotations

from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.phases import Phase
from shootdown_protocol.memory import DIRTY, Pte, pte_pfn, pte_present, pte_write, pte_wrprotect

PAGE_VMA_MKCLEAN_ONE = (
    "page_vma_mkclean_one",
    (
        Phase.RANGE_START,
        Phase.BEFORE_CLEAR,
        Phase.CLEAR_FLUSH,
        Phase.AFTER_SET,
        Phase.AFTER_UNLOCK,
        Phase.RANGE_END,
        Phase.OP_RETURN,
    ),
)
"""The I/O lies between range_end and the return."""


async def run_page_vma_mkclean_one(cpu: Cpu) -> None:
    """``write_cache_pages()`` of one page: clean its entries, then write it to its block."""
    folio = await cpu.filemap_get_folio()
    if folio is not None:
        await cpu.folio_lock(folio)
        cleaned = [await page_vma_mkclean_one(place, folio) for place in cpu.rmap()]
        if any(cleaned):
            await cpu.folio_mark_dirty(folio)
        dirty = await cpu.folio_test_clear_dirty(folio)
        await cpu.folio_unlock(folio)
        if dirty:
            await cpu.folio_copy("submit_bio", await cpu.disk_block(), folio)
        await cpu.put_page(folio)
    await cpu.phase(Phase.OP_RETURN)
    await cpu.op_return()


async def page_vma_mkclean_one(cpu: Cpu, folio: int) -> bool:
    """Make one mapping of a page clean and read-only; says whether it was neither before."""
    cleaned = False
    await cpu.invalidate_range_start()
    pte = await cpu.pte_offset_map_lock()
    if pte_present(pte) and pte_pfn(pte) == folio and (pte & DIRTY or pte_write(pte)):
        old = await cpu.ptep_clear_flush()
        await cpu.set_pte_at(Pte(pte_wrprotect(old) & ~DIRTY))
        await cpu.pte_unmap_unlock()
        cleaned = True
    else:
        await cpu.spin_unlock()
    await cpu.invalidate_range_end()
    return cleaned
