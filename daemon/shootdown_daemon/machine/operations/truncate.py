"""Truncation and hole punching: ``unmap_mapping_range()`` in mm/memory.c (row 14 of the table).

It comes by way of the file, under ``i_mmap`` and without any mmap_lock. Left out: rmap, the page
cache's own side of a truncation; ``i_mmap`` is held exclusively, the kernel holds it for reading.
"""

from __future__ import annotations

from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.file_lock import i_mmap_lock, i_mmap_unlock
from shootdown_daemon.machine.operations.zap import clear_entry
from shootdown_daemon.machine.phases import Phase
from shootdown_daemon.machine.pmd import (
    first_page,
    pmd_lock,
    pmd_unlock,
    pmd_unlock_changed,
    pmdp_huge_get_and_clear,
    put_hugepage,
    whole_region,
)
from shootdown_daemon.machine.region import pmd_leaf

UNMAP_MAPPING_RANGE = (
    "unmap_mapping_range",
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


async def run_unmap_mapping_range(cpu: Cpu) -> None:
    """Unmap one page of a file, of 4 KiB or 2 MiB, and free it after the gather's flush."""
    await i_mmap_lock(cpu)
    if cpu.entry.moves and await unmap_huge(whole_region(cpu)):
        await i_mmap_unlock(cpu)
    else:
        await cpu.invalidate_range_start()
        gathered = await clear_entry(cpu)
        await cpu.invalidate_range_end()
        await cpu.phase(Phase.BEFORE_FREE)
        if gathered is not None:
            await cpu.put_page(gathered)
        await i_mmap_unlock(cpu)
    await cpu.phase(Phase.OP_RETURN)
    await cpu.op_return(new_epoch=True)


async def unmap_huge(cpu: Cpu) -> bool:
    """Unmap a 2 MiB page; False where a page-table page, or nothing, is mapped."""
    pmd = await pmd_lock(cpu)
    await pmd_unlock(cpu)
    if not pmd_leaf(pmd):
        return False
    await cpu.invalidate_range_start()
    pmd = await pmd_lock(cpu)
    await pmdp_huge_get_and_clear(cpu)
    await pmd_unlock_changed(cpu)
    await cpu.invalidate_range_end()
    await cpu.phase(Phase.BEFORE_FREE)
    await put_hugepage(cpu, first_page(cpu, pmd))
    return True
