"""Every message lost, repeated or late on a link is noticed."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from shootdown_protocol.limits import SEQUENCE_GAPS_MAX
from shootdown_protocol.sequence import Arrival, SequenceCheck


def arrivals(numbers: Sequence[int]) -> list[str]:
    """What a fresh check says of each number."""
    check = SequenceCheck()
    return [check.accept(number).value for number in numbers]


def test_numbers_from_zero_come_next() -> None:
    """A link without loss reports nothing."""
    assert arrivals([0, 1, 2]) == ["next", "next", "next"]


def test_a_lost_first_message_is_a_gap() -> None:
    """Even the first message of a link cannot be lost unseen."""
    assert arrivals([1, 2]) == ["gap", "next"]


def test_late_and_duplicate_are_told_apart() -> None:
    """What fills a gap is late, and what was seen is a duplicate."""
    assert arrivals([0, 4, 2, 2, 4, 0, 1, 5]) == [
        "next",
        "gap",
        "late",
        "duplicate",
        "duplicate",
        "duplicate",
        "late",
        "next",
    ]


def test_missed_counts_what_never_came() -> None:
    """Messages that came late are no longer missed."""
    check = SequenceCheck()
    for number in (0, 10, 3, 4):
        check.accept(number)

    assert check.missed == 7


@given(st.lists(st.integers(0, 30), max_size=80))
def test_check_agrees_with_a_set(numbers: list[int]) -> None:
    """On any order of arrival the verdicts are those of a model that remembers everything."""
    check, seen = SequenceCheck(), set[int]()
    for number in numbers:
        top = max(seen, default=-1)

        arrival = check.accept(number)

        if number == top + 1:
            assert arrival is Arrival.NEXT
        elif number > top:
            assert arrival is Arrival.GAP
        else:
            assert arrival is (Arrival.DUPLICATE if number in seen else Arrival.LATE)
        seen.add(number)
        assert check.missed == max(seen) + 1 - len(seen)


def test_memory_is_bounded() -> None:
    """A peer that skips for ever costs no more than the gaps that are remembered."""
    check = SequenceCheck()
    for number in range(1, 10 * SEQUENCE_GAPS_MAX, 2):
        assert check.accept(number) is Arrival.GAP

    assert len(check._gaps) == SEQUENCE_GAPS_MAX
    assert check.accept(0) is Arrival.DUPLICATE
