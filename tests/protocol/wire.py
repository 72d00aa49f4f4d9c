"""How tests send a message: its encoder, and the decoders of the sides that may get it."""

from collections.abc import Callable

from msgspec import Struct

from shootdown_protocol import codec
from shootdown_protocol.control_message import ControlMessage
from shootdown_protocol.device_message import DeviceMessage
from shootdown_protocol.registry import MESSAGES, MessageKind
from shootdown_protocol.sides import Bytes, Direction, Plane

KINDS = {kind.type: kind for kind in MESSAGES}

Decoder = Callable[[Bytes], Struct]
DECODERS: dict[tuple[Plane, Direction], Decoder] = {
    (Plane.DEVICE, Direction.TO_DAEMON): codec.decode_device_to_daemon,
    (Plane.DEVICE, Direction.FROM_DAEMON): codec.decode_device_from_daemon,
    (Plane.CONTROL, Direction.TO_DAEMON): codec.decode_control_to_daemon,
    (Plane.CONTROL, Direction.FROM_DAEMON): codec.decode_control_from_daemon,
    (Plane.OBSERVER, Direction.FROM_DAEMON): codec.decode_event,
}


def encode(message: Struct) -> bytes:
    """Pack a message for its plane."""
    if isinstance(message, DeviceMessage):
        return codec.encode_device(message)
    if isinstance(message, ControlMessage):
        return codec.encode_control(message)
    return codec.encode_event(message)  # type: ignore[arg-type]


def decoders(kind: MessageKind) -> list[Decoder]:
    """Decoders of the sides that may receive a kind of message."""
    return [
        decode
        for (plane, direction), decode in DECODERS.items()
        if kind.plane is plane and kind.direction in {direction, Direction.BOTH}
    ]
