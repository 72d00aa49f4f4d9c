"""What one 64-bit word of a data frame says: a version of a logical word, or poison.

A location of a scenario is one *logical word*; the word a frame holds names the version that was
stored last. Copies carry the word unchanged, so a version has one writer however often its page
moved. Layout of a data word, from the top::

    8 tag | 24 instance | 6 location | 6 epoch | 10 version | 10 value

Poison fills a freed frame. Read as a page table entry it is present with reserved bits set, so a
late walker faults on it instead of taking it for an empty slot.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from shootdown_protocol.memory import PRESENT, RESERVED_MASK

DATA_TAG: Final = 0x5A
POISON_TAG: Final = 0x6B

INSTANCE_BITS: Final = 24
LOCATION_BITS: Final = 6
EPOCH_BITS: Final = 6
VERSION_BITS: Final = 10
VALUE_BITS: Final = 10

VALUE_MAX: Final = (1 << VALUE_BITS) - 1
VERSION_MAX: Final = (1 << VERSION_BITS) - 1
EPOCH_MAX: Final = (1 << EPOCH_BITS) - 1
LOCATIONS_MAX: Final = 1 << LOCATION_BITS
INSTANCES_MAX: Final = 1 << INSTANCE_BITS

_VERSION_SHIFT: Final = VALUE_BITS
_EPOCH_SHIFT: Final = _VERSION_SHIFT + VERSION_BITS
_LOCATION_SHIFT: Final = _EPOCH_SHIFT + EPOCH_BITS
_INSTANCE_SHIFT: Final = _LOCATION_SHIFT + LOCATION_BITS
_TAG_SHIFT: Final = 56

assert _INSTANCE_SHIFT + INSTANCE_BITS == _TAG_SHIFT

ORDER_MASK: Final = (1 << (EPOCH_BITS + VERSION_BITS)) - 1
"""Epoch and version together, the order of a logical word, after shifting by ``VALUE_BITS``."""

POISON_GENERATION_BITS: Final = 32
_POISON_FIXED: Final = (POISON_TAG << _TAG_SHIFT) | RESERVED_MASK | PRESENT
_POISON_GENERATION_SHIFT: Final = 12


class DataWord(NamedTuple):
    """A data word taken apart."""

    instance: int
    location: int
    epoch: int
    version: int
    value: int


def data_word(instance: int, location: int, epoch: int, version: int, value: int) -> int:
    """Pack a version of a logical word; the instance is taken modulo 2**24."""
    assert 0 <= value <= VALUE_MAX
    assert 0 <= version <= VERSION_MAX
    assert 0 <= epoch <= EPOCH_MAX
    assert 0 <= location < LOCATIONS_MAX
    return (
        (DATA_TAG << _TAG_SHIFT)
        | ((instance % INSTANCES_MAX) << _INSTANCE_SHIFT)
        | (location << _LOCATION_SHIFT)
        | (epoch << _EPOCH_SHIFT)
        | (version << _VERSION_SHIFT)
        | value
    )


def is_data(word: int) -> bool:
    """Whether a word was made by `data_word`."""
    return word >> _TAG_SHIFT == DATA_TAG


def unpack(word: int) -> DataWord:
    """Take a data word apart; anything else is a caller's mistake."""
    assert is_data(word)
    return DataWord(
        (word >> _INSTANCE_SHIFT) & (INSTANCES_MAX - 1),
        (word >> _LOCATION_SHIFT) & (LOCATIONS_MAX - 1),
        (word >> _EPOCH_SHIFT) & EPOCH_MAX,
        (word >> _VERSION_SHIFT) & VERSION_MAX,
        word & VALUE_MAX,
    )


def order_of(word: int) -> int:
    """Epoch and version as one number that grows along a logical word's history."""
    return (word >> _VERSION_SHIFT) & ORDER_MASK


def make_order(epoch: int, version: int) -> int:
    """The number that `order_of` reads from a word of this epoch and version."""
    return (epoch << VERSION_BITS) | version


def split_order(order: int) -> tuple[int, int]:
    """Epoch and version of a number made by `make_order`."""
    return order >> VERSION_BITS, order & VERSION_MAX


def same_logical_word(word: int, instance: int, location: int) -> bool:
    """Whether a word is a version of this location of this instance."""
    return word >> _LOCATION_SHIFT == (
        (DATA_TAG << LOCATION_BITS + INSTANCE_BITS)
        | ((instance % INSTANCES_MAX) << LOCATION_BITS)
        | location
    )


def poison_word(generation: int) -> int:
    """The pattern of a frame freed in this generation (taken modulo 2**32)."""
    return _POISON_FIXED | (generation % (1 << POISON_GENERATION_BITS)) << _POISON_GENERATION_SHIFT


def is_poison(word: int) -> bool:
    """Whether a word is a freed frame's pattern, of whatever generation."""
    return word & (0xFF << _TAG_SHIFT | RESERVED_MASK | PRESENT) == _POISON_FIXED


def poison_generation(word: int) -> int:
    """The generation that a poison word names."""
    assert is_poison(word)
    return (word >> _POISON_GENERATION_SHIFT) & ((1 << POISON_GENERATION_BITS) - 1)
