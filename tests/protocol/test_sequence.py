"""Every message lost or repeated on a link is noticed, and none overtakes another."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from shootdown_protocol.limits import KEPT_MESSAGES
from shootdown_protocol.messages import Heartbeat
from shootdown_protocol.sequence import Arrival, KeptMessages, SequenceCheck


def arrivals(numbers: Sequence[int]) -> list[str]:
    """What a fresh check says of each number."""
    check = SequenceCheck()
    return [check.accept(number).value for number in numbers]


def test_numbers_from_zero_come_next() -> None:
    """A link without loss reports nothing."""
    assert arrivals([0, 1, 2]) == ["next", "next", "next"]


def test_a_lost_first_message_is_a_gap() -> None:
    """Even the first message of a link cannot be lost unseen."""
    assert arrivals([1, 2, 0, 1, 2]) == ["gap", "behind", "next", "next", "next"]


def test_what_is_lost_on_its_second_way_is_a_gap_again() -> None:
    """A gap is asked for once; what of it does not come is another one."""
    assert arrivals([0, 4, 5, 1, 3, 4, 2]) == [
        "next",
        "gap",
        "behind",
        "next",
        "gap",
        "behind",
        "next",
    ]


@given(st.lists(st.integers(0, 30), max_size=80))
def test_what_is_obeyed_is_in_order(numbers: list[int]) -> None:
    """In any order of arrival, what comes next has come after all before it, and once."""
    check, obeyed = SequenceCheck(), list[int]()
    for number in numbers:
        arrival = check.accept(number)

        assert (arrival is Arrival.DUPLICATE) == (number in obeyed)
        if arrival is Arrival.NEXT:
            obeyed.append(number)

    assert obeyed == list(range(len(obeyed)))


@given(st.lists(st.booleans(), max_size=200))
def test_a_gap_is_mended_whatever_is_lost(arrives: list[bool]) -> None:
    """A sender that sends again from the first missing number on has all of it obeyed, in order."""
    check, kept, obeyed = SequenceCheck(), KeptMessages[Heartbeat](), list[int]()
    wire: list[Heartbeat] = []
    for number, comes in enumerate([*arrives, True]):
        message = Heartbeat(number, number)
        kept.keep(message)
        wire += [message] * comes
        while wire:
            message = wire.pop(0)
            arrival = check.accept(message.sequence)
            if arrival is Arrival.NEXT:
                obeyed.append(message.beat)
            elif arrival is Arrival.GAP:
                wire += kept.since(check.expected) or []

    assert obeyed == list(range(len(arrives) + 1))


def test_what_is_kept_is_bounded() -> None:
    """What is not kept any more cannot be sent again, and nor can what was never sent."""
    kept = KeptMessages[Heartbeat]()
    for number in range(KEPT_MESSAGES + 1):
        kept.keep(Heartbeat(number, 0))

    assert kept.since(0) is None
    assert kept.since(KEPT_MESSAGES + 1) is None
    assert kept.since(KEPT_MESSAGES) == [Heartbeat(KEPT_MESSAGES, 0)]
