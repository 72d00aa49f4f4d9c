"""KSM: ``replace_page()`` in mm/ksm.c (row 27 of the table).

Left out: the stable tree, the folio locks, and the write protection that went before.
"""

from __future__ import annotations

from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.phases import Phase
from shootdown_protocol.memory import Pte, pte_pfn, pte_present, pte_same, pte_write

REPLACE_PAGE = (
    "replace_page",
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


async def run_replace_page(cpu: Cpu) -> None:
    """Map the KSM page of the same content; the caller's reference outlives range_end.

    As ``try_to_merge_one_page()`` does, it compares a page that is write-protected: one that has
    become writable, or differs, is left alone.
    """
    await cpu.mmap_read_lock()
    orig_pte = await cpu.ptep_get_lockless()
    kpage = await cpu.get_ksm_page()
    protected = pte_present(orig_pte) and not pte_write(orig_pte)
    if protected and await cpu.pages_identical(pte_pfn(orig_pte), kpage):
        await replace_page(cpu, orig_pte, kpage)
    else:
        await cpu.put_page(kpage)
    await cpu.phase(Phase.OP_RETURN)
    await cpu.mmap_read_unlock()
    await cpu.op_return()


async def replace_page(cpu: Cpu, orig_pte: Pte, kpage: int) -> None:
    """Point the entry at ``kpage``, unless another CPU has changed it meanwhile."""
    entry = await cpu.mk_pte(kpage, writable=False)
    await cpu.invalidate_range_start()
    pte = await cpu.pte_offset_map_lock()
    if pte_same(pte, orig_pte):
        await cpu.ptep_clear_flush()
        await cpu.set_pte_at(entry)
        await cpu.pte_unmap_unlock()
        replaced: int = pte_pfn(orig_pte)
    else:
        await cpu.spin_unlock()
        replaced = kpage
    await cpu.invalidate_range_end()
    await cpu.put_page(replaced)
