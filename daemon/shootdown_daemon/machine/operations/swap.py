"""Faults on entries that are neither present nor empty: ``do_swap_page()`` in mm/memory.c.

Rows 6 and 24 of the table: an entry is filled in and nobody needs to be told. Left out:
read-ahead, large folios, memory control groups, and reads that fail.
"""

from __future__ import annotations

from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.operations.device_exclusive import remove_device_exclusive_entry
from shootdown_daemon.machine.operations.migrate_device import migrate_to_ram
from shootdown_daemon.machine.phases import Phase
from shootdown_protocol.board import WRITE
from shootdown_protocol.memory import Pte, pte_same
from shootdown_protocol.swapops import SwapType, is_swap_pte, swp_offset, swp_type, swp_write

DO_SWAP_PAGE = ("do_swap_page", (Phase.OP_RETURN,))
"""Nothing was mapped, so nobody needs to be told: no earlier phase can be bound."""


async def do_swap_page(cpu: Cpu, orig_pte: Pte, permissions: int) -> None:
    """Do what the entry that was met asks for; the access is then attempted again.

    ``permissions`` are those of the mapping.
    """
    kind = swp_type(orig_pte)
    if kind is SwapType.MIGRATION:
        await cpu.migration_entry_wait(orig_pte)
    elif kind is SwapType.SWAP:
        await _swap_in(cpu, orig_pte, writable=bool(permissions & WRITE))
    elif kind is SwapType.DEVICE_PRIVATE:
        await migrate_to_ram(cpu, orig_pte)
    elif kind is SwapType.DEVICE_EXCLUSIVE:
        await remove_device_exclusive_entry(cpu, orig_pte)


async def _swap_in(cpu: Cpu, orig_pte: Pte, *, writable: bool) -> None:
    """Map the page that caches the slot, else one that is read from it."""
    slot = swp_offset(orig_pte)
    cached = await cpu.swap_cache_get_folio(slot)
    if cached is None:
        folio = await cpu.alloc_page()
        await cpu.folio_copy("swap_read_folio", folio, slot)
        await _map_swapped(cpu, orig_pte, folio, writable=writable)
        return
    await cpu.folio_lock(cached)
    if await cpu.folio_matches_swap_entry(slot, cached):
        if await _map_swapped(cpu, orig_pte, cached, writable=writable):
            await cpu.folio_free_swap(slot, cached)
        await cpu.folio_unlock(cached)
    else:  # It was reclaimed while its lock was waited for.
        await cpu.folio_unlock(cached)
        await cpu.put_page(cached)


async def _map_swapped(cpu: Cpu, orig_pte: Pte, folio: int, *, writable: bool) -> bool:
    """Map a page in the place of its swap entry, unless that has gone; says whether it did.

    The caller's reference becomes the mapping's.
    """
    entry = await cpu.mk_pte(folio, writable=writable and swp_write(orig_pte))
    pte = await cpu.pte_offset_map_lock()
    if pte_same(pte, orig_pte):
        await cpu.swap_free(swp_offset(orig_pte))
        await cpu.set_pte_at(entry)
        await cpu.pte_unmap_unlock()
        return True
    await cpu.spin_unlock()
    await cpu.put_page(folio)
    return False


async def run_do_swap_page(cpu: Cpu) -> None:
    """The fault on a page that lies in swap, from the fault's entry to its return."""
    await cpu.mmap_read_lock()
    pte = await cpu.ptep_get_lockless()
    if is_swap_pte(pte):
        await do_swap_page(cpu, pte, await cpu.vma_lookup())
    await cpu.phase(Phase.OP_RETURN)
    await cpu.mmap_read_unlock()
    await cpu.op_return()
