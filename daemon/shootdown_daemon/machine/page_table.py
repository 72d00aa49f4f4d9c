"""Steps on page table entries, and the building of tables before anything runs.

Every step that changes an entry asserts that its task holds the page table lock.
"""

from __future__ import annotations

from collections.abc import Iterator

from shootdown_daemon.machine.locks import holds_ptl, lock_ptl
from shootdown_engine.access import identify
from shootdown_engine.memory import PhysicalMemory
from shootdown_engine.slot import Site, Slot
from shootdown_engine.store import Store
from shootdown_engine.trap import BLOCKED, Blocked
from shootdown_engine.walker import pasid_directory_word
from shootdown_protocol.board import CUT_OFF
from shootdown_protocol.history import Resident
from shootdown_protocol.memory import (
    ACCESSED,
    DIRTY,
    ENTRIES_PER_TABLE,
    LEVELS,
    NONE,
    PASID_BITS,
    PASID_DIRECTORY_PAGES,
    PRESENT,
    RW,
    Pte,
    make_pte,
    make_table_entry,
    pte_generation,
    pte_pfn,
    pte_present,
    pte_same,
    table_index,
)
from shootdown_protocol.swapops import is_swap_pte, pte_none, pte_protnone
from shootdown_protocol.words import data_word


class Entry:
    """Where one location's leaf entry lies and which lock protects it.

    ``word`` is the entry's index in the segment, ``lock`` the number its lock goes by. Steps ask
    `at` for the word and `read` for the entry: where page-table pages come and go, entries move
    (`shootdown_daemon.machine.region`).
    """

    __slots__ = ("lock", "word")

    def __init__(self, word: int, lock: int) -> None:
        """Keep the two numbers."""
        self.word = word
        self.lock = lock

    @property
    def moves(self) -> bool:
        """Whether it may come to lie elsewhere, or a PMD entry may take its place."""
        return False

    @property
    def locks(self) -> tuple[int, ...]:
        """Every lock on the way to the entry."""
        return (self.lock,)

    def at(self, _store: Store) -> int:
        """Word of the entry, which its page-table page must hold."""
        return self.word

    def read(self, store: Store) -> Pte:
        """The entry as a walk finds it."""
        return Pte(store.load(self.word))

    def words(self, _store: Store) -> tuple[tuple[int, int], ...]:
        """Level and word of each entry on the way that may change, as they lie now."""
        return ((1, self.word),)

    def read_table(self, store: Store) -> Pte:
        """The entry in its page-table page."""
        return Pte(store.load(self.word))


def pte_offset_map_lock(store: Store, entry: Entry, owner: str) -> Pte | Blocked:
    """``pte_offset_map_lock()``: take the lock and give the entry."""
    if lock_ptl(store, entry.lock, owner) is BLOCKED:
        return BLOCKED
    return entry.read_table(store)


def pte_offset_map_lock_at(
    store: Store, entry: Entry, owner: str
) -> tuple[Pte, int | None] | Blocked:
    """The same, and the word of the entry as it lies now; None if its page-table page is gone."""
    if lock_ptl(store, entry.lock, owner) is BLOCKED:
        return BLOCKED
    return entry.read_table(store), dict(entry.words(store)).get(1)


def ptep_get_lockless(store: Store, entry: Entry) -> Pte:
    """``ptep_get_lockless()``."""
    return entry.read(store)


def ptep_get_and_clear(store: Store, entry: Entry, owner: str) -> Pte:
    """``ptep_get_and_clear()``: clear the entry and give what it was."""
    assert holds_ptl(store, entry.lock, owner)
    word = entry.at(store)
    return Pte(store.exchange(word, NONE))


def ptep_clear_for_good(store: Store, entry: Entry, owner: str, epoch: int) -> Pte:
    """``ptep_get_and_clear()`` of a zap: the board word ``epoch`` counts what was mapped here."""
    old = ptep_get_and_clear(store, entry, owner)
    store.store(epoch, store.load(epoch) + 1)
    return old


