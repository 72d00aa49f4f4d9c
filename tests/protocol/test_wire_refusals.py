"""Whatever bytes come in, the answer is a message or one typed error that says what was wrong."""

from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct
from tests.protocol.samples import COW_TWO_PAGES, GOLDEN
from tests.protocol.wire import DECODERS, KINDS, Decoder, decoders, encode

from shootdown_protocol import codec
from shootdown_protocol.errors import ErrorCode, RemoteProtocolError
from shootdown_protocol.limits import DEVICE_MESSAGE_BYTES_MAX
from shootdown_protocol.messages import Event, LoadProgram

E = ErrorCode
PACKED = [bytes.fromhex(data) for _, data in GOLDEN]
EVERY = list(DECODERS.values())


def refusal(decode: Decoder, data: bytes) -> RemoteProtocolError:
    """The error that bytes get."""
    with pytest.raises(RemoteProtocolError) as caught:
        decode(data)
    return caught.value


# code, where, seen, expected, what came on the device plane from an agent
FROM_AGENT: list[tuple[ErrorCode, str, str, str, Any]] = [
    (E.UNKNOWN_MESSAGE, "device plane", "tag 99", "17", [99, 0]),
    (E.UNKNOWN_MESSAGE, "device plane", "tag -1", "17", [-1, 0]),
    (E.WRONG_DIRECTION, "device plane", "Heartbeat", "to the daemon", [24, 0, 1]),
    (E.MALFORMED_MESSAGE, "device plane", "[]", "array", []),
    (E.MALFORMED_MESSAGE, "device plane", "{}", "array", {}),
    (E.MALFORMED_MESSAGE, "device plane", "[True, 0]", "array", [True, 0]),
    (E.MALFORMED_MESSAGE, "device plane", "7", "array", 7),
    (E.UNKNOWN_VERSION, "Hello.protocol_version", "2", "1", [1, 0, 2, {"new": "form"}]),
    (E.WRONG_FIELDS, "Hello", "3 elements", "8: tag, sequence", [1, 0, 1]),
    (E.WRONG_FIELDS, "HeartbeatReply", "5 elements", "4: tag", [25, 0, 1, {}, 0]),
    (E.WRONG_TYPE, "Hello.protocol_version", "str '1'", "int", [1, 0, "1", "", "a", 1, []]),
    (E.WRONG_TYPE, "Hello.pid", "float 1.0", "int", [1, 0, 1, "", "a", 1.0, []]),
    (E.WRONG_TYPE, "HeartbeatReply.beat", "bool True", "int", [25, 0, True, {}]),
    (E.OUT_OF_RANGE, "Hello.name", "'../a'", "regex", [1, 0, 1, "", "../a", 1, []]),
    (E.OUT_OF_RANGE, "Hello.capabilities[1]", "'a b'", "regex",
        [1, 0, 1, "", "a", 1, ["a", "a b"]]),
    (E.OUT_OF_RANGE, "HeartbeatReply.sequence", "-1", "int >= 0", [25, -1, 1, {}]),
    (E.OUT_OF_RANGE, "HeartbeatReply.counters['a']", "-1", "int >= 0", [25, 0, 1, {"a": -1}]),
    (E.OUT_OF_RANGE, "a key of HeartbeatReply.counters", "{'': 1}", "regex", [25, 0, 1, {"": 1}]),
    (E.OUT_OF_RANGE, "InvalidateCompletion.completions", "[]", "length >= 1", [17, 0, []]),
    (E.OUT_OF_RANGE, "completions[0].itags", "0", "int >= 1", [17, 0, [[0, 0, 1]]]),
    (E.OUT_OF_RANGE, "completions[1].count", "8", "int <= 7", [17, 0, [[0, 1, 1], [0, 1, 8]]]),
    (E.OUT_OF_RANGE, "requests[0].pasid", "1048576", "1048575",
        [18, 0, [[0, 1 << 20, 0, 0, 1, 1, 1]]]),
    (E.OUT_OF_RANGE, "requests[0].address", "4097", "4096", [18, 0, [[0, 1, 4097, 0, 1, 1, 1]]]),
    (E.OUT_OF_RANGE, "requests[0].address", str(1 << 63), "int <=",
        [18, 0, [[0, 1, 1 << 63, 0, 1, 1, 1]]]),
    (E.OUT_OF_RANGE, "requests[0].prgi", "512", "511", [18, 0, [[0, 1, 0, 512, 1, 1, 1]]]),
    (E.OUT_OF_RANGE, "ErrorReport.code", "9", "values", [28, 0, 9, ""]),
]  # fmt: skip

