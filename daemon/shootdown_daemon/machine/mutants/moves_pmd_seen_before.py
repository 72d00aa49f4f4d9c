"""mremap that moves the page-table page that it saw before it took the locks."""

from __future__ import annotations

from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.file_lock import i_mmap_lock, i_mmap_unlock
from shootdown_daemon.machine.mutant import Mutant
from shootdown_daemon.machine.operations import Operation
from shootdown_daemon.machine.operations.mremap import MOVE_NORMAL_PMD, destination
from shootdown_daemon.machine.phases import Phase
from shootdown_daemon.machine.pmd import (
    pmd_clear,
    pmd_lock,
    pmd_unlock_changed,
    pmdp_get_lockless,
    region_entry,
    whole_region,
)
from shootdown_daemon.machine.region import RegionEntry, is_table
from shootdown_engine.store import Store
from shootdown_protocol.memory import Pte


async def run_move_normal_pmd(cpu: Cpu) -> None:
    """Look what there is to move; lock; and move it."""
    whole, new = whole_region(cpu), whole_region(cpu.at(destination(cpu)))
    await whole.mmap_write_lock()
    await new.vm_flags_reset(await cpu.vma_lookup())
    seen = await pmdp_get_lockless(whole)
    await whole.invalidate_range_start()
    await i_mmap_lock(whole)
    if is_table(seen):
        await pmd_lock(whole)
        await whole.phase(Phase.BEFORE_CLEAR)
        await pmd_clear(whole)
        await whole.phase(Phase.CLEAR_FLUSH)
        await new.step("pmd_populate", populate_seen, region_entry(new), seen)
        await pmd_unlock_changed(whole)
    await i_mmap_unlock(whole)
    await whole.invalidate_range_end()
    await cpu.vm_flags_reset(0)
    await whole.phase(Phase.OP_RETURN)
    await whole.mmap_write_unlock()
    await cpu.op_return(permissions=0)
    await new.op_return()


def populate_seen(store: Store, entry: RegionEntry, seen: Pte) -> None:
    """Lead from the new place to where the old one led."""
    word = entry.pmd_at(store)
    assert word is not None
    store.store(word, seen)


MUTANT = Mutant(
    "moves_pmd_seen_before",
    "mremap takes for granted that a page-table page is still there when it has the locks.",
    operations=(Operation(*MOVE_NORMAL_PMD, run_move_normal_pmd),),
)
