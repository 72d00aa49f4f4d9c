"""The registry: every message with its plane and who may send it; documents are made from it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from shootdown_protocol.messages import (
    ControlFromDaemon,
    ControlToDaemon,
    DeviceFromDaemon,
    DeviceToDaemon,
    Event,
)
from shootdown_protocol.sides import Direction, Plane


class MessageKind(msgspec.Struct, frozen=True):
    """One row of the registry."""

    type: type[msgspec.Struct]
    plane: Plane
    direction: Direction

    @property
    def name(self) -> str:
        """The structure's name."""
        return self.type.__name__

    @property
    def tag(self) -> int | str:
        """What stands for it on the wire."""
        tag = self.type.__struct_config__.tag
        assert isinstance(tag, int | str)
        return tag


def _rows(
    plane: Plane, to_daemon: tuple[type, ...], from_daemon: tuple[type, ...]
) -> Iterator[MessageKind]:
    both = set(to_daemon) & set(from_daemon)
    for kind in dict.fromkeys((*to_daemon, *from_daemon)):
        one_way = Direction.TO_DAEMON if kind in to_daemon else Direction.FROM_DAEMON
        yield MessageKind(kind, plane, Direction.BOTH if kind in both else one_way)


MESSAGES: Final = (
    *sorted(
        _rows(Plane.DEVICE, DeviceToDaemon.__args__, DeviceFromDaemon.__args__),
        key=lambda row: int(row.tag),
    ),
    *_rows(Plane.CONTROL, ControlToDaemon.__args__, ControlFromDaemon.__args__),
    *_rows(Plane.OBSERVER, (), (Event,)),
)
"""Every message of every plane."""
