"""mremap: ``move_ptes()`` in mm/mremap.c (row 21 of the table).

The destination is set before the source is flushed, both under both page table locks: for a short
time a stale source and the destination lead to one page, and only the locks protect it. Left out:
``move_normal_pmd()`` (whole page-table pages), rmap locks, the destination's own range.
"""

from __future__ import annotations

from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.phases import Phase
from shootdown_daemon.machine.tlb_batch import flush_tlb_batched_pending
from shootdown_protocol.memory import pte_pfn, pte_present, pte_write

MOVE_PTES = (
    "move_ptes",
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


async def run_move_ptes(cpu: Cpu) -> None:
    """Move a mapping to where the scenario says: ``B = move of A``."""
    new = cpu.at(destination(cpu))
    await cpu.mmap_write_lock()
    permissions = await cpu.vma_lookup()
    await new.vm_flags_reset(permissions)
    await cpu.invalidate_range_start()
    await move_ptes(cpu, new)
    await cpu.invalidate_range_end()
    await cpu.vm_flags_reset(0)
    await cpu.phase(Phase.OP_RETURN)
    await cpu.mmap_write_unlock()
    await cpu.op_return(permissions=0)
    await new.op_return()


async def move_ptes(cpu: Cpu, new: Cpu) -> None:
    """Under both locks: clear the source, set the destination, then flush the source."""
    pte = await cpu.pte_offset_map_lock()
    if cpu.entry.lock != new.entry.lock:
        await new.pte_offset_map_lock()
    await flush_tlb_batched_pending(cpu)
    if pte_present(pte):
        old = await cpu.ptep_clear_flush()
        entry = await new.mk_pte(pte_pfn(old), writable=pte_write(old))
        await new.set_pte_at(entry, operating=cpu)
    if cpu.entry.lock != new.entry.lock:
        await new.spin_unlock()
    await cpu.pte_unmap_unlock()


def destination(cpu: Cpu) -> int:
    """The location that this one is moved to."""
    for index, place in enumerate(cpu.kslot.kernel.program.locations):
        if place.alias == cpu.site.index and place.mm == cpu.site.mm:
            return index
    message = f"{cpu.site.name} has nowhere to go: say `X = move of {cpu.site.name}`"
    raise AssertionError(message)
