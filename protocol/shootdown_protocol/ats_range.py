"""The address word of an ATS invalidation: an address and a size in one 64-bit word.

PCIe ATS says a size as translation completions and invalidation requests do. Bit 11 is S. With S
clear the range is one 4 KiB page. With S set the size lies in the trailing ones from bit 12 up:
the first zero bit k gives 2**(k + 1) bytes, so the bits below k belong to the size and not to the
address. A word whose low bits are left zero therefore names a smaller range than was meant: a real
bug of a vSVA driver, 2020. Only this arithmetic may live here.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

from shootdown_protocol.memory import PAGE_SHIFT, PAGE_SIZE

S_BIT: Final = 1 << 11
ADDRESS_BITS: Final = 64
_PAGE_MASK: Final = ((1 << ADDRESS_BITS) - 1) & ~(PAGE_SIZE - 1)
_REMEMBERED: Final = 4096
"""Answers of each function that are kept: a run names the same few ranges over and over."""


class Block(NamedTuple):
    """A naturally aligned power-of-two range, both in bytes."""

    address: int
    size: int

    @property
    def end(self) -> int:
        """First byte after it."""
        return self.address + self.size


EVERYTHING: Final = Block(0, 1 << ADDRESS_BITS)
"""The whole address space."""


@lru_cache(_REMEMBERED)
def encode(address: int, size: int) -> int:
    """Pack a block of 2**12 to 2**64 bytes; anything but a naturally aligned one is our mistake."""
    assert PAGE_SIZE <= size <= EVERYTHING.size, f"size {size:#x}"
    assert size & (size - 1) == 0, f"size {size:#x} is no power of two"
    assert 0 <= address < EVERYTHING.size, f"address {address:#x}"
    assert address & (size - 1) == 0, f"address {address:#x} is not aligned to {size:#x}"
    if size == PAGE_SIZE:
        return address
    return address | ((size // 2 - 1) & _PAGE_MASK) | S_BIT


@lru_cache(_REMEMBERED)
def decode(word: int) -> Block:
    """Unpack a word; `ValueError` when it is outside 64 bits, has other low bits or no size."""
    if not 0 <= word < EVERYTHING.size or word & (S_BIT - 1):
        raise ValueError(f"saw {word:#x}; expected a page address, with or without bit 11")
    if not word & S_BIT:
        return Block(word, PAGE_SIZE)
    # Adding one at bit 12 carries through the trailing ones; what then differs is they and bit k.
    differs = word ^ (word + PAGE_SIZE)
    size = (differs | (PAGE_SIZE - 1)) + 1
    if size > EVERYTHING.size:
        raise ValueError(f"saw {word:#x}; expected a zero bit among 12 to 63, which gives the size")
    return Block(word & ~(size - 1), size)


@lru_cache(_REMEMBERED)
def covering_block(start: int, end: int) -> Block:
    """The smallest naturally aligned power-of-two block that holds bytes ``start`` to ``end - 1``.

    One block rather than an exact cover: ITags are scarce, as Linux's SMMUv3 driver argues. It may
    be much larger than the range: two pages on both sides of a 1 GiB boundary need 2 GiB.
    """
    assert 0 <= start < end <= EVERYTHING.size, f"range {start:#x} to {end:#x}"
    shift = max(PAGE_SHIFT, (start ^ (end - 1)).bit_length())
    return Block(start >> shift << shift, 1 << shift)