def entry_generation(store: Store, memory: PhysicalMemory, site: Site, pfn: int) -> int:
    """What an entry carries in its ignored bits: the frame's generation.

    The zero page has none worth carrying; its entries carry the location's epoch.
    """
    if pfn == memory.zero_pfn:
        return store.load(site.epoch)
    return memory.generation(store, pfn)


def ptep_set_wrprotect(store: Store, entry: Entry, owner: str) -> Pte:
    """``ptep_set_wrprotect()``: take write permission from a present entry; gives the old one."""
    assert holds_ptl(store, entry.lock, owner)
    return _change_bits(store, entry.at(store), 0, RW)


def clear_young_dirty_ptes(store: Store, entry: Entry, owner: str) -> Pte:
    """``clear_young_dirty_ptes()``: a page counts as unused and clean; gives the old entry."""
    assert holds_ptl(store, entry.lock, owner)
    return _change_bits(store, entry.at(store), 0, ACCESSED | DIRTY)


def ptep_test_and_clear_young(store: Store, entry: Entry, owner: str) -> bool:
    """``ptep_test_and_clear_young()``: whether a walk has used the entry; a walk may again."""
    assert holds_ptl(store, entry.lock, owner)
    return bool(_change_bits(store, entry.at(store), 0, ACCESSED) & ACCESSED)


def _change_bits(store: Store, word: int, more: int, fewer: int) -> Pte:
    """Change bits of a present entry whose accessed and dirty bits a walk may set meanwhile."""
    while True:
        old = Pte(store.load(word))
        assert pte_present(old)
        if store.compare_exchange(word, old, old & ~fewer | more) == old:
            return old


def set_pte_at(
    store: Store,
    memory: PhysicalMemory,
    slot: Slot,
    site: Site,
    entry: Entry,
    owner: str,
    pte: Pte,
) -> None:
    """``set_pte_at()``: fill a clear entry, and report what its frame holds (S3)."""
    assert holds_ptl(store, entry.lock, owner)
    word = entry.at(store)
    assert not store.load(word) & PRESENT, "set_pte_at on a present entry"
    store.store(word, pte)
    store.emit(resident(store, memory, slot, site, pte, final=False))


def set_pte_zeroed(
    store: Store,
    memory: PhysicalMemory,
    slot: Slot,
    site: Site,
    entry: Entry,
    owner: str,
    pte: Pte,
) -> None:
    """``set_pte_at()`` of a page of zeroes, which are version 0 of the epoch that is now.

    A fault that met the entry while reclaim had it clear may have zeroed its page before a zap of
    the swap entry began a new epoch.
    """
    pfn, epoch = pte_pfn(pte), store.load(site.epoch)
    if pfn == memory.zero_pfn:
        pte = make_pte(pfn, writable=False, generation=epoch)
    else:
        word = memory.first_word(pfn) + site.word_offset
        zero = data_word(slot.instance, site.index, epoch, 0, 0)
        if store.load(word) != zero:
            store.store(word, zero)
    set_pte_at(store, memory, slot, site, entry, owner, pte)


def ptep_set_access_flags(
    store: Store,
    memory: PhysicalMemory,
    slot: Slot,
    site: Site,
    entry: Entry,
    owner: str,
) -> None:
    """``ptep_set_access_flags()``: let stores through a present entry, which is then dirty."""
    assert holds_ptl(store, entry.lock, owner)
    word = entry.at(store)
    pte = Pte(_change_bits(store, word, RW | DIRTY, 0) | RW | DIRTY)
    store.emit(resident(store, memory, slot, site, pte, final=False))


def set_pte_nonpresent(store: Store, entry: Entry, owner: str, pte: Pte) -> None:
    """``set_pte_at()`` of an entry that maps nothing: a swap, migration or device entry."""
    assert holds_ptl(store, entry.lock, owner)
    assert pte_none(store.load(entry.at(store))), "a non-present entry is set over another"
    assert is_swap_pte(pte) or pte_protnone(pte)
    store.store(entry.at(store), pte)


