"""userfaultfd: ``uffd_wp_range()``, ``move_pages_ptes()`` in mm/userfaultfd.c (rows 10 and 36).

Left out: the message to a monitor (it is UFFD_FEATURE_WP_ASYNC, where a write fault resolves the
protection by itself, and UFFD_FEATURE_SIGBUS, where a fault on a hole is refused), more than one
entry, and 2 MiB pages.
"""

from __future__ import annotations

from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.operations.mprotect import wrprotect_pte
from shootdown_daemon.machine.operations.mremap import destination
from shootdown_daemon.machine.phases import Phase
from shootdown_protocol.memory import pte_pfn, pte_present, pte_write

UFFD_WP_RANGE = (
    "uffd_wp_range",
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
MOVE_PAGES_PTES = ("move_pages_ptes", UFFD_WP_RANGE[1])
MAPPED_AND_HELD = 2
"""References to a page that may be moved: its mapping, and who moves it."""


async def run_uffd_wp_range(cpu: Cpu) -> None:
    """UFFDIO_WRITEPROTECT: faults may run beside it, and copy only after flushing themselves.

    ``tlb_gather_mmu()`` says that a flush is pending; a write fault that sees it flushes before it
    copies (``do_wp_page()``).
    """
    await cpu.mmap_read_lock()
    await cpu.inc_tlb_flush_pending()
    await cpu.invalidate_range_start()
    await wrprotect_pte(cpu)
    await cpu.invalidate_range_end()
    await cpu.phase(Phase.OP_RETURN)
    await cpu.dec_tlb_flush_pending()
    await cpu.mmap_read_unlock()
    await cpu.op_return()


async def run_move_pages_ptes(cpu: Cpu) -> None:
    """UFFDIO_MOVE of a page to where the scenario says: ``B = move of A``.

    Faults may run beside it: ``mmap_lock`` is held for reading. The source is a hole afterwards.
    The page is locked until just before range_end, so that no reclaim comes between.
    """
    new = cpu.at(destination(cpu))
    await cpu.mmap_read_lock()
    await new.vm_flags_reset(await cpu.vma_lookup())
    isolated = await cpu.folio_isolate_lru()
    moved = False
    if pte_present(isolated):
        folio = pte_pfn(isolated)
        await cpu.invalidate_range_start()
        moved = await _move_present_ptes(cpu, new, folio)
        await cpu.folio_unlock(folio)
        await cpu.put_page(folio)
        await cpu.invalidate_range_end()
    await cpu.phase(Phase.OP_RETURN)
    await cpu.mmap_read_unlock()
    await cpu.op_return(permissions=0 if moved else None)
    await new.op_return()


async def _move_present_ptes(cpu: Cpu, new: Cpu, folio: int) -> bool:
    """Clear the source, set the destination, flush the source, under both locks.

    A page that is pinned goes back; says whether it was moved.
    """
    moved = False
    pte = await cpu.pte_offset_map_lock()
    if cpu.entry.lock != new.entry.lock:
        await new.pte_offset_map_lock()
    if pte_present(pte) and pte_pfn(pte) == folio:
        old = await cpu.ptep_clear_flush()
        moved = await cpu.folio_ref_freeze(folio, MAPPED_AND_HELD)
        if moved:
            entry = await new.mk_pte(folio, writable=pte_write(old))
            await new.set_pte_at(entry, operating=cpu)
        else:
            await cpu.set_pte_at(old)
    if cpu.entry.lock != new.entry.lock:
        await new.spin_unlock()
    await cpu.pte_unmap_unlock()
    return moved
