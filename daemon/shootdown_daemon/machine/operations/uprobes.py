"""Probes in text: kernel/events/uprobes.c (row 28 of the table).

``uprobe_write()`` changes an instruction in place while the entry is clear; removing a probe drops
the private page where it is again what the file holds (``set_orig_insn()``). Kernels up to 6.12
replaced the page by a changed copy (``__replace_page()``). Text is mapped read-only, so that only
the kernel writes it. Left out: consumers, single-stepping, several instructions to a page.
"""

from __future__ import annotations

from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.phases import Phase
from shootdown_protocol.memory import pte_pfn, pte_present, pte_same

_PHASES = (
    Phase.RANGE_START,
    Phase.BEFORE_CLEAR,
    Phase.CLEAR_FLUSH,
    Phase.AFTER_SET,
    Phase.AFTER_UNLOCK,
    Phase.RANGE_END,
    Phase.OP_RETURN,
)
UPROBE_WRITE = ("uprobe_write", _PHASES)
SET_ORIG_INSN = ("set_orig_insn", _PHASES)
REPLACE_PAGE_OF_PROBE = ("__replace_page", _PHASES)


async def run_uprobe_write(cpu: Cpu) -> None:
    """``set_swbp()``: write a breakpoint into the page while its entry is clear."""
    await cpu.mmap_write_lock()
    await cpu.invalidate_range_start()
    pte = await cpu.pte_offset_map_lock()
    if pte_present(pte):
        old = await cpu.ptep_clear_flush()
        await cpu.copy_to_page(pte_pfn(pte))
        await cpu.set_pte_at(old)
        await cpu.pte_unmap_unlock()
    else:
        await cpu.spin_unlock()
    await cpu.invalidate_range_end()
    await cpu.phase(Phase.OP_RETURN)
    await cpu.mmap_write_unlock()
    await cpu.op_return()


async def run_set_orig_insn(cpu: Cpu) -> None:
    """Remove a probe: drop the private page if it is what the file holds; the caller frees it.

    The instruction lies beside the location's word, so that the page is as the file has it.
    """
    await cpu.mmap_write_lock()
    orig = await cpu.filemap_get_folio()
    assert orig is not None
    await cpu.invalidate_range_start()
    pte = await cpu.pte_offset_map_lock()
    dropped = False
    if pte_present(pte) and pte_pfn(pte) != orig:
        old = await cpu.ptep_clear_flush()
        dropped = await cpu.pages_identical(pte_pfn(pte), orig)
        if dropped:
            await cpu.phase(Phase.AFTER_SET)
        else:
            await cpu.set_pte_at(old)
        await cpu.pte_unmap_unlock()
    else:
        await cpu.spin_unlock()
    await cpu.invalidate_range_end()
    await cpu.put_page(orig)
    if dropped:
        await cpu.put_page(pte_pfn(pte))
    await cpu.phase(Phase.OP_RETURN)
    await cpu.mmap_write_unlock()
    await cpu.op_return()


async def run_replace_page_of_probe(cpu: Cpu) -> None:
    """``uprobe_write_opcode()`` up to 6.12: map a copy of the page with the breakpoint in it."""
    await cpu.mmap_write_lock()
    orig_pte = await cpu.ptep_get_lockless()
    if pte_present(orig_pte):
        old = pte_pfn(orig_pte)
        new = await cpu.alloc_page()
        await cpu.copy_user_page(new, old)
        version = await cpu.copy_to_new_page(new)
        entry = await cpu.mk_pte(new, writable=False)
        await cpu.invalidate_range_start()
        pte = await cpu.pte_offset_map_lock()
        assert pte_same(pte, orig_pte)
        await cpu.ptep_clear_flush()
        await cpu.set_pte_published(entry, version)
        await cpu.pte_unmap_unlock()
        await cpu.invalidate_range_end()
        await cpu.put_page(old)
    await cpu.phase(Phase.OP_RETURN)
    await cpu.mmap_write_unlock()
    await cpu.op_return()
