"""MADV_DONTNEED: ``zap_page_range_single_batched()`` in mm/memory.c (row 14 of the table).

One gather serves several mappings: here those that share a page-table page with the location, each
a mapping of its own with a range of its own. Their one flush comes after all their ends. Left out:
rmap, swap entries, hugetlb (flushed mapping by mapping), per-VMA locks.
"""

from __future__ import annotations

from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.operations.zap import clear_entry
from shootdown_daemon.machine.phases import Phase

ZAP_PAGE_RANGE_SINGLE_BATCHED = (
    "zap_page_range_single_batched",
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


async def run_zap_page_range_single_batched(cpu: Cpu) -> None:
    """Zap each mapping between its own start and end, flush once, then free every page."""
    mappings = [cpu.at(location) for location in neighbours(cpu)]
    await cpu.mmap_read_lock()
    gathered = [page for vma in mappings if (page := await zap_one(vma)) is not None]
    for vma in mappings:
        await vma.phase(Phase.BEFORE_FREE)
    for page in gathered:
        await cpu.put_page(page)
    for vma in mappings:
        await vma.phase(Phase.OP_RETURN)
    await cpu.mmap_read_unlock()
    for vma in mappings:
        await vma.op_return(new_epoch=True)


async def zap_one(vma: Cpu) -> int | None:
    """One mapping's range; gives the page number taken into the gather, if any."""
    await vma.invalidate_range_start()
    gathered = await clear_entry(vma)
    await vma.invalidate_range_end()
    return gathered


def neighbours(cpu: Cpu) -> list[int]:
    """Locations whose entries lie in the page-table page of this one, in order."""
    places = cpu.kslot.kernel.program.locations
    table = places[cpu.site.index].table
    return [index for index, place in enumerate(places) if place.table == table]
