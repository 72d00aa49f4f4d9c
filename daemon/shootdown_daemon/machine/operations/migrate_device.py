"""Migration to a device's memory: mm/migrate_device.c (rows 38 and 39 of the table).

``migrate_vma_collect()`` puts a migration entry in the place of the page; the driver copies after
range_end, and a device-private entry takes its place. A CPU that meets that brings the page back
(``migrate_to_ram()``). ``migrate_vma_insert_page()`` puts a device's page where the zero page was.
Left out: several pages, the owner that ignores its own notifications, pages of files.
"""

from __future__ import annotations

from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.operations.migrate import ISOLATED, REMOVE_MIGRATION_PTE
from shootdown_daemon.machine.phases import Phase
from shootdown_protocol.memory import Pte, pte_pfn, pte_present, pte_same, pte_write
from shootdown_protocol.swapops import (
    SwapType,
    make_swap_pte,
    pte_none,
    swp_offset,
    swp_type,
    swp_write,
)

MIGRATE_VMA_COLLECT = (
    "migrate_vma_collect",
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
"""The driver copies between range_end and the free, so `Phase.BEFORE_FREE` is too late."""
MIGRATE_VMA_INSERT_PAGE = (
    "migrate_vma_insert_page",
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


async def run_migrate_vma_collect(cpu: Cpu) -> None:
    """``migrate_vma_setup()``, the driver's copy, ``migrate_vma_pages()`` and ``_finalize()``."""
    await cpu.mmap_read_lock()
    isolated = await cpu.folio_isolate_lru()
    if pte_present(isolated):
        await _migrate(cpu, pte_pfn(isolated))
    await cpu.phase(Phase.OP_RETURN)
    await cpu.mmap_read_unlock()
    await cpu.op_return()


async def _migrate(cpu: Cpu, old: int) -> None:
    await _collect(cpu, old)
    moved = await cpu.folio_ref_freeze(old, ISOLATED)
    new = old
    if moved:
        new = await cpu.alloc_page()
        await cpu.folio_copy("copy_to_device", new, old)
    await _finalize(cpu.within(*REMOVE_MIGRATION_PTE), old, new)
    await cpu.folio_unlock(old)
    if moved:
        await cpu.phase(Phase.BEFORE_FREE)
    await cpu.put_page(old)


async def _collect(cpu: Cpu, old: int) -> None:
    """``migrate_vma_collect_pmd()``: a migration entry in the place of the page."""
    await cpu.invalidate_range_start()
    pte = await cpu.pte_offset_map_lock()
    if pte_present(pte) and pte_pfn(pte) == old:
        await cpu.ptep_clear_flush()
        entry = make_swap_pte(SwapType.MIGRATION, old, writable=pte_write(pte))
        await cpu.set_pte_nonpresent(entry)
        await cpu.put_page(old)
        await cpu.pte_unmap_unlock()
    else:
        await cpu.spin_unlock()
    await cpu.invalidate_range_end()


async def _finalize(cpu: Cpu, old: int, new: int) -> None:
    """Name the device's page in the entry; or map the old one again, which could not be moved."""
    pte = await cpu.pte_offset_map_lock()
    if swp_type(pte) is SwapType.MIGRATION and swp_offset(pte) == old:
        if new == old:
            await cpu.get_page(old)
            await cpu.set_pte_at(await cpu.mk_pte(old, writable=swp_write(pte)))
        else:
            entry = make_swap_pte(SwapType.DEVICE_PRIVATE, new, writable=swp_write(pte))
            await cpu.replace_nonpresent(entry)
    await cpu.spin_unlock()


async def migrate_to_ram(cpu: Cpu, orig_pte: Pte) -> None:
    """Bring a page back from a device, as its driver's ``migrate_to_ram()`` does."""
    new = await cpu.alloc_page()
    held = swp_offset(orig_pte)
    await cpu.folio_copy("copy_from_device", new, held)
    entry = await cpu.mk_pte(new, writable=swp_write(orig_pte))
    pte = await cpu.pte_offset_map_lock()
    same = pte_same(pte, orig_pte)
    if same:
        await cpu.set_pte_at(entry)
    await cpu.spin_unlock()
    await cpu.put_page(held if same else new)


async def run_migrate_vma_insert_page(cpu: Cpu) -> None:
    """Put a zeroed page of the device where nothing or the zero page was mapped."""
    await cpu.mmap_read_lock()
    new = await cpu.alloc_page()
    await cpu.clear_user_page(new)
    entry = await cpu.mk_pte(new, writable=True)
    await cpu.invalidate_range_start()
    pte = await cpu.pte_offset_map_lock()
    zero = pte_present(pte) and pte_pfn(pte) == cpu.zero_pfn
    if zero:
        await cpu.ptep_clear_flush()
    inserted = zero or pte_none(pte)
    if inserted:
        await cpu.set_pte_at(entry)
        await cpu.pte_unmap_unlock()
    else:
        await cpu.spin_unlock()
    await cpu.invalidate_range_end()
    if not inserted:
        await cpu.put_page(new)
    await cpu.phase(Phase.OP_RETURN)
    await cpu.mmap_read_unlock()
    await cpu.op_return()
