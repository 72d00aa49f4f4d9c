"""KSM: ``write_protect_page()`` and ``replace_page()`` in mm/ksm.c (rows 26 and 27 of the table).

A page that is write-protected is compared with one of the stable tree and replaced by it if they
are identical. Merging is undone by the write fault, which copies (``wp_page_copy()``).
Left out: the stable and unstable trees, and the reverse map of a merged page.
"""

from __future__ import annotations

from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.phases import Phase
from shootdown_protocol.memory import (
    NONE,
    Pte,
    pte_pfn,
    pte_present,
    pte_same,
    pte_write,
    pte_wrprotect,
)

_PHASES = (
    Phase.RANGE_START,
    Phase.BEFORE_CLEAR,
    Phase.CLEAR_FLUSH,
    Phase.AFTER_SET,
    Phase.AFTER_UNLOCK,
    Phase.RANGE_END,
    Phase.OP_RETURN,
)
WRITE_PROTECT_PAGE = ("write_protect_page", _PHASES)
"""The comparison lies between range_end and the return, which is that of the whole merge."""
REPLACE_PAGE = ("replace_page", _PHASES)
MAPPED_AND_HELD = 2
"""References to a page that may be merged: its mapping, and who merges it."""


async def run_write_protect_page(cpu: Cpu) -> None:
    """``try_to_merge_one_page()``: write-protect a page, compare it, replace it if identical.

    The kernel holds ``mmap_lock`` for reading, so that a write fault may copy the page beside it;
    that is the scenario's option ``mmap_lock read``.
    """
    await cpu.mmap_change_lock()
    kpage = await cpu.get_ksm_page()
    pte = await cpu.folio_isolate_lru()
    if pte_present(pte):
        folio = pte_pfn(pte)
        protected = await write_protect_page(cpu, folio)
        if pte_present(protected) and await cpu.pages_identical(folio, kpage):
            await replace_page(cpu.within(*REPLACE_PAGE), protected, kpage)
        else:
            await cpu.put_page(kpage)
        await cpu.folio_unlock(folio)
        await cpu.put_page(folio)
    else:
        await cpu.put_page(kpage)
    await cpu.phase(Phase.OP_RETURN)
    await cpu.mmap_change_unlock()
    await cpu.op_return()


async def write_protect_page(cpu: Cpu, folio: int) -> Pte:
    """Make the mapping read-only unless the page is pinned; gives the entry, none if it is."""
    await cpu.invalidate_range_start()
    protected = pte = await cpu.pte_offset_map_lock()
    if not pte_present(pte) or pte_pfn(pte) != folio:
        protected = NONE
        await cpu.spin_unlock()
    elif pte_write(pte):
        old = await cpu.ptep_clear_flush()
        if await cpu.folio_ref_freeze(folio, MAPPED_AND_HELD):
            protected = pte_wrprotect(old)
            await cpu.set_pte_at(protected)
        else:
            protected = NONE
            await cpu.set_pte_at(old)
        await cpu.pte_unmap_unlock()
    else:
        await cpu.spin_unlock()
    await cpu.invalidate_range_end()
    return protected


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
