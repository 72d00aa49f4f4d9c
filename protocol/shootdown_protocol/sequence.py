"""Whether a message of a link comes next, or others before it are missing, or it came before.

Each direction of a device link counts its messages from 0, so a lost invalidation is seen by the
next message or heartbeat. Nothing that comes behind it is obeyed before what is missing has been
sent again, for it may rest on that. Pure: what to do about it is the caller's business.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import Generic, TypeVar

from shootdown_protocol.device_message import DeviceMessage
from shootdown_protocol.limits import KEPT_MESSAGES

M = TypeVar("M", bound=DeviceMessage)


class Arrival(Enum):
    """What one message's number says. Only the next one is to be obeyed."""

    NEXT = "next"
    GAP = "gap"
    """Messages before it are missing, which nobody has asked for: what they said is unknown."""
    BEHIND = "behind"
    """It comes behind what was asked for, and has not come yet."""
    DUPLICATE = "duplicate"
    """It was seen before: it must not be obeyed again."""


class SequenceCheck:
    """Expects the numbers of one direction of one link, from 0, each once and none left out."""

    __slots__ = ("_asked", "expected")

    def __init__(self) -> None:
        """Expect a link's first message."""
        self.expected = 0
        self._asked = -1

    def accept(self, sequence: int) -> Arrival:
        """Take in the number of a message that came."""
        if sequence == self.expected:
            self.expected = sequence + 1
            return Arrival.NEXT
        if sequence < self.expected:
            return Arrival.DUPLICATE
        if self._asked == self.expected:
            return Arrival.BEHIND
        self._asked = self.expected
        return Arrival.GAP


class KeptMessages(Generic[M]):
    """The last messages of one direction of a link, for when some of them have to be sent again."""

    __slots__ = ("_kept", "keep")

    def __init__(self) -> None:
        """Keep nothing yet."""
        self._kept: deque[M] = deque(maxlen=KEPT_MESSAGES)
        self.keep = self._kept.append
        """Keep a message as it was sent, with its number."""

    def since(self, first: int) -> list[M] | None:
        """Messages from a number on; None when that one is not kept."""
        found = [message for message in self._kept if message.sequence >= first]
        return found if found and found[0].sequence == first else None
