"""Caches of translations: bounds, replacement, page sizes, and what an invalidation drops."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.machine.machines import make_store

from shootdown_engine import walk_cache
from shootdown_engine.live_store import LiveStore
from shootdown_engine.translation_cache import WAYS, Cached, TranslationCache, first_page
from shootdown_engine.walker import TableAt
from shootdown_protocol.layout import Layout

PASID = 7
SMALL, LARGE, HUGE = 12, 21, 30
SHIFTS = (SMALL, LARGE, HUGE)
EVERYTHING = (0, (1 << 52) - 1)


def store() -> LiveStore:
    """A store of nothing but cells."""
    return make_store(Layout(4, 64, 1))


def page(vpn: int, shift: int = SMALL) -> Cached:
    """A translation that says which page it is of."""
    return Cached(first_page(vpn, shift), True, 0, 0, 0, shift)


def held(cache: TranslationCache, cells: LiveStore, vpns: Iterable[int]) -> set[int]:
    """Pages that a cache has, looked at without using them."""
    return {vpn for vpn in vpns if cells.get((cache.kind, cache.device, PASID, vpn)) is not None}


@pytest.mark.parametrize(("replacement", "lost"), [("fifo", 1), ("lru", 2)])
def test_a_full_set_gives_one_up(replacement: str, lost: int) -> None:
    """First in, first out; or the one whose last use lies longest back."""
    cells, cache = store(), TranslationCache("atc", 0, entries=2, replacement=replacement)
    cache.insert(cells, PASID, 1, page(1))
    cache.insert(cells, PASID, 2, page(2))
    cache.look_up(cells, PASID, 1)

    cache.insert(cells, PASID, 3, page(3))

    assert held(cache, cells, (1, 2, 3)) == {1, 2, 3} - {lost}


@given(
    entries=st.integers(1, 3 * WAYS),
    replacement=st.sampled_from(("fifo", "lru")),
    vpns=st.lists(st.integers(0, 100), max_size=80),
)
def test_a_bounded_cache_never_holds_more(entries: int, replacement: str, vpns: list[int]) -> None:
    """Whatever goes in, no set holds more than its ways, and the last one in is there."""
    cells, cache = store(), TranslationCache("atc", 0, entries=entries, replacement=replacement)

    for vpn in vpns:
        cache.insert(cells, PASID, vpn, page(vpn))
        assert cache.look_up(cells, PASID, vpn) == page(vpn)

    assert len(held(cache, cells, range(101))) <= cache.sets * cache.ways


def test_what_was_dropped_takes_no_room() -> None:
    """An entry that an invalidation has dropped is not the one to give up next."""
    cells, cache = store(), TranslationCache("atc", 0, entries=2)
    for vpn in (1, 2):
        cache.insert(cells, PASID, vpn, page(vpn))
    cache.drop(cells, PASID, (1, 2, 3), 1, 1)

    cache.insert(cells, PASID, 3, page(3))

    assert held(cache, cells, (1, 2, 3)) == {2, 3}


@given(
    vpn=st.integers(0, (1 << 30) - 1), shift=st.sampled_from(SHIFTS), step=st.integers(0, 1 << 18)
)
def test_a_page_answers_for_all_of_its_addresses(vpn: int, shift: int, step: int) -> None:
    """A translation of any size is found by every 4 KiB page in it, and by no other."""
    cells, cache = store(), TranslationCache("atc", 0, shifts=SHIFTS)
    cache.insert(cells, PASID, vpn, page(vpn, shift))
    other = first_page(vpn, shift) + step

    found = cache.look_up(cells, PASID, other)

    assert (found is not None) == (first_page(other, shift) == first_page(vpn, shift))


@given(
    vpn=st.integers(0, (1 << 30) - 1),
    shift=st.sampled_from(SHIFTS),
    first=st.integers(0, (1 << 30) - 1),
    size=st.integers(0, 24),
)
def test_whatever_overlaps_is_dropped(vpn: int, shift: int, first: int, size: int) -> None:
    """A smaller invalidation drops a larger page, and a larger one all pages in it."""
    cells, cache = store(), TranslationCache("atc", 0, shifts=SHIFTS)
    cache.insert(cells, PASID, vpn, page(vpn, shift))
    first = first >> size << size
    last = first + (1 << size) - 1
    base = first_page(vpn, shift)
    overlaps = base <= last and base + (1 << shift - SMALL) > first

    cache.drop(cells, PASID, (vpn,), first, last)

    assert (cache.look_up(cells, PASID, vpn) is None) == overlaps


def test_pasids_do_not_meet() -> None:
    """The same page of another PASID is another translation."""
    cells, cache = store(), TranslationCache("iotlb", 0)
    cache.insert(cells, PASID, 1, page(1))

    cache.drop(cells, PASID + 1, (1,), *EVERYTHING)

    assert cache.look_up(cells, PASID + 1, 1) is None
    assert cache.look_up(cells, PASID, 1) == page(1)


def test_a_walk_begins_at_the_deepest_table_that_is_remembered() -> None:
    """Of two tables on the way the lower one counts; an invalidation of any page of it drops it."""
    cells = store()
    va = 0x40_0000_5000
    for level in (3, 1):
        walk_cache.remember(cells, 0, PASID, va, TableAt(100 + level, level, writable=True))
    near, far = va + 0x1000, va + (1 << 21)

    assert walk_cache.deepest(cells, 0, PASID, near) == TableAt(101, 1, writable=True)
    assert walk_cache.deepest(cells, 0, PASID, far) == TableAt(103, 3, writable=True)
    walk_cache.drop_tables(cells, 0, PASID, (near >> SMALL,))

    assert walk_cache.deepest(cells, 0, PASID, va) is None
