"""Messages keep their bytes, and come back from them as they were."""

import msgpack  # type: ignore[import-untyped]
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct
from tests.protocol.samples import GOLDEN
from tests.protocol.strategies import of_struct
from tests.protocol.wire import KINDS, decoders, encode

from shootdown_protocol import codec
from shootdown_protocol.control_message import ControlMessage
from shootdown_protocol.device_message import DeviceMessage
from shootdown_protocol.errors import ErrorCode, LocalProtocolError
from shootdown_protocol.limits import EVENT_BYTES_MAX
from shootdown_protocol.messages import (
    Event,
    Heartbeat,
)
from shootdown_protocol.registry import MESSAGES, MessageKind
from shootdown_protocol.sides import Plane


@pytest.mark.parametrize(("message", "data"), GOLDEN, ids=lambda value: type(value).__name__)
def test_bytes_are_those_of_the_table(message: Struct, data: str) -> None:
    """A message's bytes do not change while the protocol's version does not."""
    assert encode(message).hex() == data
    for decode in decoders(KINDS[type(message)]):
        assert decode(bytes.fromhex(data)) == message


def test_every_message_has_its_bytes_in_the_table() -> None:
    """No message was forgotten, and none is there twice."""
    assert sorted(kind.name for kind in MESSAGES) == sorted(type(m).__name__ for m, _ in GOLDEN)


@pytest.mark.parametrize(("message", "data"), GOLDEN, ids=lambda value: type(value).__name__)
def test_plain_msgpack_reads_them(message: Struct, data: str) -> None:
    """An agent in another language needs no more than msgpack: a tag, then the fields."""
    value = msgpack.unpackb(bytes.fromhex(data))

    fields = message.__struct_fields__
    if isinstance(message, DeviceMessage):
        assert value[:2] == [KINDS[type(message)].tag, message.sequence]
        assert len(value) == 1 + len(fields)
    else:
        assert list(value) == ["type", *fields]


@pytest.mark.parametrize("kind", MESSAGES, ids=lambda kind: kind.name)
@settings(max_examples=50)
@given(st.data())
def test_any_message_survives_the_wire(kind: MessageKind, data: st.DataObject) -> None:
    """Every value that fields may have, up to the ends of their ranges, comes back the same."""
    message = data.draw(of_struct(kind.type))

    for decode in decoders(kind):
        assert decode(encode(message)) == message
        assert decode(memoryview(encode(message))) == message


@pytest.mark.parametrize("plane", Plane)
def test_tags_are_told_apart(plane: Plane) -> None:
    """No two messages of a plane have the same tag."""
    tags = [kind.tag for kind in MESSAGES if kind.plane is plane]

    assert len(tags) == len(set(tags))


@pytest.mark.parametrize("kind", MESSAGES, ids=lambda kind: kind.name)
def test_messages_are_frozen_and_of_their_plane(kind: MessageKind) -> None:
    """Nothing changes a message once it is made, and arrays go on the device plane only."""
    assert kind.type.__struct_config__.frozen
    assert kind.type.__struct_config__.forbid_unknown_fields
    assert kind.type.__struct_config__.array_like == (kind.plane is Plane.DEVICE)
    bases = {Plane.DEVICE: DeviceMessage, Plane.CONTROL: ControlMessage, Plane.OBSERVER: Event}
    assert issubclass(kind.type, bases[kind.plane])


def test_a_message_that_cannot_be_encoded_is_a_local_error() -> None:
    """A number of more than 64 bits is our own mistake, and is named so."""
    with pytest.raises(LocalProtocolError, match="Heartbeat") as caught:
        codec.encode_device(Heartbeat(0, 1 << 64))

    assert caught.value.code is ErrorCode.OUT_OF_RANGE


def test_a_message_that_is_too_long_is_not_sent() -> None:
    """What the peer would refuse never leaves this process."""
    with pytest.raises(LocalProtocolError, match=str(EVENT_BYTES_MAX)) as caught:
        codec.encode_event(Event(0, "daemon", "note", {"text": "x" * EVENT_BYTES_MAX}))

    assert caught.value.code is ErrorCode.MESSAGE_TOO_LONG
