"""The table walker: what it makes of every kind of entry, right ones and wrong ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.machine.machines import make_store

from shootdown_daemon.machine.page_alloc import free_frame
from shootdown_daemon.machine.page_table import TableBuilder
from shootdown_engine.memory import PhysicalMemory
from shootdown_engine.walker import (
    TableAt,
    Translation,
    Walked,
    WalkFault,
    read_pasid_entry,
    walk,
    walk_level,
)
from shootdown_protocol.history import Place, TableWalk
from shootdown_protocol.layout import PFN_BASE, Layout
from shootdown_protocol.memory import (
    PAGE_SHIFT,
    PAGE_SIZE,
    PRESENT,
    PS,
    RESERVED_MASK,
    RW,
    VA_BITS,
    Pfn,
    hardware_bits,
    make_pte,
    make_table_entry,
    pte_pfn,
    table_index,
)
from shootdown_protocol.words import poison_word

LAYOUT = Layout(16, 64, 7)
PASID = 0x105
VA = 0x7E00_4123_4000
PAGE = PFN_BASE + 5


class Tables:
    """One address space under one PASID, with a leaf at `VA`."""

    def __init__(self, va: int = VA, leaf: int | None = None) -> None:
        """Build the way down, and set the leaf (a writable page of generation 9)."""
        self.store = make_store(LAYOUT)
        pfns = range(PFN_BASE, PFN_BASE + LAYOUT.frames)
        self.memory = PhysicalMemory(LAYOUT, Pfn(pfns[0]))
        self.builder = TableBuilder(self.store, self.memory, iter(pfns[1:]))
        self.directory = self.builder.new_directory()
        self.root = self.builder.new_table()
        self.builder.set_pasid(self.directory, PASID, self.root)
        self.va = va
        self.table, self.word = self.builder.leaf(self.root, va)
        self.store.store(
            self.word, make_pte(PAGE, writable=True, generation=9) if leaf is None else leaf
        )

    def walk(self, va: int | None = None, pasid: int = PASID) -> Walked:
        """Walk to an address, `va` by default."""
        va = self.va if va is None else va
        return walk(self.store, self.memory, self.directory, pasid, va)

    def entry_word(self, level: int) -> int:
        """Word of the entry of `va` in the table of a level."""
        table = self.root
        for above in range(4, level, -1):
            table = self.builder.table_below(table, table_index(self.va, above))
        return self.memory.first_word(table) + table_index(self.va, level)

    def pd(self) -> int:
        """Page number of the table of level 2."""
        return pte_pfn(self.store.load(self.entry_word(3)))


def test_a_leaf_is_found_with_all_that_a_cache_needs() -> None:
    """Page number, permission, generation, the entry's word, and the entry as hardware sees it."""
    tables = Tables()

    found = tables.walk()

    entry = hardware_bits(tables.store.load(tables.word))
    assert found == Translation(PAGE, True, 9, tables.word, entry)