def replace_nonpresent(store: Store, entry: Entry, owner: str, pte: Pte) -> None:
    """``set_pte_at()`` of a non-present entry over another."""
    assert holds_ptl(store, entry.lock, owner)
    word = entry.at(store)
    assert is_swap_pte(store.load(word))
    store.store(word, pte)


def pte_differs(store: Store, slot: Slot, entry: Entry, pte: Pte) -> Blocked | None:
    """Guard: the entry says something else by now, or who was to change it has died."""
    if not pte_same(store.load(entry.at(store)), pte):
        return None
    return None if store.load(slot.started) & CUT_OFF else BLOCKED


def resident(
    store: Store, memory: PhysicalMemory, slot: Slot, site: Site, pte: Pte, *, final: bool
) -> Resident:
    """Read which version the mapped frame holds, beside the floor.

    The floor is read first: a device may end a store between the two loads, and the word that is
    read then is at least as new as the floor.
    """
    pfn = pte_pfn(pte)
    floor = store.load(site.floor)
    word = store.load(memory.first_word(pfn) + site.word_offset)
    met = identify(memory, slot, site, pfn, word, pte_generation(pte))
    return Resident(site.word, pfn, met.order, floor, final, met.source, met.value)


class TableBuilder:
    """Builds four-level tables in frames taken from ``frames``, before any instance runs."""

    def __init__(self, store: Store, memory: PhysicalMemory, frames: Iterator[int]) -> None:
        """Take table pages from an iterator of page numbers."""
        self.store = store
        self.memory = memory
        self.frames = frames

    def new_table(self) -> int:
        """A zeroed table page; gives its page number."""
        pfn = next(self.frames)
        self.store.fill_frame(self.memory.first_word(pfn), 0)
        return pfn

    def new_directory(self) -> int:
        """An empty PASID directory; gives the first of its pages."""
        pages = [self.new_table() for _ in range(PASID_DIRECTORY_PAGES)]
        assert pages == list(range(pages[0], pages[0] + len(pages))), "they follow each other"
        return pages[0]

    def table_below(self, table: int, index: int) -> int:
        """The table that an entry points to, made if the entry is empty."""
        return self._below(self.memory.first_word(table) + index)

    def _below(self, word: int) -> int:
        entry = self.store.load(word)
        if pte_present(entry):
            return pte_pfn(entry)
        below = self.new_table()
        self.store.store(word, make_table_entry(below))
        return below

    def leaf(self, root: int, va: int) -> tuple[int, int]:
        """Build the way to an address; gives the page table's number and the leaf's word."""
        return self.way(root, va, 1)

    def way(self, root: int, va: int, level: int) -> tuple[int, int]:
        """Build the way to the entry of a level; gives its table's number and the entry's word."""
        table = root
        for above in range(LEVELS, level, -1):
            table = self.table_below(table, table_index(va, above))
        return table, self.memory.first_word(table) + table_index(va, level)

    def clear_pasid(self, directory: int, pasid: int) -> None:
        """Take a PASID out of its table: no walk begins from it any more."""
        self.store.store(self._pasid_word(directory, pasid), NONE)

    def set_pasid(self, directory: int, pasid: int, root: int) -> int:
        """Enter a PASID's root into the PASID table below its directory; gives the entry's word."""
        word = self._pasid_word(directory, pasid)
        self.store.store(word, make_table_entry(root))
        return word

    def _pasid_word(self, directory: int, pasid: int) -> int:
        assert 0 <= pasid < 1 << PASID_BITS, f"PASID {pasid:#x} has more than {PASID_BITS} bits"
        table = self._below(pasid_directory_word(self.memory, directory, pasid))
        return self.memory.first_word(table) + pasid % ENTRIES_PER_TABLE
