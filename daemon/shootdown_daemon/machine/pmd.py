"""PMD entries and table pages: the primitives of operations on 2 MiB pages and on page tables.

Each is one trap, named as the kernel's function, and works where `Cpu` stands; locations of one
region share a PMD entry. Steps that change one assert that their task holds its lock. A 2 MiB page
is known by the first of its pages that the scenario names (`region`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence

from shootdown_daemon.machine import page_alloc, region
from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.locks import holds_ptl, lock_ptl, unlock_ptl
from shootdown_daemon.machine.page_table import resident
from shootdown_daemon.machine.phases import Phase
from shootdown_daemon.machine.region import RegionEntry
from shootdown_engine.memory import PhysicalMemory
from shootdown_engine.slot import Site, Slot
from shootdown_engine.store import Store
from shootdown_engine.trap import BLOCKED, Blocked
from shootdown_protocol.layout import owner_of
from shootdown_protocol.memory import (
    NONE,
    PRESENT,
    RW,
    Pte,
    pte_present,
    pte_wrprotect,
)


def region_entry(cpu: Cpu) -> RegionEntry:
    """The entry of the location, whose page-table page may come and go."""
    entry = cpu.entry
    assert isinstance(entry, RegionEntry), f"{cpu.site.name} lies in no region"
    return entry


def sites_of(cpu: Cpu) -> tuple[Site, ...]:
    """Every location of the region that the CPU stands in."""
    kernel, sites = cpu.kslot.kernel, cpu.kslot.slot.sites
    members = next(r for r in kernel.regions if cpu.site.index in r)
    return tuple(sites[member] for member in members)


def whole_region(cpu: Cpu) -> Cpu:
    """The same CPU and operation, at work on all of the region, and notifying of all of it."""
    gigantic = region_entry(cpu).leaf_level == region.PUD_LEVEL
    return cpu.reaching(region.PUD_SIZE if gigantic else region.PMD_SIZE)


# Locks and entries


def pmd_lock(cpu: Cpu) -> Awaitable[Pte]:
    """``pmd_lock()``: take the lock of the table of level 2 and give the PMD entry."""
    return cpu.step("pmd_lock", lock_pmd, region_entry(cpu), cpu.task)


def pmd_unlock(cpu: Cpu) -> Awaitable[None]:
    """``spin_unlock(pmd_lock)`` where nothing was changed: no phase."""
    return cpu.step("pmd_unlock", unlock_ptl, region_entry(cpu).pmd_lock, cpu.task)


async def pmd_unlock_changed(cpu: Cpu) -> None:
    """``spin_unlock(pmd_lock)`` after a change, announced as a phase."""
    await pmd_unlock(cpu)
    await cpu.phase(Phase.AFTER_UNLOCK)


def pmdp_get_lockless(cpu: Cpu) -> Awaitable[Pte]:
    """``pmdp_get_lockless()``."""
    return cpu.step("pmdp_get_lockless", read_pmd, region_entry(cpu))


async def pmdp_huge_clear_flush(cpu: Cpu) -> Pte:
    """``pmdp_huge_clear_flush()``: clear the entry; its flush notifies, by discipline."""
    return await _change(cpu, "pmdp_huge_clear_flush", clear_pmd, region_entry(cpu), cpu.task)


async def pmdp_collapse_flush(cpu: Cpu) -> Pte:
    """``pmdp_collapse_flush()``: the same of an entry that leads to a page-table page."""
    return await _change(cpu, "pmdp_collapse_flush", clear_pmd, region_entry(cpu), cpu.task)


async def pmdp_invalidate(cpu: Cpu) -> Pte:
    """``pmdp_invalidate()``: no walk finds the page any more, yet faults know that it is huge."""
    return await _change(cpu, "pmdp_invalidate", invalidate_pmd, region_entry(cpu), cpu.task)


async def pmdp_set_wrprotect(cpu: Cpu) -> Pte:
    """``pmdp_set_wrprotect()``: take write permission from a 2 MiB page."""
    return await _change(cpu, "pmdp_set_wrprotect", wrprotect_pmd, region_entry(cpu), cpu.task)


async def pmdp_huge_get_and_clear(cpu: Cpu) -> Pte:
    """``pmdp_huge_get_and_clear()`` of a zap: what was mapped is gone, new epochs begin."""
    epochs = tuple(site.epoch for site in sites_of(cpu))
    return await _change(
        cpu, "pmdp_huge_get_and_clear", clear_pmd_for_good, region_entry(cpu), cpu.task, epochs
    )


async def pmd_clear(cpu: Cpu) -> Pte:
    """``pmd_clear()`` of an entry that leads to a page-table page: no phase of its own."""
    return await cpu.step("pmd_clear", clear_pmd, region_entry(cpu), cpu.task)


async def _change(cpu: Cpu, name: str, step: object, *arguments: object) -> Pte:
    await cpu.phase(Phase.BEFORE_CLEAR)
    old: Pte = await cpu.step(name, step, *arguments)  # type: ignore[arg-type]
    await cpu.phase(Phase.CLEAR_FLUSH)
    return old


async def set_pmd_at(cpu: Cpu, pmd: Pte, operating: Cpu | None = None) -> None:
    """``set_pmd_at()``: map a 2 MiB page where nothing is mapped.

    ``operating`` is where the operation is at work, if that is not this location.
    """
    await cpu.step(
        "set_pmd_at",
        set_pmd,
        cpu.memory,
        cpu.kslot.slot,
        sites_of(cpu),
        region_entry(cpu),
        cpu.task,
        pmd,
    )
    await (operating or cpu).phase(Phase.AFTER_SET)


async def pmdp_set_access_flags(cpu: Cpu) -> None:
    """``pmdp_set_access_flags()``: let stores through."""
    await cpu.step(
        "pmdp_set_access_flags",
        allow_pmd,
        cpu.memory,
        cpu.kslot.slot,
        sites_of(cpu),
        region_entry(cpu),
        cpu.task,
    )
    await cpu.phase(Phase.AFTER_SET)


async def pmd_populate(cpu: Cpu, table: int, operating: Cpu | None = None) -> None:
    """``pmd_populate()``: lead to a page-table page, whose entries are then present.

    ``operating`` is where the operation is at work, if that is not this location.
    """
    await cpu.step(
        "pmd_populate",
        populate,
        cpu.memory,
        cpu.kslot.slot,
        tuple((site, cpu.kslot.entries[site.index]) for site in sites_of(cpu)),
        region_entry(cpu),
        cpu.task,
        table,
    )
    await (operating or cpu).phase(Phase.AFTER_SET)


# Table pages


def pte_alloc_one(cpu: Cpu) -> Awaitable[int]:
    """``pte_alloc_one()``: a page-table page without an entry; gives its page number."""
    return cpu.step(
        "pte_alloc_one",
        take_table,
        cpu.memory,
        cpu.kslot.index,
        cpu.cpu,
        cpu.from_buddy,
    )


def pte_free(cpu: Cpu, table: int) -> Awaitable[bool]:
    """``pte_free()``: give a page-table page back, full of poison."""
    return cpu.step(
        "pte_free",
        page_alloc.put_page,
        cpu.memory,
        cpu.kslot.index,
        table,
        1,
        cpu.kslot.kernel.lifo,
    )


def fill_table(cpu: Cpu, table: int, ptes: Sequence[Pte]) -> Awaitable[None]:
    """``set_pte()`` of the region's entries in a page-table page that nothing leads to yet."""
    filled = tuple(zip(_leaf_indexes(cpu), ptes, strict=True))
    return cpu.step("set_ptes", fill, cpu.memory, table, filled)