@given(st.integers(0, (1 << VA_BITS) // PAGE_SIZE - 1), st.integers(0, PAGE_SIZE - 1))
def test_any_page_is_found_and_no_other(page: int, offset: int) -> None:
    """A leaf anywhere answers for every byte of its page, and for none of the next."""
    tables = Tables(va=page * PAGE_SIZE)

    assert isinstance(tables.walk(page * PAGE_SIZE + offset), Translation)
    beside = tables.walk((page ^ 1) * PAGE_SIZE)
    assert beside == WalkFault("not-present", 1)


@pytest.mark.parametrize("level", [4, 3, 2, 1])
def test_a_missing_entry_faults_at_its_level(level: int) -> None:
    """A walk says how far it came."""
    tables = Tables()
    tables.store.store(tables.entry_word(level), 0)

    assert tables.walk() == WalkFault("not-present", level)


@pytest.mark.parametrize("level", [4, 3, 2, 1])
def test_reserved_bits_fault_at_their_level(level: int) -> None:
    """Any reserved bit of a present entry is a fault of its own."""
    tables = Tables()
    word = tables.entry_word(level)
    tables.store.store(word, tables.store.load(word) | RESERVED_MASK & -RESERVED_MASK)

    assert tables.walk() == WalkFault("reserved", level)


@given(st.integers(0, 1 << 40))
def test_a_freed_table_faults_as_reserved(generation: int) -> None:
    """A late walk through a freed table meets poison, which is never taken for an empty slot."""
    tables = Tables()
    tables.store.fill_frame(tables.memory.first_word(tables.table), poison_word(generation))

    assert tables.walk() == WalkFault("reserved", 1)


@pytest.mark.parametrize("level", [4, 3, 2])
def test_a_table_outside_memory_is_a_bad_frame(level: int) -> None:
    """An entry that points past the memory stops the walk and loads nothing there."""
    tables = Tables()
    tables.store.store(tables.entry_word(level), make_table_entry(PFN_BASE + LAYOUT.frames))

    assert tables.walk() == WalkFault("bad-frame", level)


@pytest.mark.parametrize("level", [4, 3, 2, 1])
def test_a_walk_may_write_only_where_every_level_may(level: int) -> None:
    """Write permission is that of all the entries on the way."""
    tables = Tables()
    word = tables.entry_word(level)
    tables.store.store(word, tables.store.load(word) & ~RW)

    found = tables.walk()

    assert isinstance(found, Translation)
    assert not found.writable


@given(st.sampled_from([(2, 21), (3, 30)]), st.integers(0, (1 << 18) - 1))
def test_a_larger_leaf_answers_for_each_of_its_pages(size: tuple[int, int], page: int) -> None:
    """A leaf one level up maps 512 pages, one after the other, and one two levels up 2^18."""
    level, shift = size
    page %= 1 << shift - PAGE_SHIFT
    tables = Tables()
    first = PFN_BASE + (1 << 18)
    word = tables.entry_word(level)
    tables.store.store(word, make_pte(first, writable=True) | PS)

    found = tables.walk((VA & -(1 << shift)) + page * PAGE_SIZE)

    assert isinstance(found, Translation)
    assert (found.pfn, found.word, found.shift) == (first + page, word, shift)


def test_no_leaf_is_larger_than_1_gib() -> None:
    """The bit is reserved in the table of level 4."""
    tables = Tables()
    tables.store.store(tables.entry_word(4), make_pte(PAGE, writable=True) | PS)

    assert tables.walk() == WalkFault("reserved", 4)


@pytest.mark.parametrize(
    ("pasid", "expected"),
    [
        (-1, WalkFault("bad-pasid", 6)),
        ((1 << 20) - 1, WalkFault("not-present", 6)),
        (1 << 20, WalkFault("bad-pasid", 6)),
        (PASID + 512, WalkFault("not-present", 6)),
        (PASID + 1, WalkFault("not-present", 5)),
    ],
)
def test_a_pasid_that_is_not_granted_leads_nowhere(pasid: int, expected: WalkFault) -> None:
    """Neither a PASID without an entry nor one that is none finds a root."""
    assert Tables().walk(pasid=pasid) == expected


@given(st.sets(st.integers(0, (1 << 20) - 1), min_size=2, max_size=3))
def test_every_pasid_of_20_bits_has_a_place_of_its_own(pasids: set[int]) -> None:
    """What is entered for a PASID is found for it, and for no other."""
    tables = Tables()
    roots = {pasid: PFN_BASE + number for number, pasid in enumerate(sorted(pasids))}

    for pasid, root in roots.items():
        tables.builder.set_pasid(tables.directory, pasid, root)

    for pasid, root in roots.items():
        found = read_pasid_entry(tables.store, tables.memory, tables.directory, pasid)
        assert found == TableAt(root, 4, writable=True)


def test_a_pasid_table_outside_memory_is_a_bad_frame() -> None:
    """A directory entry that points past the memory stops the walk."""
    tables = Tables()
    word = tables.memory.first_word(tables.directory) + (PASID >> 9)
    tables.store.store(word, make_table_entry(7))

    assert tables.walk() == WalkFault("bad-frame", 6)


def test_level_by_level_is_the_same_walk() -> None:
    """Four single loads after the PASID's lead where the walk in one step does."""
    tables = Tables()
    at: Walked = read_pasid_entry(tables.store, tables.memory, tables.directory, PASID)

    levels = []
    while isinstance(at, TableAt):
        levels.append(at.level)
        at = walk_level(tables.store, tables.memory, at, VA)

    assert levels == [4, 3, 2, 1]
    assert at == tables.walk()


def test_a_walk_begun_before_a_change_may_mix_old_and_new() -> None:
    """A walker that has passed the upper levels sees the leaf of the moment of its own load."""
    tables = Tables()
    at: Walked = read_pasid_entry(tables.store, tables.memory, tables.directory, PASID)
    for _ in range(3):
        assert isinstance(at, TableAt)
        at = walk_level(tables.store, tables.memory, at, VA)
    tables.store.store(tables.entry_word(4), 0)
    tables.store.store(tables.word, make_pte(PAGE + 1, writable=False) | PRESENT)

    assert isinstance(at, TableAt)
    found = walk_level(tables.store, tables.memory, at, VA)

    assert isinstance(found, Translation)
    assert (found.pfn, found.writable) == (PAGE + 1, False)


@pytest.mark.parametrize(
    ("again", "place"), [(False, Place.POISON), (True, Place.GENERATION)], ids=["freed", "taken"]
)
def test_a_walk_into_a_table_that_was_freed_is_noted(again: bool, place: Place) -> None:
    """The entry above was read when it led to a table; now it leads to poison, or to another's."""
    tables = Tables()
    made = tables.memory.generation_word(tables.table)
    tables.store.store(made, 1)
    tables.store.store(tables.entry_word(2), make_table_entry(tables.table, generation=1))
    at = walk_level(tables.store, tables.memory, TableAt(tables.pd(), 2, writable=True), VA)
    free_frame(tables.store, tables.memory, tables.table)
    if again:
        tables.store.fill_frame(tables.memory.first_word(tables.table), 0)

    assert isinstance(at, TableAt)
    walk_level(tables.store, tables.memory, at, VA)

    assert tables.store.records == [TableWalk(1, tables.table, place)]


def test_a_walk_through_a_table_that_lives_is_not_noted() -> None:
    """Tables that are never freed carry no generation, and one that lives carries its own."""
    tables = Tables()
    tables.store.store(tables.memory.generation_word(tables.table), 7)
    tables.store.store(tables.entry_word(2), make_table_entry(tables.table, generation=7))

    tables.walk()

    assert tables.store.records == []
