"""Entries that are not present and not empty, as ``include/linux/swapops.h`` keeps them.

Only arithmetic on plain integers may live here. Such an entry is one 64-bit word::

    63 ......... 46   45 ........ 12   11 .. 9   8          7   6    5 ..... 1   0
    0                 offset           0         PROTNONE   0   SWP  type        0
                                                                WRITE

``offset`` is a page number: of the swap slot, or of the page that is being migrated or was given
to a device. ``PROTNONE`` marks an ordinary entry that NUMA hinting has made inaccessible; its page
number and permissions stay where they were.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from shootdown_protocol.memory import (
    PAGE_SHIFT,
    PFN_MASK,
    PRESENT,
    Pte,
    hardware_bits,
    pte_pfn,
)

_TYPE_SHIFT: Final = 1
_TYPE_MASK: Final = 0x1F << _TYPE_SHIFT
SWP_WRITE: Final = 1 << 6
"""The entry that this one stands for may be made writable again (for a swap slot: it is
exclusive)."""
PROTNONE: Final = 1 << 8


class SwapType(IntEnum):
    """What a non-present entry stands for; 0 is none of them."""

    NONE = 0
    SWAP = 1
    """A swap slot."""
    MIGRATION = 2
    """``SWP_MIGRATION_*``: the page is being moved; whoever meets it waits."""
    DEVICE_PRIVATE = 3
    """``SWP_DEVICE_*``: the page lies in a device's own memory."""
    DEVICE_EXCLUSIVE = 4
    """``SWP_DEVICE_EXCLUSIVE``: a device has the page to itself until somebody faults."""


def make_swap_pte(kind: SwapType, offset: int, *, writable: bool) -> Pte:
    """Build a non-present entry, as ``swp_entry_to_pte()``."""
    return Pte(offset << PAGE_SHIFT & PFN_MASK | kind << _TYPE_SHIFT | SWP_WRITE * writable)


def pte_none(pte: int) -> bool:
    """Whether nothing at all is said by the entry, as ``pte_none()``."""
    return not hardware_bits(pte)


def pte_protnone(pte: int) -> bool:
    """Whether NUMA hinting has made the entry inaccessible, as ``pte_protnone()``."""
    return pte & (PRESENT | PROTNONE) == PROTNONE


def is_swap_pte(pte: int) -> bool:
    """Whether the entry is neither present nor empty, as ``is_swap_pte()``."""
    return not pte & PRESENT and bool(pte & _TYPE_MASK) and not pte & PROTNONE


def swp_type(pte: int) -> SwapType:
    """What a non-present entry stands for, as ``swp_type()``."""
    return SwapType((pte & _TYPE_MASK) >> _TYPE_SHIFT) if is_swap_pte(pte) else SwapType.NONE


def swp_offset(pte: int) -> int:
    """The page number that a non-present entry names, as ``swp_offset()``."""
    return pte_pfn(pte)


def swp_write(pte: int) -> bool:
    """Whether what the entry stands for may be made writable again."""
    return bool(pte & SWP_WRITE)


def pte_mkprotnone(pte: int) -> Pte:
    """The same entry made inaccessible, as ``pte_modify(pte, PAGE_NONE)``."""
    return Pte(pte & ~PRESENT | PROTNONE)


def pte_mkaccessible(pte: int) -> Pte:
    """An inaccessible entry made present again."""
    return Pte(pte & ~PROTNONE | PRESENT)