# the same from the daemon
FROM_DAEMON: list[tuple[ErrorCode, str, str, str, Any]] = [
    (E.WRONG_DIRECTION, "device plane", "Hello", "from the daemon", [1, 0]),
    (E.OUT_OF_RANGE, "requests[0].itag", "32", "int <= 31", [16, 0, [[0, 32, 1, 0, 0, 0]]]),
    (E.OUT_OF_RANGE, "requests[0].itag", "-1", "int >= 0", [16, 0, [[0, -1, 1, 0, 0, 0]]]),
    (E.OUT_OF_RANGE, "requests[0].address", "1024", "2048", [16, 0, [[0, 1, 1, 1024, 0, 0]]]),
    (E.OUT_OF_RANGE, "requests[0].flags", "16", "int <= 15", [16, 0, [[0, 1, 1, 0, 16, 0]]]),
    (E.OUT_OF_RANGE, "requests[0].instance", "-2", "int >= -1", [16, 0, [[0, 1, 1, 0, 0, -2]]]),
    (E.OUT_OF_RANGE, "Invalidate.requests", "[[0", "<= 1024", [16, 0, [[0, 1, 1, 0, 0, 0]] * 1025]),
    (E.WRONG_TYPE, "Invalidate.requests", "int 5", "array", [16, 0, 5]),
    (E.OUT_OF_RANGE, "responses[0].code", "2", "values", [19, 0, [[0, 1, 5, 2]]]),
    (E.OUT_OF_RANGE, "BatchBegin.slots[0].pasids[1]", "-1", "int >= 0",
        [7, 0, 1, 1, 1, 1, [[0, 1, [0], [1, -1]]]]),
]  # fmt: skip

