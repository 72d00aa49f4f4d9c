"""Reclaim of a page: ``shrink_folio_list()`` in mm/vmscan.c, ``try_to_unmap()`` in mm/rmap.c.

Row 25 of the table. An anonymous page goes to a swap slot, a file's page to its block if it is
dirty; then it is freed. `run_try_to_unmap` unmaps with ``TTU_BATCH_FLUSH``, `run_try_to_unmap_one`
flushes entry by entry. Left out: large folios, the lists that pages age on, writeback that goes
on after the lock is dropped, batches of several pages and files' pages in one, and that x86 tells
secondary TLBs of the whole address space for each page of a batch.
"""

from __future__ import annotations

from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.phases import Phase
from shootdown_daemon.machine.tlb_batch import set_tlb_ubc_flush_pending
from shootdown_protocol.memory import DIRTY, pte_pfn, pte_present
from shootdown_protocol.program import State
from shootdown_protocol.swapops import SwapType, make_swap_pte

TRY_TO_UNMAP_ONE = (
    "try_to_unmap_one",
    (
        Phase.RANGE_START,
        Phase.BEFORE_CLEAR,
        Phase.CLEAR_FLUSH,
        Phase.AFTER_SET,
        Phase.AFTER_UNLOCK,
        Phase.RANGE_END,
        Phase.BEFORE_FREE,
        Phase.OP_RETURN,
    ),
)
"""The page is written out between range_end and the free, so `Phase.BEFORE_FREE` is too late."""
TRY_TO_UNMAP = ("try_to_unmap", TRY_TO_UNMAP_ONE[1])
"""`Phase.BEFORE_FREE` is ``try_to_unmap_flush_dirty()``, which comes before the page is written."""
ISOLATED_AND_CACHED = 2
"""References to an unmapped page that is being reclaimed: who isolated it, and its cache."""


MAPPED_AND_ISOLATED = 2
"""References to a mapped page that is being reclaimed: its mapping, and who isolated it."""


async def run_try_to_unmap_one(cpu: Cpu) -> None:
    """Write a page out and free it, unless somebody takes hold of it meanwhile."""
    pte = await cpu.folio_isolate_lru()
    if pte_present(pte):
        folio = pte_pfn(pte)
        if cpu.state is State.FILE:
            await _reclaim_file(cpu, folio)
        elif cpu.frees_lazily and await cpu.folio_test_lazyfree(folio):
            await _discard_lazyfree(cpu, folio)
        else:
            await _reclaim_anon(cpu, folio)
    await cpu.phase(Phase.OP_RETURN)
    await cpu.op_return()


async def run_try_to_unmap(cpu: Cpu) -> None:
    """Unmap with ``TTU_BATCH_FLUSH``: devices are told at once, the CPUs before the I/O.

    Whoever changes entries of the address space meanwhile flushes what is owed first.
    """
    pte = await cpu.folio_isolate_lru()
    if pte_present(pte):
        await _reclaim_batched(cpu, pte_pfn(pte))
    await cpu.phase(Phase.OP_RETURN)
    await cpu.op_return()


async def _reclaim_batched(cpu: Cpu, folio: int) -> None:
    """``try_to_unmap()``, ``try_to_unmap_flush_dirty()``, ``pageout()``, ``__remove_mapping()``."""
    slot = await cpu.folio_alloc_swap(folio)
    for place in cpu.rmap():
        await _unmap_batched(place, folio, slot)
    for place in cpu.rmap():
        await place.phase(Phase.BEFORE_FREE)
    await cpu.folio_copy("swap_writeout", slot, folio)
    await cpu.remove_mapping(folio, ("swap_cache", slot), ISOLATED_AND_CACHED)
    await cpu.folio_unlock(folio)
    await cpu.put_page(folio)


