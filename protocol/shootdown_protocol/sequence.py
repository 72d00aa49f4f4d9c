"""Whether a message of a link came next, came after a loss, or should not have come.

Each direction of a device link counts its messages from 0, so a lost invalidation is seen by the
next message or heartbeat. Pure: what to do about it is the caller's business.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import Generic, TypeVar

from shootdown_protocol.limits import KEPT_MESSAGES, SEQUENCE_GAPS_MAX

M = TypeVar("M")


class Arrival(Enum):
    """What one message's number says."""

    NEXT = "next"
    GAP = "gap"
    """Messages before it are missing: whatever they said to drop may still be held."""
    DUPLICATE = "duplicate"
    """It was seen before: it must not be obeyed again."""
    LATE = "late"
    """It was missing and has been reported so: what it says has been overtaken."""


class SequenceCheck:
    """Expects the numbers of one direction of one link, from 0.

    After a gap the numbers are expected to go on from there. ``missed`` counts messages that were
    lost and have not come late.
    """

    __slots__ = ("_gaps", "expected", "missed")

    def __init__(self) -> None:
        """Expect a link's first message."""
        self.expected = 0
        self.missed = 0
        self._gaps: list[range] = []

    @property
    def newest_gap(self) -> range:
        """Numbers of the newest gap; empty without one."""
        return self._gaps[-1] if self._gaps else range(0)

    def accept(self, sequence: int) -> Arrival:
        """Take in the number of a message that came."""
        if sequence == self.expected:
            self.expected = sequence + 1
            return Arrival.NEXT
        if sequence > self.expected:
            self._gaps.append(range(self.expected, sequence))
            # Beyond the bound the oldest gap is forgotten; of it, late then reads as duplicate.
            del self._gaps[:-SEQUENCE_GAPS_MAX]
            self.missed += sequence - self.expected
            self.expected = sequence + 1
            return Arrival.GAP
        return self._accept_old(sequence)

    def _accept_old(self, sequence: int) -> Arrival:
        for position, gap in enumerate(self._gaps):
            if sequence in gap:
                halves = (range(gap.start, sequence), range(sequence + 1, gap.stop))
                self._gaps[position : position + 1] = [half for half in halves if half]
                self.missed -= 1
                return Arrival.LATE
        return Arrival.DUPLICATE


class KeptMessages(Generic[M]):
    """The last messages of one direction of a link, for when some of them have to be sent again."""

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        """Keep nothing yet."""
        self._kept: deque[tuple[int, M]] = deque(maxlen=KEPT_MESSAGES)

    def keep(self, number: int, message: M) -> None:
        """Keep a message under the number that it was sent with."""
        self._kept.append((number, message))

    def missing(self, first: int, count: int) -> list[M] | None:
        """So many messages from a number on; None when they are not all kept any more."""
        asked = range(first, first + count)
        found = [message for number, message in self._kept if number in asked]
        return found if len(found) == count else None
