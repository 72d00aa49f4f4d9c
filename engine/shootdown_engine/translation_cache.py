"""A cache of translations: the ATC of a device, or the IOTLB of the IOMMU in front of it.

Keys carry PASID, page and page size. One that is bounded is set-associative, and each set knows in
which order its entries go. The object holds facts only: what is cached are cells of the store.
"""

from __future__ import annotations

from collections.abc import Hashable
from functools import lru_cache
from typing import Final, NamedTuple

from shootdown_engine.store import Store
from shootdown_protocol.memory import PAGE_SHIFT

WAYS: Final = 16
"""Entries of one set, at most."""
LRU: Final = "lru"
FIFO: Final = "fifo"

Key = tuple[int, int, int]
"""PASID, first page number of the page, log2 of its size in bytes."""


class Cached(NamedTuple):
    """A translation as a cache keeps it; ``entry`` and ``word`` tell whether it went stale.

    ``shift`` is log2 of the page's size in bytes; ``pfn`` is where its first 4 KiB page lies.
    ``above`` and ``table`` are a `walker.Translation`'s.
    """

    pfn: int
    writable: bool
    generation: int
    word: int
    entry: int
    shift: int = PAGE_SHIFT
    above: int = 0
    table: int = 0


def cell_of(kind: str, device: int, pasid: int, vpn: int, shift: int) -> tuple[Hashable, ...]:
    """Cell of one page's translation; of a 4 KiB page the name says no size."""
    if shift == PAGE_SHIFT:
        return (kind, device, pasid, vpn)
    return (kind, device, pasid, first_page(vpn, shift), shift)


def first_page(vpn: int, shift: int) -> int:
    """Number of the first 4 KiB page of the page of a size that holds page ``vpn``."""
    return vpn >> shift - PAGE_SHIFT << shift - PAGE_SHIFT


@lru_cache(4096)
def _cells_within(
    kind: str,
    device: int,
    pasid: int,
    pages: tuple[int, ...],
    shifts: tuple[int, ...],
    first: int,
    last: int,
) -> tuple[tuple[tuple[Hashable, ...], Key], ...]:
    """Cells, and keys, of all that may be cached of some pages and overlaps a range.

    A range whose last page is before its first overlaps nothing.
    """
    return tuple(
        {
            cell_of(kind, device, pasid, vpn, shift): (pasid, first_page(vpn, shift), shift)
            for vpn in pages
            for shift in shifts
            if first <= last
            and first_page(vpn, shift) <= last
            and first_page(vpn, shift) + (1 << shift - PAGE_SHIFT) > first
        }.items()
    )


def pfn_of(entry: Cached, vpn: int) -> int:
    """Where a page lies, by a translation that covers it."""
    return entry.pfn + vpn - first_page(vpn, entry.shift)


class TranslationCache:
    """One cache of one device: ``kind`` is ``atc`` or ``iotlb``, ``entries`` 0 has no bound.

    ``shifts`` are the page sizes that it may hold, the smallest first.
    """

    def __init__(
        self,
        kind: str,
        device: int,
        *,
        entries: int = 0,
        replacement: str = FIFO,
        shifts: tuple[int, ...] = (PAGE_SHIFT,),
    ) -> None:
        """Divide the entries into sets of at most `WAYS`."""
        self.kind = kind
        self.device = device
        self.shifts = shifts
        self.replacement = replacement
        self.ways = min(entries, WAYS)
        self.sets = -(-entries // WAYS)

    def look_up(self, store: Store, pasid: int, vpn: int) -> Cached | None:
        """What is cached for a page; a hit counts as a use."""
        for shift in self.shifts:
            held = store.get(cell_of(self.kind, self.device, pasid, vpn, shift))
            if held is not None:
                assert isinstance(held, Cached)
                if self.ways and self.replacement == LRU:
                    self._use(store, (pasid, first_page(vpn, shift), shift))
                return held
        return None

    def insert(self, store: Store, pasid: int, vpn: int, entry: Cached) -> None:
        """Keep a translation of a page; a full set gives one up first."""
        shift = entry.shift
        if self.ways:
            self._make_room(store, (pasid, first_page(vpn, shift), shift))
        store.put(cell_of(self.kind, self.device, pasid, vpn, shift), entry)

    def drop(self, store: Store, pasid: int, pages: tuple[int, ...], first: int, last: int) -> None:
        """Give up whatever overlaps pages ``first`` to ``last``, larger pages included.

        ``pages`` are those of the PASID that may be cached.
        """
        bounded = self.ways
        covered = _cells_within(self.kind, self.device, pasid, pages, self.shifts, first, last)
        for cell, key in covered:
            if not bounded:
                store.put(cell, None)
            elif store.get(cell) is not None:
                store.put(cell, None)
                self._leave(store, key)

    # The order within a set: the first goes first.

    def _set(self, key: Key) -> tuple[Hashable, ...]:
        pasid, vpn, _ = key
        number = (vpn ^ vpn >> 9 ^ pasid * 0x9E5) % self.sets
        return (f"{self.kind}_order", self.device, number)

    def _order(self, store: Store, cell: tuple[Hashable, ...]) -> tuple[Key, ...]:
        order = store.get(cell) or ()
        assert isinstance(order, tuple)
        return order

    def _make_room(self, store: Store, key: Key) -> None:
        cell = self._set(key)
        order = self._order(store, cell)
        if key in order:
            if self.replacement == LRU:
                self._use(store, key)
            return
        if len(order) == self.ways:
            (pasid, vpn, shift), *rest = order
            store.put(cell_of(self.kind, self.device, pasid, vpn, shift), None)
            order = tuple(rest)
        store.put(cell, (*order, key))

    def _use(self, store: Store, key: Key) -> None:
        cell = self._set(key)
        order = self._order(store, cell)
        if order[-1] != key:
            store.put(cell, (*(other for other in order if other != key), key))

    def _leave(self, store: Store, key: Key) -> None:
        cell = self._set(key)
        order = self._order(store, cell)
        if key in order:
            store.put(cell, tuple(other for other in order if other != key) or None)