# the same asked of the daemon on the control plane
ASKED: list[tuple[ErrorCode, str, str, str, Any]] = [
    (E.MALFORMED_MESSAGE, "control plane", "[1]", "map", [1]),
    (E.MALFORMED_MESSAGE, "control plane", "{'request': 1}", "map", {"request": 1}),
    (E.UNKNOWN_MESSAGE, "control plane", "tag 'sttaus'", "status", {"type": "sttaus"}),
    (E.WRONG_DIRECTION, "control plane", "Stopping", "to the daemon", {"type": "stopping"}),
    (E.WRONG_FIELDS, "Status", "protocol_version", "3: type", {"type": "status", "request": 1}),
    (E.WRONG_FIELDS, "Status", "unknown field x", "3: type",
        {"type": "status", "request": 1, "protocol_version": 1, "x": 0}),
    (E.UNKNOWN_VERSION, "Abort.protocol_version", "0", "1",
        {"type": "abort", "protocol_version": 0}),
    (E.WRONG_TYPE, "Abort.run", "str '5'", "int",
        {"type": "abort", "request": 1, "protocol_version": 1, "run": "5"}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("decode", "code", "where", "seen", "expected", "value"),
    [
        *((codec.decode_device_to_daemon, *row) for row in FROM_AGENT),
        *((codec.decode_device_from_daemon, *row) for row in FROM_DAEMON),
        *((codec.decode_control_to_daemon, *row) for row in ASKED),
    ],
)
def test_refusal_names_what_was_wrong(
    decode: Decoder, code: ErrorCode, where: str, seen: str, expected: str, value: object
) -> None:
    """The error has the right code, the field, the value that came and what could have come."""
    error = refusal(decode, msgspec.msgpack.encode(value))

    assert error.code is code
    assert where in error.where
    assert seen in error.seen
    assert expected in error.expected


@pytest.mark.parametrize("decode", EVERY)
def test_empty_and_oversize_are_refused_unread(decode: Decoder) -> None:
    """No bytes, or more than the plane allows, are refused whatever they hold."""
    assert refusal(decode, b"").code is E.EMPTY_MESSAGE
    assert refusal(decode, b"\xc0" * (8 << 20)).code is E.MESSAGE_TOO_LONG


def test_the_longest_message_is_read() -> None:
    """The limit itself is allowed, one byte more is not."""
    exact = b"\x93\x18\x00\xc6" + (DEVICE_MESSAGE_BYTES_MAX - 8).to_bytes(4, "big")
    exact += bytes(DEVICE_MESSAGE_BYTES_MAX - len(exact))

    assert refusal(codec.decode_device_from_daemon, exact).code is E.WRONG_TYPE
    assert refusal(codec.decode_device_from_daemon, exact + b"\0").code is E.MESSAGE_TOO_LONG


@pytest.mark.parametrize(("message", "data"), GOLDEN, ids=lambda value: type(value).__name__)
def test_truncated_and_longer_messages_are_refused(message: Struct, data: str) -> None:
    """A message cut anywhere is called truncated, and one with more behind it trailing."""
    whole = bytes.fromhex(data)
    for decode in decoders(KINDS[type(message)]):
        for length in range(1, len(whole)):
            assert refusal(decode, whole[:length]).code is E.TRUNCATED_MESSAGE
        assert refusal(decode, whole + b"\0").code is E.TRAILING_BYTES
        assert refusal(decode, whole + whole).code is E.TRAILING_BYTES


@pytest.mark.parametrize(
    ("decode", "data"),
    [
        (codec.decode_device_to_daemon, b"\xc1"),
        (codec.decode_device_to_daemon, b"\x91" * 100_000),
        (codec.decode_device_to_daemon, b"\x93\x1d\x00\xa1\xff"),
        (codec.decode_control_to_daemon, b"\x81\x90\x01"),
        (codec.decode_control_to_daemon, b"\x81\xc4\x04type\x01"),
        (codec.decode_event, b"\xc7\x0c\xff" + b"\xff" * 12),
    ],
)
def test_what_is_not_msgpack_for_a_message_is_malformed(decode: Decoder, data: bytes) -> None:
    """A bad opcode, endless nesting, bad text, odd keys and odd extensions have one name."""
    assert refusal(decode, data).code is E.MALFORMED_MESSAGE


@pytest.mark.parametrize("decode", EVERY)
@pytest.mark.parametrize("head", [b"\xdd", b"\xdf", b"\x93\x10\x00\xdd", b"\x84\x19\x00\x01\xdf"])
def test_a_length_that_lies_costs_no_memory(decode: Decoder, head: bytes) -> None:
    """An array said to have four thousand million elements is refused at once."""
    assert refusal(decode, head + b"\xff\xff\xff\xff").where


@pytest.mark.parametrize("decode", EVERY)
@given(st.binary(max_size=200))
def test_arbitrary_bytes_raise_nothing_else(decode: Decoder, data: bytes) -> None:
    """Noise is refused with the typed error, or happens to be a message."""
    with suppress(RemoteProtocolError):
        decode(data)


@given(st.sampled_from(EVERY), st.sampled_from(PACKED), st.data())
def test_changed_messages_raise_nothing_else(
    decode: Decoder, packed: bytes, data: st.DataObject
) -> None:
    """A message with some bytes changed is refused with the typed error, or is another message."""
    changed = bytearray(packed)
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    try:
        again = encode(decode(changed))
    except RemoteProtocolError:
        return
    assert encode(decode(again)) == again


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | st.floats() | st.text()
    | st.binary(),
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@given(st.sampled_from(EVERY), st.integers(0, 40), st.lists(VALUES, max_size=12), VALUES)
def test_well_formed_msgpack_raises_nothing_else(
    decode: Decoder, tag: int, fields: list[object], value: object
) -> None:
    """Right msgpack of the wrong shape is refused with the typed error too."""
    for form in (value, [tag, *fields], {"type": "run", "request": value, "program": fields}):
        with suppress(RemoteProtocolError):
            decode(msgspec.msgpack.encode(form))


def test_a_program_that_contradicts_itself_is_refused() -> None:
    """A compiled scenario from a peer is never used to index with before it was looked through."""
    warm = msgspec.structs.replace(COW_TWO_PAGES.warm[0], location=2)
    program = msgspec.structs.replace(COW_TWO_PAGES, warm=(warm,))

    error = refusal(
        codec.decode_device_from_daemon, encode(LoadProgram(0, 1, program, 264, 2, (0,), ""))
    )

    assert error.code is E.WRONG_PROGRAM
    assert error.where == "LoadProgram.program, warm[0].location"
    assert (error.seen, error.expected) == ("2", "0 to 1")


def test_an_event_without_its_type_is_still_one_event() -> None:
    """Observers get one kind of message only, so there is nothing to mistake it for."""
    event = Event(0, "daemon", "note", {})
    bare = {name: getattr(event, name) for name in event.__struct_fields__}

    assert codec.decode_event(msgspec.msgpack.encode(bare)) == event
