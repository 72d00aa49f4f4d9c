"""Regions whose page-table page may come and go, or which a PMD entry maps as one 2 MiB page.

Where a scenario has such a region, all its locations have a `RegionEntry`: it finds the leaf by
way of the tables above, at each step anew, as a CPU's walk does. In all others entries stay where
they are (`page_table.Entry`) and cost nothing more.

A 2 MiB page is the 4 KiB pages in it that the scenario names, one after the other in memory: its
other pages have no frames. A page-table page is a frame of the arena, with a generation that the
entry above it carries.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from shootdown_daemon.machine.page_table import Entry
from shootdown_engine.memory import PhysicalMemory
from shootdown_engine.slot import Site
from shootdown_engine.store import Store
from shootdown_engine.walker import page_of_large_leaf
from shootdown_protocol.layout import OWNER_KERNEL
from shootdown_protocol.memory import (
    NONE,
    PAGE_SHIFT,
    PFN_MASK,
    PRESENT,
    PS,
    Pte,
    make_pte,
    make_table_entry,
    pte_pfn,
    pte_present,
    table_index,
)
from shootdown_protocol.program import GIGANTIC_STATES, HUGE_STATES, Op, Program, State

PMD_SIZE: Final = 1 << 21
PUD_SIZE: Final = 1 << 30

PMD_LEVEL: Final = 2
PUD_LEVEL: Final = 3

NO_TABLE: Final = Pte(PRESENT)
"""What ``pte_offset_map_lock()`` gives where the kernel's gives NULL: the page-table page has gone.
It is present, and the same as no entry that was seen before, so every caller tries again."""

TABLE_OPERATIONS: Final = frozenset(
    (
        "collapse_huge_page",
        "collapse_pte_mapped_thp",
        "free_pgtables",
        "gup_fast_pte_range",
        "move_normal_pmd",
        "pagetable_free_kernel",
        "retract_page_tables",
    )
)
"""Operations that free, move or replace page-table pages, or walk them without a lock."""


def has_regions(program: Program) -> bool:
    """Whether a page-table page of the program may come and go, or a PMD entry map a page."""
    return any(
        place.state in HUGE_STATES or place.state is State.FILE_THP for place in program.locations
    ) or any(
        line.op is Op.RUN and line.operation in TABLE_OPERATIONS
        for column in program.columns
        for line in column.instructions
    )


def is_shared(program: Program, location: int) -> bool:
    """Whether the table of level 2 above a location is one that two address spaces share."""
    places = program.locations
    shared = (
        (place.table, places[place.alias].table)
        for place in places
        if place.alias >= 0 and place.mm != places[place.alias].mm
    )
    return any(places[location].table in tables for tables in shared)


def is_gigantic(program: Program, location: int) -> bool:
    """Whether a PUD entry maps the location as part of a 1 GiB page."""
    return program.locations[location].state in GIGANTIC_STATES


class RegionEntry(Entry):
    """One location's leaf, found by way of the PMD entry, which ``top`` leads to.

    ``top`` is the word of the entry that stays where it is: the PMD entry itself, or (``level`` 3)
    the PUD entry above it. ``lock`` is the lock of the page-table page, whichever it is: it
    belongs to the region, so that old and new page share it. ``pmd_lock`` is that of the table of
    level 2.
    """

    __slots__ = ("_memory", "_va", "level", "pmd_lock", "top")

    def __init__(
        self, memory: PhysicalMemory, va: int, top: int, level: int, lock: int, pmd_lock: int
    ) -> None:
        """Keep the numbers."""
        super().__init__(top, lock)
        self._memory = memory
        self._va = va
        self.top = top
        self.level = level
        self.pmd_lock = pmd_lock

    @property
    def moves(self) -> bool:
        """It may come to lie elsewhere."""
        return True

    @property
    def leaf_level(self) -> int:
        """Level of the entry that maps a larger page here."""
        return PMD_LEVEL

    @property
    def shares_table(self) -> bool:
        """Whether the table of level 2 is one that two address spaces share."""
        return self.level == PUD_LEVEL

    @property
    def locks(self) -> tuple[int, ...]:
        """Every lock on the way to the entry."""
        return self.lock, self.pmd_lock

    def pmd_at(self, store: Store) -> int | None:
        """Word of the PMD entry; None where its table is not there."""
        if self.level == PMD_LEVEL:
            return self.top
        pud = store.load(self.top)
        return self._word_in(pud, PMD_LEVEL) if pte_present(pud) else None

    def pmd(self, store: Store) -> Pte:
        """The PMD entry; none where its table is not there."""
        word = self.pmd_at(store)
        return NONE if word is None else Pte(store.load(word))

    def pmd_bad(self, pmd: Pte) -> bool:
        """``pmd_bad()``: found in a table that has been freed, and leads to no frame."""
        if not pte_present(pmd):
            return False
        page = page_of_large_leaf(pte_pfn(pmd), self._va, PMD_LEVEL) if pmd & PS else pte_pfn(pmd)
        return not self._memory.exists(page)

    def at(self, store: Store) -> int:
        """Word of the leaf in the page-table page, which must be there."""
        pmd = self.pmd(store)
        assert is_table(pmd), "a leaf is looked for where no page-table page is"
        return self._word_in(pmd, 1)

    def read(self, store: Store) -> Pte:
        """The leaf as the location sees it: of a 2 MiB leaf, what an entry of its own would be."""
        pmd = self.pmd(store)
        if not pte_present(pmd) or self.pmd_bad(pmd):
            return NONE
        if pmd & PS:
            return small_entry(pmd, self._va)
        return Pte(store.load(self._word_in(pmd, 1)))

    def words(self, store: Store) -> tuple[tuple[int, int], ...]:
        """Level and word of each entry on the way that may change, as they lie now."""
        found = [(self.level, self.top)]
        pmd = self.pmd_at(store)
        if self.level == PUD_LEVEL and pmd is not None:
            found.append((PMD_LEVEL, pmd))
        if is_table(self.pmd(store)):
            found.append((1, self.at(store)))
        return tuple(found)

    def read_table(self, store: Store) -> Pte:
        """The leaf in the page-table page, or `NO_TABLE`."""
        pmd = self.pmd(store)
        return Pte(store.load(self._word_in(pmd, 1))) if is_table(pmd) else NO_TABLE

    def leaf_index(self) -> int:
        """Position of the location in its page-table page."""
        return table_index(self._va, 1)

    def _word_in(self, entry: int, level: int) -> int:
        return self._memory.first_word(pte_pfn(entry)) + table_index(self._va, level)


class GiganticEntry(RegionEntry):
    """One location of a 1 GiB page: its PUD entry is what others' PMD entry is."""

    __slots__ = ()

    @property
    def leaf_level(self) -> int:
        """The PUD's."""
        return PUD_LEVEL

    @property
    def shares_table(self) -> bool:
        """There is no table below the entry."""
        return False

    def pmd_at(self, store: Store) -> int | None:
        """Word of the entry that maps the page."""
        del store
        return self.top

    def read(self, store: Store) -> Pte:
        """What an entry of its own would be."""
        pud = self.pmd(store)
        return small_entry(pud, self._va, PUD_LEVEL) if pte_present(pud) else NONE

    def words(self, store: Store) -> tuple[tuple[int, int], ...]:
        """The one entry on the way that may change."""
        del store
        return ((PUD_LEVEL, self.top),)


