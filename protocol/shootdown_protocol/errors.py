"""Every error that one process may report to another or to a person, with its code.

Only the registry and the exception classes may live here. A code travels in messages
(`messages.Refused`, `ErrorReport`, `ErrorReply`) and is never given a second meaning.

An error is *definite* when what was asked certainly did not happen, and *indefinite* when it may
have happened: a checker may drop the first kind from a history and must keep the second open.
An error is *local* (this process would have broken the protocol: our code is wrong) or *remote*
(a peer did: it is reported, and this process goes on).
"""

from __future__ import annotations

from enum import IntEnum, unique
from typing import Final

import msgspec


@unique
class ErrorCode(IntEnum):
    """Numbers on the wire; hundreds group them by part."""

    EMPTY_MESSAGE = 101
    MESSAGE_TOO_LONG = 102
    TRUNCATED_MESSAGE = 103
    TRAILING_BYTES = 104
    MALFORMED_MESSAGE = 105
    UNKNOWN_MESSAGE = 106
    UNKNOWN_VERSION = 107
    WRONG_DIRECTION = 108
    WRONG_FIELDS = 109
    WRONG_TYPE = 110
    OUT_OF_RANGE = 111
    WRONG_PROGRAM = 112

    SEQUENCE_GAP = 121
    SEQUENCE_REPEATED = 122
    WRONG_TOKEN = 123
    NAME_TAKEN = 124
    AGENTS_FULL = 125
    NOT_WELCOMED = 126
    PASID_NOT_GRANTED = 127
    UNEXPECTED_COMPLETION = 128
    UNEXPECTED_RESPONSE = 129

    TESTBED_BUSY = 141
    NO_SUCH_RUN = 142
    NO_SUCH_DISCIPLINE = 143
    AGENT_LOST = 144
    DAEMON_LOST = 145
    INVALIDATION_TIMEOUT = 146
    NO_SUCH_DEVICE = 147
    DEVICE_BUSY = 148
    NOT_RUNNING = 149
    WRONG_CLASS = 150
    NOT_GRANTED = 151
    NOT_GATED = 152

    SEGMENT_NAME = 201
    SEGMENT_EXISTS = 202
    SEGMENT_ABSENT = 203
    SEGMENT_NO_ROOM = 204
    SEGMENT_MAGIC = 205
    SEGMENT_VERSION = 206
    SEGMENT_SIZE = 207
    SEGMENT_GENERATION = 208
    SEGMENT_REFUSED = 209

    HISTORY_REFUSED = 301
    HISTORY_MAGIC = 302
    HISTORY_VERSION = 303
    HISTORY_CORRUPT = 304
    HISTORY_NO_ROOM = 305
    HISTORY_ORDER = 306
    HISTORY_RECORD = 307

    USAGE = 401


class ErrorKind(msgspec.Struct, frozen=True):
    """One row of the registry."""

    code: ErrorCode
    definite: bool
    doc: str

    @property
    def name(self) -> str:
        """The code's name as people see it, with hyphens."""
        return self.code.name.lower().replace("_", "-")


_INDEFINITE: Final = frozenset(
    (
        ErrorCode.SEQUENCE_GAP,
        ErrorCode.AGENT_LOST,
        ErrorCode.DAEMON_LOST,
        ErrorCode.INVALIDATION_TIMEOUT,
    )
)