# 2 MiB pages


def alloc_hugepage(cpu: Cpu) -> Awaitable[int]:
    """``vma_alloc_folio(HPAGE_PMD_ORDER)``: gives the first of its pages."""
    instance = cpu.kslot.slot.instance
    owners = tuple(owner_of(instance, site.word) for site in sites_of(cpu))
    return cpu.step("vma_alloc_folio", take_hugepage, cpu.memory, cpu.kslot.index, cpu.cpu, owners)


async def copy_user_large_folio(cpu: Cpu, new: int, old: int) -> None:
    """``copy_user_large_folio()``: page by page; the copies carry the versions."""
    for offset in range(len(sites_of(cpu))):
        await cpu.copy_user_page(new + offset, old + offset)


async def folio_zero_user(cpu: Cpu, new: int) -> None:
    """``folio_zero_user()``: page by page, version 0 of the present epochs."""
    for offset, site in enumerate(sites_of(cpu)):
        await cpu.at(site.index).clear_user_page(new + offset)


def put_hugepage(cpu: Cpu, first: int, references: int = 1) -> Awaitable[bool]:
    """``folio_put()`` of a 2 MiB page: dropping the last reference frees all of its pages."""
    return cpu.step(
        "folio_put",
        put_pages,
        cpu.memory,
        cpu.kslot.index,
        tuple(range(first, first + len(sites_of(cpu)))),
        references,
        cpu.kslot.kernel.lifo,
    )