def small_entry(leaf: int, va: int, level: int = PMD_LEVEL) -> Pte:
    """What an entry of its own for one page of a larger leaf would be."""
    page = page_of_large_leaf(pte_pfn(leaf), va, level)
    return Pte(leaf & ~PFN_MASK & ~PS | page << PAGE_SHIFT)


def is_table(pmd: int) -> bool:
    """Whether a PMD entry leads to a page-table page."""
    return pte_present(pmd) and not pmd & PS


def pmd_none(pmd: int) -> bool:
    """``pmd_none()``."""
    return not pmd


def pmd_leaf(pmd: int) -> bool:
    """``pmd_trans_huge()``: a 2 MiB page, be it present or invalidated while it is split."""
    return bool(pmd & PS)


def make_pmd(
    first: int, site: Site, *, writable: bool, generation: int, level: int = PMD_LEVEL
) -> Pte:
    """``mk_huge_pmd()``: maps a large page whose named pages begin with ``first``, at ``site``."""
    base = first - page_of_large_leaf(0, site.va, level)
    entry = make_pte(base, writable=writable, dirty=writable, generation=generation)
    return Pte(entry | PS)


def first_page(leaf: int, site: Site, level: int = PMD_LEVEL) -> int:
    """The first page of a large leaf that the scenario names: that of the region's first site."""
    return page_of_large_leaf(pte_pfn(leaf), site.va, level)


