"""Unmapping: ``zap_pte_range()`` with a forced flush, and ``unmap_vmas()`` without one.

Rows 12, 14 and 15 of the table. Left out: rmap, several entries to a batch, and
that a forced flush of the kernel runs under the page table lock: here `Phase.BEFORE_FREE` is
announced just before the free, the latest moment that can still be called before it.
"""

from __future__ import annotations

from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.phases import Phase
from shootdown_daemon.machine.region import NO_TABLE
from shootdown_daemon.machine.tlb_batch import flush_tlb_batched_pending
from shootdown_protocol.memory import Pte, pte_pfn
from shootdown_protocol.swapops import SwapType, is_swap_pte, pte_none, swp_offset, swp_type

ZAP_PTE_RANGE = (
    "zap_pte_range",
    (
        Phase.RANGE_START,
        Phase.BEFORE_CLEAR,
        Phase.CLEAR_FLUSH,
        Phase.AFTER_UNLOCK,
        Phase.BEFORE_FREE,
        Phase.RANGE_END,
        Phase.OP_RETURN,
    ),
)
UNMAP_VMAS = (
    "unmap_vmas",
    (
        Phase.RANGE_START,
        Phase.BEFORE_CLEAR,
        Phase.CLEAR_FLUSH,
        Phase.AFTER_UNLOCK,
        Phase.RANGE_END,
        Phase.BEFORE_FREE,
        Phase.OP_RETURN,
    ),
)


async def run_zap_pte_range(cpu: Cpu) -> None:
    """MADV_DONTNEED whose gather is flushed by force: the page is freed before range_end."""
    await cpu.mmap_read_lock()
    await cpu.invalidate_range_start()
    gathered = await clear_entry(cpu)
    await cpu.phase(Phase.BEFORE_FREE)
    if gathered is not None:
        await cpu.put_page(gathered)
    await cpu.invalidate_range_end()
    await cpu.phase(Phase.OP_RETURN)
    await cpu.mmap_read_unlock()
    await cpu.op_return(new_epoch=True)


async def run_unmap_vmas(cpu: Cpu) -> None:
    """munmap: the gather is flushed and the page freed after range_end."""
    await cpu.mmap_write_lock()
    await cpu.vm_flags_reset(0)
    await cpu.invalidate_range_start()
    gathered = await clear_entry(cpu)
    await cpu.invalidate_range_end()
    await cpu.phase(Phase.BEFORE_FREE)
    if gathered is not None:
        await cpu.put_page(gathered)
    await cpu.phase(Phase.OP_RETURN)
    await cpu.mmap_write_unlock()
    await cpu.op_return(new_epoch=True, permissions=0)


async def clear_entry(cpu: Cpu) -> int | None:
    """Clear the entry under the lock; gives the page number taken into the gather, if any."""
    cpu, pte = await cpu.pte_offset_map_lock_kept()
    await flush_tlb_batched_pending(cpu)
    if is_swap_pte(pte):
        return await _zap_nonpresent(cpu, pte)
    if pte_none(pte) or pte == NO_TABLE:
        await cpu.spin_unlock()
        return None
    await cpu.ptep_get_and_clear()
    await cpu.pte_unmap_unlock()
    return pte_pfn(pte)


async def _zap_nonpresent(cpu: Cpu, pte: Pte) -> int | None:
    """``zap_nonpresent_ptes()``: give up a swap slot, or the page that the entry keeps."""
    await cpu.zap_nonpresent()
    kind, kept = swp_type(pte), None
    if kind is SwapType.SWAP:
        await cpu.swap_free(swp_offset(pte))
    elif kind is not SwapType.MIGRATION:
        kept = swp_offset(pte)
    await cpu.spin_unlock()
    return kept
