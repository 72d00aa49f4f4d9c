"""A direction of a plane, as its receiver knows it; what a message comes in."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from shootdown_protocol.registry import MessageKind

Bytes = bytes | bytearray | memoryview
"""What a message comes in."""


class Plane(Enum):
    """A kind of link."""

    DEVICE = "device"
    CONTROL = "control"
    OBSERVER = "observer"


class Direction(Enum):
    """Who may send a message."""

    TO_DAEMON = "to the daemon"
    FROM_DAEMON = "from the daemon"
    BOTH = "both ways"


class Side(NamedTuple):
    """One direction of one plane; ``bytes_max`` is the longest message that is read."""

    plane: Plane
    direction: Direction
    bytes_max: int

    @property
    def where(self) -> str:
        """What an error calls the place when it cannot name a message."""
        return f"{self.plane.value} plane, {self.direction.value}"

    def accepts(self, kind: MessageKind) -> bool:
        """Whether a message may come this way."""
        return kind.plane is self.plane and kind.direction in {self.direction, Direction.BOTH}
