"""The address word of an invalidation names exactly the range that was meant."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shootdown_protocol.ats_range import EVERYTHING, S_BIT, Block, covering_block, decode, encode

SIZES = [1 << shift for shift in range(12, 65)]
TOP = 1 << 64


def aligned_addresses(size: int) -> set[int]:
    """The blocks of a size at both ends, beside every power of two, and with all bits set."""
    near = {place + step for shift in range(12, 64) for place in (1 << shift,) for step in (-1, 0)}
    return {place // size * size for place in near | {0, TOP - 1}}


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"2^{size.bit_length() - 1}")
def test_every_size_and_alignment_survives(size: int) -> None:
    """Each power-of-two size comes back with its address, wherever the block lies."""
    for address in aligned_addresses(size):
        assert decode(encode(address, size)) == Block(address, size)


@pytest.mark.parametrize(
    ("address", "size", "word"),
    [
        (0x1234_5000, 1 << 12, 0x1234_5000),
        (0x1234_4000, 1 << 13, 0x1234_4800),
        (0x1234_0000, 1 << 16, 0x1234_7800),
        (0x1220_0000, 1 << 21, 0x122F_F800),
        (0x4000_0000, 1 << 30, 0x5FFF_F800),
        (0, 1 << 63, 0x3FFF_FFFF_FFFF_F800),
        (1 << 63, 1 << 63, 0xBFFF_FFFF_FFFF_F800),
        (0, 1 << 64, 0x7FFF_FFFF_FFFF_F800),
    ],
)
def test_words_are_those_of_the_specification(address: int, size: int, word: int) -> None:
    """S is bit 11, and the first zero bit from 12 up gives the size."""
    assert encode(address, size) == word


@pytest.mark.parametrize("size", SIZES[1:], ids=lambda size: f"2^{size.bit_length() - 1}")
def test_zero_low_bits_name_a_smaller_range(size: int) -> None:
    """A word whose size bits were left zero covers 8 KiB only, as in the driver bug of 2020."""
    assert decode(S_BIT).size == 1 << 13
    assert (encode(0, size) == S_BIT) == (size == 1 << 13)


@pytest.mark.parametrize("word", [-1, 1, 1 << 10, S_BIT | 1, TOP, TOP - S_BIT, TOP + S_BIT])
def test_words_that_name_no_range_are_refused(word: int) -> None:
    """Other low bits, more than 64 bits, or no zero bit at all are no range."""
    with pytest.raises(ValueError, match=r"saw .*; expected"):
        decode(word)


@given(st.integers(0, TOP - 1))
def test_any_word_decodes_to_the_block_that_encodes_to_it(word: int) -> None:
    """There is one word for each block and one block for each word."""
    word &= ~(S_BIT - 1)
    if word == TOP - S_BIT:
        return

    block = decode(word)

    assert encode(*block) == word
    assert block.address % block.size == 0


@given(st.integers(0, TOP - 1), st.integers(0, TOP - 1))
def test_covering_block_is_the_smallest_that_covers(one: int, other: int) -> None:
    """It is aligned and holds the range, and neither of its halves does."""
    start, end = min(one, other), max(one, other) + 1

    block = covering_block(start, end)

    assert block.address % block.size == 0
    assert block.address <= start < end <= block.end
    middle = block.address + block.size // 2
    assert block.size == 1 << 12 or start < middle < end


def test_covering_block_of_all_is_everything() -> None:
    """The whole address space is covered by the block that invalidates everything."""
    assert covering_block(0, TOP) == EVERYTHING


@pytest.mark.parametrize(
    ("address", "size"), [(0, 0), (0, 1 << 11), (0, 3 << 12), (1 << 12, 1 << 13), (TOP, 1 << 12)]
)
def test_what_is_no_block_is_our_own_mistake(address: int, size: int) -> None:
    """A block that is not aligned, or no power of two, is an assertion."""
    with pytest.raises(AssertionError):
        encode(address, size)
