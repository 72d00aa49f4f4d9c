"""The paging-structure cache of an IOMMU: how far down the tables a walk need not go any more.

An entry remembers which table page the walk of a region of addresses comes to. It is dropped by
every invalidation that overlaps its region, unless that one says that only leaves have changed
(VT-d calls the hint IH, Arm the same with TLBI's leaf operations). What is cached are cells.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Final

from shootdown_engine.store import Store
from shootdown_engine.walker import INDEX_BITS, TableAt
from shootdown_protocol.memory import LEVELS, PAGE_SHIFT

CACHED_LEVELS: Final = tuple(range(1, LEVELS))
"""Levels of the tables that are remembered, the deepest first; the root comes from the PASID."""


def walk_cache_cell(device: int, pasid: int, level: int, vpn: int) -> tuple[Hashable, ...]:
    """Cell of the table of a level that a walk to a page comes to."""
    return ("walk_cache", device, pasid, level, vpn >> INDEX_BITS * level)


def deepest(store: Store, device: int, pasid: int, va: int) -> TableAt | None:
    """The deepest table that is remembered on the way to an address."""
    vpn = va >> PAGE_SHIFT
    for level in CACHED_LEVELS:
        held = store.get(walk_cache_cell(device, pasid, level, vpn))
        if held is not None:
            assert isinstance(held, TableAt)
            return held
    return None


def remember(store: Store, device: int, pasid: int, va: int, at: TableAt) -> None:
    """Keep a table that a walk has come to."""
    if at.level in CACHED_LEVELS:
        store.put(walk_cache_cell(device, pasid, at.level, va >> PAGE_SHIFT), at)


def drop_tables(store: Store, device: int, pasid: int, vpns: Iterable[int]) -> None:
    """Forget every table on the way to any of these pages."""
    for vpn in vpns:
        for level in CACHED_LEVELS:
            store.put(walk_cache_cell(device, pasid, level, vpn), None)