def regions_of(program: Program) -> tuple[tuple[int, ...], ...]:
    """Locations by region, each region's in the order of their addresses."""
    regions: dict[int, list[int]] = {}
    for index, place in enumerate(program.locations):
        regions.setdefault(place.table, []).append(index)
    return tuple(tuple(members) for members in regions.values())


def pages_in_a_region(program: Program) -> int:
    """Most pages that the scenario names in one region: the frames of a 2 MiB page."""
    return max(len(region) for region in regions_of(program))


def tables_in_arena(program: Program) -> int:
    """Table pages that an instance begins with, taken from its arena."""
    return len(regions_of(program)) + sum(
        is_shared(program, index) for index in range(len(program.locations))
    )


def level_2_tables(program: Program) -> Iterable[tuple[int, int]]:
    """Tables of level 2 that stay where they are, by address space and GiB."""
    return {
        (place.mm, place.va >> 30)
        for index, place in enumerate(program.locations)
        if not is_shared(program, index) and not is_gigantic(program, index)
    }


def allocates_huge(program: Program) -> bool:
    """Whether a fault or operation of the program may allocate a 2 MiB page."""
    return any(place.state in HUGE_STATES for place in program.locations) or any(
        line.operation == "collapse_huge_page"
        for column in program.columns
        for line in column.instructions
    )


def huge_list_lengths(program: Program) -> tuple[int, ...]:
    """2 MiB pages on each CPU's own list: one a line that may allocate; the last serves faults."""
    if not allocates_huge(program):
        return ()
    lengths = [
        sum(line.op in (Op.RUN, Op.STORE, Op.LOAD) for line in column.instructions)
        for column in program.columns
        if column.device < 0
    ]
    return (*lengths, len(program.locations))


def frames_of_huge_lists(program: Program) -> int:
    """Frames that the lists of 2 MiB pages take."""
    return sum(huge_list_lengths(program)) * pages_in_a_region(program)


def new_table(store: Store, memory: PhysicalMemory, table: int) -> None:
    """Make a frame that is nobody's a table page without an entry."""
    store.store(memory.owner_word(table), OWNER_KERNEL)
    store.put(("refs", table), 1)
    store.fill_frame(memory.first_word(table), 0)


def table_entry(store: Store, memory: PhysicalMemory, table: int) -> Pte:
    """``pmd_populate()``'s entry: it carries the generation of the table page."""
    return make_table_entry(table, memory.generation(store, table))


def one_generation(store: Store, memory: PhysicalMemory, pages: Sequence[int]) -> None:
    """Give the pages of a 2 MiB page one generation, the newest of theirs: one entry carries it."""
    words = [memory.generation_word(page) for page in pages]
    newest = max(store.load(word) for word in words)
    for word in words:
        if store.load(word) != newest:
            store.store(word, newest)