async def _unmap_batched(cpu: Cpu, folio: int, slot: int) -> None:
    """``try_to_unmap_one()`` where ``should_defer_flush()``: clear, and owe the CPUs' flush."""
    await cpu.invalidate_range_start()
    pte = await cpu.pte_offset_map_lock()
    if pte_present(pte) and pte_pfn(pte) == folio:
        await cpu.ptep_get_and_clear_deferred()
        await set_tlb_ubc_flush_pending(cpu)
        await cpu.swap_duplicate(slot)
        await cpu.set_pte_nonpresent(make_swap_pte(SwapType.SWAP, slot, writable=True))
        await cpu.put_page(folio)
        await cpu.pte_unmap_unlock()
    else:
        await cpu.spin_unlock()
    await cpu.invalidate_range_end()


async def _reclaim_anon(cpu: Cpu, folio: int) -> None:
    """``folio_alloc_swap()``, unmap, ``swap_writeout()``, ``__remove_mapping()``."""
    slot = await cpu.folio_alloc_swap(folio)
    for place in cpu.rmap():
        await try_to_unmap_one(place, folio, slot)
    await cpu.folio_copy("swap_writeout", slot, folio)
    await _remove_and_free(cpu, folio, ("swap_cache", slot))


async def _reclaim_file(cpu: Cpu, folio: int) -> None:
    """Unmap, ``pageout()`` if it is dirty, ``__remove_mapping()``."""
    for place in cpu.rmap():
        await try_to_unmap_one(place, folio)
    if await cpu.folio_test_clear_dirty(folio):
        await cpu.folio_copy("pageout", await cpu.disk_block(), folio)
    await _remove_and_free(cpu, folio, cpu.page_cache)


async def _discard_lazyfree(cpu: Cpu, folio: int) -> None:
    """Throw a page away that MADV_FREE has let go, unless it is dirty again or somebody has it."""
    await cpu.invalidate_range_start()
    pte = await cpu.pte_offset_map_lock()
    if pte_present(pte) and pte_pfn(pte) == folio:
        pte = await cpu.ptep_clear_lazyfree()
        held = not await cpu.folio_ref_freeze(folio, MAPPED_AND_ISOLATED)
        if not (held or pte & DIRTY):
            await cpu.phase(Phase.AFTER_SET)
            await cpu.put_page(folio)
        else:
            await cpu.set_pte_at(pte)
            await cpu.folio_set_swapbacked(folio)
        await cpu.pte_unmap_unlock()
    else:
        await cpu.spin_unlock()
    await cpu.invalidate_range_end()
    await cpu.folio_unlock(folio)
    await cpu.phase(Phase.BEFORE_FREE)
    await cpu.put_page(folio)


async def _remove_and_free(
    cpu: Cpu, folio: int, cache: tuple[str, int] | tuple[str, int, int]
) -> None:
    await cpu.remove_mapping(folio, cache, ISOLATED_AND_CACHED)
    await cpu.folio_unlock(folio)
    for place in cpu.rmap():
        await place.phase(Phase.BEFORE_FREE)
    await cpu.put_page(folio)


async def try_to_unmap_one(cpu: Cpu, folio: int, slot: int | None = None) -> None:
    """Take one mapping of a page away; what the entry knew of dirt goes to the page.

    With ``slot`` the entry then names that swap slot; else it stays empty, and `Phase.AFTER_SET` is
    announced where an entry would have been set.
    """
    await cpu.invalidate_range_start()
    pte = await cpu.pte_offset_map_lock()
    if pte_present(pte) and pte_pfn(pte) == folio:
        pte = await cpu.ptep_clear_flush()
        if slot is not None:
            await cpu.swap_duplicate(slot)
            await cpu.set_pte_nonpresent(make_swap_pte(SwapType.SWAP, slot, writable=True))
        else:
            await cpu.phase(Phase.AFTER_SET)
            if pte & DIRTY:
                await cpu.folio_mark_dirty(folio)
        await cpu.put_page(folio)
        await cpu.pte_unmap_unlock()
    else:
        await cpu.spin_unlock()
    await cpu.invalidate_range_end()