_DOCS: Final = {
    ErrorCode.EMPTY_MESSAGE: "A message of no bytes.",
    ErrorCode.MESSAGE_TOO_LONG: "A message longer than its plane allows.",
    ErrorCode.TRUNCATED_MESSAGE: "The bytes end before the message does.",
    ErrorCode.TRAILING_BYTES: "Bytes follow the message in its frame.",
    ErrorCode.MALFORMED_MESSAGE: "The bytes are not msgpack, or not a message's shape.",
    ErrorCode.UNKNOWN_MESSAGE: "No message of this plane has this tag.",
    ErrorCode.UNKNOWN_VERSION: "The peer speaks another version of the protocol.",
    ErrorCode.WRONG_DIRECTION: "A message that only the other side may send.",
    ErrorCode.WRONG_FIELDS: "A field is missing, or there is one too many.",
    ErrorCode.WRONG_TYPE: "A field is of another type.",
    ErrorCode.OUT_OF_RANGE: "A field's value is outside its range.",
    ErrorCode.WRONG_PROGRAM: "A compiled scenario contradicts itself.",
    ErrorCode.SEQUENCE_GAP: "Messages were lost before this one.",
    ErrorCode.SEQUENCE_REPEATED: "A message came twice or late, and was not obeyed.",
    ErrorCode.WRONG_TOKEN: "The run token is not this testbed's.",
    ErrorCode.NAME_TAKEN: "Another live agent has this name.",
    ErrorCode.AGENTS_FULL: "The testbed has as many agents as it can have.",
    ErrorCode.NOT_WELCOMED: "An agent spoke before it was welcomed.",
    ErrorCode.PASID_NOT_GRANTED: "An agent named a PASID that it was not granted.",
    ErrorCode.UNEXPECTED_COMPLETION: "A completion for an ITag that is not in use.",
    ErrorCode.UNEXPECTED_RESPONSE: "A page response for a group that is not open.",
    ErrorCode.TESTBED_BUSY: "The testbed is running another scenario.",
    ErrorCode.NO_SUCH_RUN: "No run of this number is under way.",
    ErrorCode.NO_SUCH_DISCIPLINE: "No discipline has this name.",
    ErrorCode.AGENT_LOST: "An agent died or went silent; what it last did is unknown.",
    ErrorCode.DAEMON_LOST: "The daemon died or went silent.",
    ErrorCode.INVALIDATION_TIMEOUT: "A device did not complete an invalidation.",
    ErrorCode.NO_SUCH_DEVICE: "The scenario has no device of this name.",
    ErrorCode.DEVICE_BUSY: "Another attached agent serves this device.",
    ErrorCode.NOT_RUNNING: "The testbed runs no scenario whose devices could be served.",
    ErrorCode.WRONG_CLASS: "An agent cannot load the device class that it was told of.",
    ErrorCode.NOT_GRANTED: "An agent without shared memory asked for what is not its own.",
    ErrorCode.NOT_GATED: "An agent cannot follow a schedule, or not this one.",
    ErrorCode.SEGMENT_NAME: "Not a name that a shared-memory segment may have.",
    ErrorCode.SEGMENT_EXISTS: "A segment of this name exists already.",
    ErrorCode.SEGMENT_ABSENT: "No segment has this name.",
    ErrorCode.SEGMENT_NO_ROOM: "Not enough shared memory is free for the segment.",
    ErrorCode.SEGMENT_MAGIC: "Not a segment of ours, or one whose maker died early.",
    ErrorCode.SEGMENT_VERSION: "A segment of another layout version.",
    ErrorCode.SEGMENT_SIZE: "The segment's size contradicts its header.",
    ErrorCode.SEGMENT_GENERATION: "A segment of another testbed or an earlier start.",
    ErrorCode.SEGMENT_REFUSED: "The system refused to open or map the segment.",
    ErrorCode.HISTORY_REFUSED: "The system refused to open, read or write the history.",
    ErrorCode.HISTORY_MAGIC: "Not a history file.",
    ErrorCode.HISTORY_VERSION: "A history of another format version.",
    ErrorCode.HISTORY_CORRUPT: "Bytes that were published are not records.",
    ErrorCode.HISTORY_NO_ROOM: "The file system has no room; what was flushed is kept.",
    ErrorCode.HISTORY_ORDER: "Records are further out of order than a merge can mend.",
    ErrorCode.HISTORY_RECORD: "A record that cannot be written down.",
    ErrorCode.USAGE: "The command line or a file given on it is wrong.",
}

ERRORS: Final = {
    code: ErrorKind(code, definite=code not in _INDEFINITE, doc=doc) for code, doc in _DOCS.items()
}
"""Every error, by code."""

assert set(ERRORS) == set(ErrorCode), "every code has one row"


class ShootdownError(Exception):
    """Base of every error that is not a bug of the process that raises it; never raised itself.

    ``seen``, ``expected`` and ``where`` are phrases without a final stop; a message made of them
    reads ``out-of-range: Invalidate.requests[0].itag: saw 32; expected 0 to 31``.
    """

    def __init__(self, code: ErrorCode, *, seen: str, expected: str, where: str) -> None:
        """Refuse to be the base class itself, as h11's ``ProtocolError`` does."""
        if type(self) is ShootdownError:
            raise TypeError("ShootdownError is abstract: raise one of its children")
        super().__init__(code, seen, expected, where)
        self.code = code
        self.seen = seen
        self.expected = expected
        self.where = where

    @property
    def kind(self) -> ErrorKind:
        """The registry's row."""
        return ERRORS[self.code]

    @property
    def definite(self) -> bool:
        """Whether what was asked certainly did not happen."""
        return self.kind.definite

    def __str__(self) -> str:
        """One line: what it is called, where it was, what was seen, what was expected."""
        return f"{self.kind.name}: {self.where}: saw {self.seen}; expected {self.expected}"


class LocalProtocolError(ShootdownError):
    """Our own process was about to break the protocol."""


class RemoteProtocolError(ShootdownError):
    """A peer broke the protocol; it is reported, and the process goes on."""


class SegmentError(ShootdownError):
    """A shared-memory segment cannot be made or is not what it should be."""


class HistoryError(ShootdownError):
    """A history file cannot be written or is not what it should be."""


class UsageError(ShootdownError):
    """A person asked for something that cannot be done."""