def find_get_folio(cpu: Cpu) -> Awaitable[int]:
    """``filemap_get_folio()``: a reference to the page cache's folio; gives its first page."""
    return cpu.step("filemap_get_folio", get_folio, cpu.kslot.index, sites_of(cpu)[0].index, 0)


def find_get_page(cpu: Cpu) -> Awaitable[int]:
    """``filemap_get_folio()`` for the one page of the folio that lies at the location."""
    sites = sites_of(cpu)
    offset = next(index for index, site in enumerate(sites) if site.index == cpu.site.index)
    return cpu.step("filemap_get_folio", get_folio, cpu.kslot.index, sites[0].index, offset)


def read_old_ptes(cpu: Cpu, table: int) -> Awaitable[tuple[Pte, ...]]:
    """``ptep_get()`` of the region's entries in a page-table page that is being taken out."""
    return cpu.step("ptep_get", read_all, cpu.memory, table, _leaf_indexes(cpu))


def clear_old_ptes(cpu: Cpu, table: int) -> Awaitable[None]:
    """``ptep_clear()`` of the region's entries in a page-table page that is being taken out."""
    filled = tuple((index, NONE) for index in _leaf_indexes(cpu))
    return cpu.step("ptep_clear", fill, cpu.memory, table, filled)


def _leaf_indexes(cpu: Cpu) -> tuple[int, ...]:
    return tuple(region_entry(cpu.at(site.index)).leaf_index() for site in sites_of(cpu))


def split_references(cpu: Cpu, first: int) -> Awaitable[None]:
    """The references of a 2 MiB page become its pages' own, each counted as the whole was."""
    pages = tuple(range(first, first + len(sites_of(cpu))))
    return cpu.step("folio_ref_add", share_references, pages)


async def mk_huge_pmd(cpu: Cpu, first: int, *, writable: bool) -> Pte:
    """``folio_mk_pmd()``: an entry for a 2 MiB page, with the generation of its pages."""
    generation = await cpu.step("", read_generation, cpu.memory, first)
    level = region_entry(cpu).leaf_level
    site = sites_of(cpu)[0]
    return region.make_pmd(first, site, writable=writable, generation=generation, level=level)


def first_page(cpu: Cpu, pmd: Pte) -> int:
    """The first page of the 2 MiB page that an entry maps."""
    return region.first_page(pmd, sites_of(cpu)[0], region_entry(cpu).leaf_level)


# Steps


def lock_pmd(store: Store, entry: RegionEntry, owner: str) -> Pte | Blocked:
    """Take the lock and read the entry."""
    if lock_ptl(store, entry.pmd_lock, owner) is BLOCKED:
        return BLOCKED
    return entry.pmd(store)


def read_pmd(store: Store, entry: RegionEntry) -> Pte:
    """Read the entry without the lock."""
    return entry.pmd(store)


def _locked(store: Store, entry: RegionEntry, owner: str) -> int:
    assert holds_ptl(store, entry.pmd_lock, owner), f"{owner} does not hold the PMD lock"
    word = entry.pmd_at(store)
    assert word is not None, "the table of level 2 has gone"
    return word


def clear_pmd(store: Store, entry: RegionEntry, owner: str) -> Pte:
    """Clear the entry and give what it was."""
    word = _locked(store, entry, owner)
    old = Pte(store.load(word))
    store.store(word, NONE)
    return old


def clear_pmd_for_good(
    store: Store, entry: RegionEntry, owner: str, epochs: tuple[int, ...]
) -> Pte:
    """Clear the entry of a zap: the board words ``epochs`` count what was mapped."""
    old = clear_pmd(store, entry, owner)
    for epoch in epochs:
        store.store(epoch, store.load(epoch) + 1)
    return old


def invalidate_pmd(store: Store, entry: RegionEntry, owner: str) -> Pte:
    """Take presence from the entry, and nothing else."""
    word = _locked(store, entry, owner)
    old = Pte(store.load(word))
    assert region.pmd_leaf(old)
    store.store(word, old & ~PRESENT)
    return old


def wrprotect_pmd(store: Store, entry: RegionEntry, owner: str) -> Pte:
    """Take write permission from the entry."""
    word = _locked(store, entry, owner)
    old = Pte(store.load(word))
    assert pte_present(old)
    store.store(word, pte_wrprotect(old))
    return old


