"""Cells of a device: what its caches hold, which accesses and translations are under way.

A step that takes a translation from a cache notes the access as *issued* in that same step, so
that an invalidation knows what to wait for.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import NamedTuple

from shootdown_engine.store import Store
from shootdown_engine.translation_cache import Cached as Cached  # noqa: PLC0414 - exported
from shootdown_engine.translation_cache import cell_of
from shootdown_protocol.memory import PAGE_SHIFT

VALID = "valid"
CANCELLED = "cancelled"

Thread = tuple[int, str]
"""A device thread: slot number and name."""


class Issued(NamedTuple):
    """An access under way; ``drains`` are the ITags that wait for it."""

    pasid: int
    vpn: int
    drains: tuple[int, ...]


class Walking(NamedTuple):
    """A translation under way; ``state`` is `VALID` until an invalidation cancels it."""

    pasid: int
    vpn: int
    state: str


def atc_cell(device: int, pasid: int, vpn: int, shift: int = PAGE_SHIFT) -> tuple[Hashable, ...]:
    """Cell of one page's translation in the device's ATC."""
    return cell_of("atc", device, pasid, vpn, shift)


def iotlb_cell(device: int, pasid: int, vpn: int, shift: int = PAGE_SHIFT) -> tuple[Hashable, ...]:
    """Cell of one page's translation in the IOTLB that serves the device."""
    return cell_of("iotlb", device, pasid, vpn, shift)


def issued_cell(device: int, thread: Thread) -> tuple[Hashable, ...]:
    """Cell of the access that a thread has issued and not finished."""
    return ("issued", device, *thread)


def walking_cell(device: int, thread: Thread) -> tuple[Hashable, ...]:
    """Cell of the translation that a thread waits for."""
    return ("walking", device, *thread)


def value_cell(device: int, thread: Thread) -> tuple[Hashable, ...]:
    """Cell of what a thread that a class declares has met with its last access."""
    return ("value", device, *thread)


def cached(store: Store, cell: tuple[Hashable, ...]) -> Cached | None:
    """What a cache cell holds."""
    entry = store.get(cell)
    assert entry is None or isinstance(entry, Cached)
    return entry
