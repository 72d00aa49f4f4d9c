"""Faults on pages of a shared file mapping: ``do_fault()`` and ``wp_page_shared()`` in mm/memory.c.

Rows 5 and 6 of the table, for files: a page is dirty from the write fault on that made its entry
writable. Left out: writing to private file mappings, read-ahead, waiting for writeback, truncation.
"""

from __future__ import annotations

from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.phases import Phase
from shootdown_protocol.memory import Pte, pte_pfn, pte_same
from shootdown_protocol.swapops import pte_none

DO_FAULT = ("do_fault", (Phase.OP_RETURN,))
"""Nothing was mapped, so nobody needs to be told: no earlier phase can be bound."""
WP_PAGE_SHARED = ("wp_page_shared", (Phase.OP_RETURN,))
"""A permission only grows, so nobody needs to be told: no earlier phase can be bound."""


async def do_fault(cpu: Cpu, *, write: bool) -> None:
    """Map the page that caches the location, reading it from its file if there is none."""
    folio = await cpu.filemap_get_folio()
    if folio is None:
        folio = await cpu.alloc_page()
        await cpu.folio_copy("read_folio", folio, await cpu.disk_block())
        if not await cpu.filemap_add_folio(folio):
            await cpu.put_page(folio)
            return
    await cpu.folio_lock(folio)
    if not await cpu.folio_is_mapping(folio):  # It was reclaimed while its lock was waited for.
        await cpu.folio_unlock(folio)
        await cpu.put_page(folio)
        return
    entry = await cpu.mk_pte(folio, writable=write)
    pte = await cpu.pte_offset_map_lock()
    mapped = pte_none(pte)
    if mapped:
        await cpu.set_pte_at(entry)
    await cpu.spin_unlock()
    await cpu.folio_unlock(folio)
    if not mapped:
        await cpu.put_page(folio)


async def do_read_fault(cpu: Cpu) -> None:
    """Map the page of a file read-only in a private mapping, as ``do_read_fault()``."""
    folio = await cpu.filemap_get_folio()
    assert folio is not None
    entry = await cpu.mk_pte(folio, writable=False)
    pte = await cpu.pte_offset_map_lock()
    mapped = pte_none(pte)
    if mapped:
        await cpu.set_pte_at(entry)
    await cpu.spin_unlock()
    if not mapped:
        await cpu.put_page(folio)


async def wp_page_shared(cpu: Cpu, orig_pte: Pte) -> None:
    """Make a clean page of a file writable and dirty, after ``page_mkwrite()``; under its lock."""
    folio = pte_pfn(orig_pte)
    pte = await cpu.pte_offset_map_lock()
    same = pte_same(pte, orig_pte)
    if same:
        await cpu.get_page(folio)
    await cpu.spin_unlock()
    if not same:  # Another CPU was here first.
        return
    await cpu.folio_lock(folio)
    pte = await cpu.pte_offset_map_lock()
    if pte_same(pte, orig_pte):
        await cpu.ptep_set_access_flags()
    await cpu.spin_unlock()
    await cpu.folio_unlock(folio)
    await cpu.put_page(folio)
