"""The table walker: PASID table, then four levels, by aligned loads and without a lock.

It reads whatever the words say at the moment of each load, as hardware does, while the kernel
changes them; what it returns says how far it came. Level 4 is the PML4, level 1 the page table.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from shootdown_engine.memory import PhysicalMemory
from shootdown_engine.store import Store
from shootdown_protocol.history import Place, Step, TableWalk
from shootdown_protocol.memory import (
    ENTRIES_PER_TABLE,
    LEVELS,
    PAGE_SHIFT,
    PASID_BITS,
    PS,
    RESERVED_MASK,
    RW,
    hardware_bits,
    pte_generation,
    pte_pfn,
    pte_present,
    table_index,
)
from shootdown_protocol.words import is_poison

INDEX_BITS: Final = 9
"""Bits that one page of entries is indexed by."""
STALE_TABLE: Final = "stale_table"
"""Name of the report that a walk went through a table which the entry above leads to no more."""


class Translation(NamedTuple):
    """A leaf found by a walk. ``word`` is the entry's own word, ``entry`` its hardware bits.

    ``pfn`` is the 4 KiB page that the address falls into, ``shift`` log2 of the leaf's size.
    Where the leaf's table may be freed, ``table`` is its page and ``above`` the word of the entry
    that led there; 0 elsewhere.
    """

    pfn: int
    writable: bool
    generation: int
    word: int
    entry: int
    shift: int = PAGE_SHIFT
    above: int = 0
    table: int = 0


class WalkFault(NamedTuple):
    """A walk that found no leaf: ``not-present``, ``reserved`` bits, or ``bad-frame``."""

    reason: str
    level: int


class TableAt(NamedTuple):
    """Where the next load of a walk goes: a table of a level, and permissions gathered so far.

    ``generation`` is what the entry above carries of a table page that may be freed, 0 of any
    other: a load from such a page notes whether it was still that table. ``word`` is where the
    entry above lies.
    """

    pfn: int
    level: int
    writable: bool
    generation: int = 0
    word: int = 0


Walked = Translation | WalkFault | TableAt


def read_pasid_entry(store: Store, memory: PhysicalMemory, directory: int, pasid: int) -> Walked:
    """Find the root of a PASID: directory entry, then PASID table entry (two loads)."""
    if not 0 <= pasid < 1 << PASID_BITS:
        return WalkFault("bad-pasid", LEVELS + 2)
    entry = store.load(pasid_directory_word(memory, directory, pasid))
    if not pte_present(entry):
        return WalkFault("not-present", LEVELS + 2)
    if not memory.exists(pte_pfn(entry)):
        return WalkFault("bad-frame", LEVELS + 2)
    entry = store.load(memory.first_word(pte_pfn(entry)) + pasid % ENTRIES_PER_TABLE)
    if not pte_present(entry):
        return WalkFault("not-present", LEVELS + 1)
    return TableAt(pte_pfn(entry), LEVELS, writable=True)


def pasid_directory_word(memory: PhysicalMemory, directory: int, pasid: int) -> int:
    """Word of a PASID's directory entry; ``directory`` is the first of its pages."""
    page = directory + (pasid >> 2 * INDEX_BITS)
    return memory.first_word(page) + (pasid >> INDEX_BITS) % ENTRIES_PER_TABLE


def walk_level(store: Store, memory: PhysicalMemory, at: TableAt, va: int) -> Walked:
    """Make one load of a walk: the entry of ``va`` in the table ``at``."""
    if not memory.exists(at.pfn):
        return WalkFault("bad-frame", at.level + 1)
    word = memory.first_word(at.pfn) + table_index(va, at.level)
    lives = not at.generation or _lives(store, memory, at)
    entry = store.load(word)
    if not lives:
        store.emit(TableWalk(at.level, at.pfn, _place_of(entry)))
    if not pte_present(entry):
        return WalkFault("not-present", at.level)
    if entry & RESERVED_MASK:
        return WalkFault("reserved", at.level)
    writable = at.writable and bool(entry & RW)
    pfn: int = pte_pfn(entry)
    if at.level > 1 and not entry & PS:
        return TableAt(pfn, at.level - 1, writable, pte_generation(entry), word)
    if at.level >= LEVELS:
        return WalkFault("reserved", at.level)
    if at.level > 1:
        pfn = page_of_large_leaf(pfn, va, at.level)
    shift = PAGE_SHIFT + 9 * (at.level - 1)
    found = Translation(pfn, writable, pte_generation(entry), word, hardware_bits(entry), shift)
    return found._replace(above=at.word, table=at.pfn) if at.generation else found


def walk(
    store: Store,
    memory: PhysicalMemory,
    directory: int,
    pasid: int,
    va: int,
    *,
    write: bool = False,
) -> Walked:
    """Walk from the PASID table to the leaf within one step; ``write``: in order to store."""
    if memory.host is not None:
        return memory.host.walk(pasid, va, write=write)
    at = read_pasid_entry(store, memory, directory, pasid)
    while isinstance(at, TableAt):
        at = walk_level(store, memory, at, va)
    return at


def page_of_large_leaf(pfn: int, va: int, level: int) -> int:
    """The 4 KiB page of a larger leaf that an address falls into."""
    pages = 1 << 9 * (level - 1)
    return pfn + ((va >> PAGE_SHIFT) & (pages - 1))


def _lives(store: Store, memory: PhysicalMemory, at: TableAt) -> bool:
    """Whether a table page is still the table that a walk takes it for.

    It may be, and the entry above lead elsewhere already: that is reported.
    """
    lives = memory.generation(store, at.pfn) == at.generation
    if not leads_to(store.load(at.word), at.pfn):
        store.emit(Step("device", STALE_TABLE, -1, ""))
    return lives


def leads_to(entry: int, table: int) -> bool:
    """Whether an entry leads to a table page."""
    return pte_present(entry) and pte_pfn(entry) == table


def _place_of(entry: int) -> Place:
    """What an entry loaded from a page that had been freed shows of it."""
    return Place.POISON if is_poison(entry) else Place.GENERATION
