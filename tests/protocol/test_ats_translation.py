"""A translation completion says what the page table entry and the request allow, bit by bit."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shootdown_protocol.ats_range import Block
from shootdown_protocol.ats_translation import (
    EXECUTE,
    IS_GLOBAL,
    NO_SNOOP,
    PRIVILEGED,
    READ,
    RESERVED,
    UNTRANSLATED_ONLY,
    USER_REQUEST,
    WRITE,
    TranslationCompletion,
    TranslationRequest,
    decode,
    encode,
    permissions,
)
from shootdown_protocol.memory import GLOBAL, NX, PRESENT, RW, USER

ALL_BITS = (READ, WRITE, UNTRANSLATED_ONLY, EXECUTE, PRIVILEGED, IS_GLOBAL, NO_SNOOP)
SHIFTS = {12: "4 KiB", 21: "2 MiB", 30: "1 GiB"}
REQUESTS = [TranslationRequest(*flags) for flags in product((False, True), repeat=3)]
ENTRIES = [sum(bits) for bits in product((0, PRESENT), (0, RW), (0, USER), (0, NX), (0, GLOBAL))]


@pytest.mark.parametrize("shift", SHIFTS, ids=SHIFTS.values())
def test_every_permission_of_every_page_size_comes_back(shift: int) -> None:
    """All 128 sets of bits, for the sizes that tables map."""
    block = Block(5 << shift, 1 << shift)
    for chosen in product(*((0, bit) for bit in ALL_BITS)):
        completion = TranslationCompletion(block, sum(chosen))
        assert decode(encode(completion)) == completion


@given(shift=st.integers(12, 63), index=st.integers(0, 1 << 20), bits=st.sampled_from(ALL_BITS))
def test_a_completion_comes_back(shift: int, index: int, bits: int) -> None:
    """Whatever its size and place."""
    size = 1 << shift
    completion = TranslationCompletion(Block(index * size % (1 << 64), size), bits)

    assert decode(encode(completion)) == completion


@pytest.mark.parametrize("bit", [6, 7, 8, 9])
def test_reserved_bits_are_refused(bit: int) -> None:
    """A word with one of them set is no completion of this revision."""
    assert RESERVED >> bit & 1
    with pytest.raises(ValueError, match="bits 9 to 6"):
        decode(1 << bit | READ)


@pytest.mark.parametrize("request_", REQUESTS, ids=str)
def test_what_every_entry_allows_whom(request_: TranslationRequest) -> None:
    """Every leaf entry against every request, each bit by its own rule."""
    privileged = request_.privileged and request_.has_pasid
    for entry, writable in product(ENTRIES, (False, True)):
        bits = permissions(entry, request_, writable=writable)
        reached = bool(entry & PRESENT) and (bool(entry & USER) or privileged)

        assert bool(bits & READ) == reached
        assert bool(bits & WRITE) == (reached and writable and bool(entry & RW))
        runs = request_.execute and request_.has_pasid and not entry & NX
        assert bool(bits & EXECUTE) == (reached and runs)
        assert bool(bits & PRIVILEGED) == privileged
        assert bool(bits & IS_GLOBAL) == (reached and request_.has_pasid and bool(entry & GLOBAL))
        assert not bits & (UNTRANSLATED_ONLY | NO_SNOOP)


def test_no_translation_is_an_answer() -> None:
    """Nothing may be done with the range, whose size is still said."""
    bits = permissions(0, USER_REQUEST, writable=True)
    hole = decode(encode(TranslationCompletion(Block(1 << 21, 1 << 21), bits)))

    assert not hole.translates
    assert hole.block.size == 1 << 21
