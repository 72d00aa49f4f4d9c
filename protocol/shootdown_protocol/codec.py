"""Messages to bytes and back: the only place that sees the bytes of a message.

Whatever comes in, a decoder returns a message of its link or raises `RemoteProtocolError` with a
code, what was seen, what was expected and where; it raises nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, TypeVar

import msgspec

from shootdown_protocol import limits
from shootdown_protocol.control_message import ControlMessage
from shootdown_protocol.device_message import DeviceMessage
from shootdown_protocol.errors import ErrorCode, LocalProtocolError, RemoteProtocolError
from shootdown_protocol.messages import (
    ControlFromDaemon,
    ControlToDaemon,
    DeviceFromDaemon,
    DeviceToDaemon,
    Event,
    LoadProgram,
    RunScenario,
)
from shootdown_protocol.sides import Bytes, Direction, Plane, Side

Message = TypeVar("Message")

DEVICE_TO_DAEMON: Final = Side(Plane.DEVICE, Direction.TO_DAEMON, limits.DEVICE_MESSAGE_BYTES_MAX)
DEVICE_FROM_DAEMON: Final = Side(
    Plane.DEVICE, Direction.FROM_DAEMON, limits.DEVICE_MESSAGE_BYTES_MAX
)
CONTROL_TO_DAEMON: Final = Side(
    Plane.CONTROL, Direction.TO_DAEMON, limits.CONTROL_MESSAGE_BYTES_MAX
)
CONTROL_FROM_DAEMON: Final = Side(
    Plane.CONTROL, Direction.FROM_DAEMON, limits.CONTROL_MESSAGE_BYTES_MAX
)
OBSERVER: Final = Side(Plane.OBSERVER, Direction.FROM_DAEMON, limits.EVENT_BYTES_MAX)

_encode = msgspec.msgpack.Encoder().encode

# Text that is not UTF-8 is a UnicodeDecodeError and deep nesting a RecursionError; the rest is
# msgspec's own.
_REFUSED: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def _packer(bytes_max: int) -> Callable[[msgspec.Struct], bytes]:
    def pack(message: msgspec.Struct) -> bytes:
        try:
            data = _encode(message)
        except (msgspec.EncodeError, TypeError, ValueError, OverflowError) as error:
            raise LocalProtocolError(
                ErrorCode.OUT_OF_RANGE,
                seen=str(error),
                expected="fields of their types, integers of 64 bits",
                where=type(message).__name__,
            ) from error
        if len(data) > bytes_max:
            raise LocalProtocolError(
                ErrorCode.MESSAGE_TOO_LONG,
                seen=f"{len(data)} bytes",
                expected=f"at most {bytes_max}",
                where=type(message).__name__,
            )
        return data

    return pack


encode_device: Final[Callable[[DeviceMessage], bytes]] = _packer(limits.DEVICE_MESSAGE_BYTES_MAX)
"""Pack a message of the device plane; `LocalProtocolError` when it does not fit."""
encode_control: Final[Callable[[ControlMessage], bytes]] = _packer(limits.CONTROL_MESSAGE_BYTES_MAX)
"""Pack a message of the control plane; `LocalProtocolError` when it does not fit."""
encode_event: Final[Callable[[Event], bytes]] = _packer(limits.EVENT_BYTES_MAX)
"""Pack an event for observers; `LocalProtocolError` when it does not fit."""


def _check_program(message: LoadProgram | RunScenario) -> None:
    # A process is ready before it is sent a program, and starts the sooner without this.
    from shootdown_protocol.program_check import first_fault  # noqa: PLC0415 - rarely used

    fault = first_fault(message.program)
    if fault is not None:
        raise RemoteProtocolError(
            ErrorCode.WRONG_PROGRAM,
            seen=fault.seen,
            expected=fault.expected,
            where=f"{type(message).__name__}.program, {fault.where}",
        )


_Check = Callable[[Any], None]
"""Raises `RemoteProtocolError` for what field types cannot say."""


_PREPARE: Final[dict[Callable[[Bytes], Any], Callable[[], None]]] = {}


def prepare(reader: Callable[[Bytes], Any]) -> None:
    """Make the decoder of one of the readers below now, as when there is time to wait for it."""
    _PREPARE[reader]()


def _reader(
    make: Callable[[], msgspec.msgpack.Decoder[Message]],
    side: Side,
    checks: Mapping[type, _Check] = MappingProxyType({}),
) -> Callable[[Bytes], Message]:
    """A decoder that is made when its first message comes: no process has a use for all of them."""
    bytes_max = side.bytes_max
    decode: Callable[[Bytes], Message] | None = None

    def prepare_it() -> None:
        nonlocal decode
        decode = decode or make().decode

    def read(data: Bytes) -> Message:
        nonlocal decode
        if decode is None:
            decode = make().decode
        if len(data) <= bytes_max:
            try:
                message = decode(data)
            except _REFUSED:
                pass
            else:
                if checks and type(message) in checks:
                    checks[type(message)](message)
                return message
        # Most processes are never sent anything that they must refuse.
        from shootdown_protocol.refusal import refusal  # noqa: PLC0415 - rarely used

        raise refusal(data, side)

    _PREPARE[read] = prepare_it
    return read


decode_device_to_daemon: Final[Callable[[Bytes], DeviceToDaemon]] = _reader(
    lambda: msgspec.msgpack.Decoder(DeviceToDaemon), DEVICE_TO_DAEMON
)
"""Read what an agent sent on the device plane."""
decode_device_from_daemon: Final[Callable[[Bytes], DeviceFromDaemon]] = _reader(
    lambda: msgspec.msgpack.Decoder(DeviceFromDaemon),
    DEVICE_FROM_DAEMON,
    {LoadProgram: _check_program},
)
"""Read what the daemon sent on the device plane."""
decode_control_to_daemon: Final[Callable[[Bytes], ControlToDaemon]] = _reader(
    lambda: msgspec.msgpack.Decoder(ControlToDaemon),
    CONTROL_TO_DAEMON,
    {RunScenario: _check_program},
)
"""Read what was asked of the daemon on the control plane."""
decode_control_from_daemon: Final[Callable[[Bytes], ControlFromDaemon]] = _reader(
    lambda: msgspec.msgpack.Decoder(ControlFromDaemon), CONTROL_FROM_DAEMON
)
"""Read what the daemon sent on the control plane."""
decode_event: Final[Callable[[Bytes], Event]] = _reader(
    lambda: msgspec.msgpack.Decoder(Event), OBSERVER
)
"""Read what the daemon published for observers."""
