"""PUD entries over a table of level 2 that two address spaces share, as hugetlb mappings may.

The share count is how many address spaces use the table besides the first.
"""

from __future__ import annotations

from collections.abc import Awaitable

from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.locks import holds_ptl, lock_ptl, unlock_ptl
from shootdown_daemon.machine.phases import Phase
from shootdown_daemon.machine.pmd import region_entry
from shootdown_daemon.machine.region import RegionEntry, table_entry
from shootdown_engine.memory import PhysicalMemory
from shootdown_engine.store import Store
from shootdown_protocol.memory import NONE, Pte, pte_pfn, pte_present


def pud_of(cpu: Cpu) -> Awaitable[Pte]:
    """``pudp_get()``: the entry above the table of level 2."""
    return cpu.step("pudp_get", read_pud, region_entry(cpu))


async def pud_clear(cpu: Cpu) -> int:
    """``pud_clear()``, whose flush is by discipline; gives the table that it led to."""
    await cpu.phase(Phase.BEFORE_CLEAR)
    old = await cpu.step("pud_clear", clear_pud, region_entry(cpu), cpu.task)
    await cpu.phase(Phase.CLEAR_FLUSH)
    return pte_pfn(old)


def sharers_of(cpu: Cpu) -> Awaitable[int]:
    """``ptdesc_pmd_is_shared()``: how many others use the table; 0 where there is none to share."""
    return cpu.step("ptdesc_pmd_pts_count", count_sharers, region_entry(cpu))


def put_shared_table(cpu: Cpu, table: int) -> Awaitable[None]:
    """``ptdesc_pmd_pts_dec()``: one user of the table less."""
    return cpu.step("ptdesc_pmd_pts_dec", drop_sharer, table)


def get_shared_table(cpu: Cpu, other: Cpu) -> Awaitable[int | None]:
    """``hugetlb_walk()`` of another address space and ``ptdesc_pmd_pts_inc()``: its table, if any.

    ``i_mmap`` keeps the share count still.
    """
    return cpu.step("ptdesc_pmd_pts_inc", add_sharer, region_entry(other))


def pud_populate(cpu: Cpu, table: int) -> Awaitable[bool]:
    """``pud_populate()`` where the entry is none; False where another fault was first."""
    return cpu.step("pud_populate", populate_pud, cpu.memory, region_entry(cpu), table, cpu.task)


def pud_lock(cpu: Cpu) -> Awaitable[None]:
    """``spin_lock(&mm->page_table_lock)``."""
    return cpu.step("page_table_lock", lock_ptl, region_entry(cpu).pmd_lock, cpu.task)


def pud_unlock(cpu: Cpu) -> Awaitable[None]:
    """``spin_unlock(&mm->page_table_lock)``."""
    return cpu.step("page_table_unlock", unlock_ptl, region_entry(cpu).pmd_lock, cpu.task)


def read_pud(store: Store, entry: RegionEntry) -> Pte:
    """Read the entry without a lock."""
    assert entry.shares_table
    return Pte(store.load(entry.top))


def clear_pud(store: Store, entry: RegionEntry, owner: str) -> Pte:
    """Clear the entry under the lock of the table that it leads to; gives what it was."""
    assert holds_ptl(store, entry.pmd_lock, owner)
    old = read_pud(store, entry)
    store.store(entry.top, NONE)
    return old


def count_sharers(store: Store, entry: RegionEntry) -> int:
    """Read the share count of the table below, which ``i_mmap`` keeps still."""
    if not entry.shares_table:
        return 0
    pud = store.load(entry.top)
    count = store.get(("pt_share", pte_pfn(pud))) if pte_present(pud) else None
    return count if isinstance(count, int) else 0


def add_sharer(store: Store, entry: RegionEntry) -> int | None:
    """Count one user more of the table that another address space has, if it has one."""
    pud = store.load(entry.top)
    if not pte_present(pud):
        return None
    table = pte_pfn(pud)
    count = store.get(("pt_share", table)) or 0
    assert isinstance(count, int)
    store.put(("pt_share", table), count + 1)
    return table


def populate_pud(
    store: Store, memory: PhysicalMemory, entry: RegionEntry, table: int, owner: str
) -> bool:
    """Lead to a table of level 2, unless something does already."""
    assert holds_ptl(store, entry.pmd_lock, owner)
    if store.load(entry.top):
        return False
    store.store(entry.top, table_entry(store, memory, table))
    return True


def drop_sharer(store: Store, table: int) -> None:
    """Count one user less."""
    count = store.get(("pt_share", table))
    assert isinstance(count, int)
    store.put(("pt_share", table), count - 1 or None)