def set_pmd(
    store: Store,
    memory: PhysicalMemory,
    slot: Slot,
    sites: tuple[Site, ...],
    entry: RegionEntry,
    owner: str,
    pmd: Pte,
) -> None:
    """Fill an entry that is not present, and report what each page holds (S3)."""
    word = _locked(store, entry, owner)
    assert not store.load(word) & PRESENT, "set_pmd_at on a present entry"
    store.store(word, pmd)
    _report(store, memory, slot, sites, pmd, entry.leaf_level)


def allow_pmd(
    store: Store,
    memory: PhysicalMemory,
    slot: Slot,
    sites: tuple[Site, ...],
    entry: RegionEntry,
    owner: str,
) -> None:
    """Add write permission to a present entry."""
    word = _locked(store, entry, owner)
    pmd = Pte(store.load(word) | RW)
    assert region.pmd_leaf(pmd)
    store.store(word, pmd)
    _report(store, memory, slot, sites, pmd, entry.leaf_level)


def _report(
    store: Store,
    memory: PhysicalMemory,
    slot: Slot,
    sites: tuple[Site, ...],
    pmd: Pte,
    level: int,
) -> None:
    for site in sites:
        pte = region.small_entry(pmd, site.va, level)
        store.emit(resident(store, memory, slot, site, pte, final=False))


def populate(
    store: Store,
    memory: PhysicalMemory,
    slot: Slot,
    members: tuple[tuple[Site, RegionEntry], ...],
    entry: RegionEntry,
    owner: str,
    table: int,
) -> None:
    """Lead to a page-table page, and report what its present entries map (S3)."""
    word = _locked(store, entry, owner)
    store.store(word, region.table_entry(store, memory, table))
    for site, leaf in members:
        pte = leaf.read(store)
        if pte_present(pte):
            store.emit(resident(store, memory, slot, site, pte, final=False))


def take_table(store: Store, memory: PhysicalMemory, slot: int, cpu: int, from_buddy: bool) -> int:
    """Allocate a frame for a page-table page and clear it."""
    table = page_alloc.alloc_page(store, memory, slot, cpu, 0, from_buddy)
    region.new_table(store, memory, table)
    return table


def fill(
    store: Store, memory: PhysicalMemory, table: int, ptes: tuple[tuple[int, Pte], ...]
) -> None:
    """Fill entries of a page-table page that nothing leads to."""
    for index, pte in ptes:
        store.store(memory.first_word(table) + index, pte)


def read_all(
    store: Store, memory: PhysicalMemory, table: int, indexes: tuple[int, ...]
) -> tuple[Pte, ...]:
    """Read entries of a page-table page."""
    return tuple(Pte(store.load(memory.first_word(table) + index)) for index in indexes)


def get_folio(store: Store, slot: int, location: int, offset: int) -> int:
    """Take a reference to a page of a folio that the page cache holds."""
    first = store.get(("folio", slot, location))
    assert isinstance(first, int), "no folio of the page cache lies here"
    page_alloc.get_page(store, first + offset)
    return first + offset


def take_hugepage(
    store: Store, memory: PhysicalMemory, slot: int, cpu: int, owners: tuple[int, ...]
) -> int:
    """Allocate a 2 MiB page from the CPU's list; gives the first of its pages."""
    cell = ("huge", slot, cpu)
    runs = page_alloc.frames_in(store, cell)
    assert runs, f"slot {slot}: no free 2 MiB page is left for CPU {cpu}"
    first = runs[-1]
    store.put(cell, runs[:-1] or None)
    pages = range(first, first + len(owners))
    for page, owner in zip(pages, owners, strict=True):
        page_alloc.check_poison(store, memory, page)
        store.store(memory.owner_word(page), owner)
    region.one_generation(store, memory, pages)
    for page in pages:
        store.put(("refs", page), 1)
    return first


def put_pages(
    store: Store,
    memory: PhysicalMemory,
    slot: int,
    pages: tuple[int, ...],
    references: int,
    lifo: bool,
) -> bool:
    """Drop references of a 2 MiB page, counted at its first page; the last frees every page."""
    if pages[0] == memory.zero_pfn:
        return False
    freed = page_alloc.put_page(store, memory, slot, pages[0], references, lifo)
    if freed:
        for page in pages[1:]:
            page_alloc.put_page(store, memory, slot, page, 1, lifo)
    return freed


def share_references(store: Store, pages: tuple[int, ...]) -> None:
    """Count the references of the first page at each."""
    count = store.get(("refs", pages[0]))
    assert isinstance(count, int)
    for page in pages[1:]:
        store.put(("refs", page), count)


def read_generation(store: Store, memory: PhysicalMemory, page: int) -> int:
    """What an entry for a page carries in its ignored bits."""
    return 0 if page == memory.zero_pfn else memory.generation(store, page)
