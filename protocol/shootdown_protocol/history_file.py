"""The file that one process writes its records to, so that a kill loses only what was not flushed.

The whole file is a stream of msgpack objects that any msgpack library reads::

    offset  size  object
         0   256  bin: the header, below
       256     5  uint 32: how many bytes the next object has    } a frame, as often as the
       261     n  array of `history.Stamped`, each an array      } writer flushed

The header is 8-byte words, ``F_...`` below, little-endian, then the process's name.

The file is mapped and grown ahead of what is written, so a full disk is an error when it is grown
and never a SIGBUS. What lies behind ``length`` after a kill is zeroes or a frame that was being
copied: a reader stops before it and says how much there was.
"""

from __future__ import annotations

import errno
import heapq
import mmap
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from operator import attrgetter
from pathlib import Path
from time import monotonic_ns
from types import TracebackType
from typing import Annotated, BinaryIO, Final, NoReturn, Self

import msgspec

from shootdown_protocol.errors import ErrorCode, HistoryError
from shootdown_protocol.history import AnyRecord, Entry, Stamped
from shootdown_protocol.limits import (
    HISTORY_FRAME_BYTES_MAX,
    HISTORY_FRAME_RECORDS_MAX,
    HISTORY_REORDER_RECORDS,
    HISTORY_WINDOW_BYTES,
    NAME_CHARACTERS_MAX,
)

HEADER_BYTES: Final = 256
MAGIC: Final = int.from_bytes(b"\xc4\xfeshdrec", "little")
"""msgpack bin of 254 bytes, then ``shdrec``."""
FORMAT_VERSION: Final = 1

F_MAGIC: Final = 0
"""The bytes `c4 fe` and `shdrec`: with them the header is a msgpack bin. Stored last."""
F_VERSION: Final = 1
"""Version of the format, 1."""
F_LENGTH: Final = 2
"""Bytes of the file that are valid; raised after what it makes valid."""
F_PID: Final = 3
"""The process that wrote it."""
F_START_NS: Final = 4
"""CLOCK_MONOTONIC when it began, ns."""
F_NAME_BYTES: Final = 5
"""Bytes of the process's name, which begins at word 8."""
NAME_OFFSET: Final = 64
_NAME_BYTES_MAX: Final = HEADER_BYTES - NAME_OFFSET

FRAME_HEAD_BYTES: Final = 5
_UINT_32: Final = 0xCE
_PAGE: Final = mmap.PAGESIZE
_NO_ROOM: Final = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.ENOMEM))

assert HISTORY_WINDOW_BYTES % mmap.ALLOCATIONGRANULARITY == 0
assert HEADER_BYTES <= _PAGE

_encode_into = msgspec.msgpack.Encoder().encode_into
_decode_frame = msgspec.msgpack.Decoder(
    Annotated[list[Stamped], msgspec.Meta(max_length=HISTORY_FRAME_RECORDS_MAX)]
).decode


UNREADY_SUFFIX: Final = ".new"
"""Ends the name of a file that has no header yet; who is killed just then leaves it behind."""


class HistoryWriter:
    """Appends records to a new file.

    What was flushed survives the death of the process. It flushes when it is told to: when nothing
    better is to be done, and, by `flush_if_full`, whenever ``buffer_records`` may wait.
    """

    def __init__(
        self, path: Path, process: str, *, buffer_records: int = HISTORY_FRAME_RECORDS_MAX
    ) -> None:
        """Make the file; `HistoryError` when there is one already, or no room."""
        assert 1 <= buffer_records <= HISTORY_FRAME_RECORDS_MAX
        name = process.encode()
        assert 0 < len(name) <= _NAME_BYTES_MAX, f"a name of {NAME_CHARACTERS_MAX} characters"
        self.path = path
        self.records = 0
        self._buffer: list[Entry | Stamped] = []
        self.keep: Callable[[Entry], None] = self._buffer.append
        """Take a record as a process reports it; its number is its place among all of them."""
        self._buffer_records = buffer_records
        self._frame = bytearray()
        self._end = HEADER_BYTES
        self._reserved = 0
        self._window_start = 0
        begun = path.with_name(path.name + UNREADY_SUFFIX)
        try:
            self._fd = os.open(begun, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise _refused(path, error) from error
        try:
            self._reserve(_PAGE)
            self._head = mmap.mmap(self._fd, _PAGE)
            self._window = mmap.mmap(self._fd, HISTORY_WINDOW_BYTES)
            self._words = memoryview(self._head).cast("Q")
            self._write_header(name)
            _give_name(begun, path)
        except BaseException:
            os.close(self._fd)
            raise
        finally:
            begun.unlink()

    @property
    def kept(self) -> int:
        """How many records were taken; ``records`` are those in the file."""
        return self.records + len(self._buffer)

    def append(self, stamped: Stamped) -> None:
        """Take a record that has a number; `HistoryError` when it cannot be flushed if it must."""
        self.flush_if_full()
        self._buffer.append(stamped)

    def flush_if_full(self) -> None:
        """Write what was kept if it is so much that it should not wait; errors as in `flush`."""
        if len(self._buffer) >= self._buffer_records:
            self.flush()

    def flush(self) -> None:
        """Write what was kept: after this it survives a kill.

        On `HistoryError` what is not in the file is still in the buffer.
        """
        while self._buffer:
            self._write_frame(self._buffer[: self._buffer_records])

    def _write_frame(self, entries: list[Entry | Stamped]) -> None:
        """Write the first records that wait as a frame, and let them wait no more."""
        frame = self._frame
        records = [
            entry if isinstance(entry, Stamped) else _numbered(number, *entry)
            for number, entry in enumerate(entries, self.records + 1)
        ]
        try:
            _encode_into(records, frame, FRAME_HEAD_BYTES)
        except (TypeError, ValueError, OverflowError, msgspec.EncodeError) as error:
            where = f"{self.path}, after record {self.records}"
            _fail(ErrorCode.HISTORY_RECORD, where, str(error), "fields of their types")
        if len(frame) - FRAME_HEAD_BYTES > HISTORY_FRAME_BYTES_MAX:
            where = f"{self.path}, after record {self.records}"
            seen, expected = f"{len(frame)} bytes", f"at most {HISTORY_FRAME_BYTES_MAX}"
            _fail(ErrorCode.HISTORY_RECORD, where, seen, expected)
        frame[0] = _UINT_32
        frame[1:FRAME_HEAD_BYTES] = (len(frame) - FRAME_HEAD_BYTES).to_bytes(4, "big")
        self._reserve(self._end + len(frame))
        self._copy(frame)
        self._end += len(frame)
        # x86-64 stores are seen in order: whoever sees this length sees the frame.
        self._words[F_LENGTH] = self._end
        self.records += len(entries)
        del self._buffer[: len(entries)]

    def close(self) -> None:
        """Flush, then cut the file to what is valid; a second call does nothing."""
        if self._fd < 0:
            return
        try:
            self.flush()
        finally:
            self._words.release()
            self._head.close()
            self._window.close()
            os.ftruncate(self._fd, self._end)
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _write_header(self, name: bytes) -> None:
        self._head[NAME_OFFSET : NAME_OFFSET + len(name)] = name
        self._words[F_VERSION] = FORMAT_VERSION
        self._words[F_LENGTH] = HEADER_BYTES
        self._words[F_PID] = os.getpid()
        self._words[F_START_NS] = monotonic_ns()
        self._words[F_NAME_BYTES] = len(name)
        self._words[F_MAGIC] = MAGIC

    def _reserve(self, end: int) -> None:
        """Make sure that the file has real blocks up to ``end``."""
        if end <= self._reserved:
            return
        reserved = -(-end // HISTORY_WINDOW_BYTES) * HISTORY_WINDOW_BYTES
        try:
            os.posix_fallocate(self._fd, self._reserved, reserved - self._reserved)
        except OSError as error:
            raise _refused(self.path, error, self._fd, reserved - self._reserved) from error
        self._reserved = reserved

    def _copy(self, frame: bytearray) -> None:
        """Copy a frame behind the valid part, window by window."""
        position, rest = self._end, memoryview(frame)
        while rest:
            start = position - position % HISTORY_WINDOW_BYTES
            if start != self._window_start:
                self._map_window(start)
            offset = position - start
            count = min(len(rest), HISTORY_WINDOW_BYTES - offset)
            self._window[offset : offset + count] = rest[:count]
            position += count
            rest = rest[count:]

    def _map_window(self, start: int) -> None:
        """Map another part, so that memory does not grow with the file."""
        try:
            window = mmap.mmap(self._fd, HISTORY_WINDOW_BYTES, offset=start)
        except OSError as error:
            raise _refused(self.path, error, self._fd, HISTORY_WINDOW_BYTES) from error
        self._window.close()
        self._window = window
        self._window_start = start


@dataclass(frozen=True, slots=True)
class HistoryHeader:
    """Whose history a file is; ``start_ns`` is CLOCK_MONOTONIC of its machine."""

    process: str
    pid: int
    start_ns: int
    length: int


@dataclass(frozen=True, slots=True)
class HistoryEnd:
    """How reading ended: records read, and bytes behind them that are not whole records."""

    records: int
    torn_bytes: int


class History:
    """A history file to iterate over, as often as wanted; ``end`` is set when one pass is over.

    Iterating raises `HistoryError` where published bytes are not records. It may be done while the
    file is being written: a pass sees what was flushed when it began.
    """

    def __init__(self, path: Path) -> None:
        """Read the header; `HistoryError` when it is not one of ours."""
        self.path = path
        self.end: HistoryEnd | None = None
        with _open(path) as file:
            self.header = _read_header(path, file)

    def __iter__(self) -> Iterator[Stamped]:
        self.end = None
        records = 0
        with _open(self.path) as file:
            length = _read_header(self.path, file).length
            for frame in _frames(self.path, file, length):
                yield from frame
                records += len(frame)
            self.end = HistoryEnd(records, _torn_bytes(file))


def _numbered(
    number: int, begin: int, end: int, instance: int, task: str, record: AnyRecord
) -> Stamped:
    return Stamped(begin, end, number, instance, task, record)


def is_history(head: bytes) -> bool:
    """Whether a file that begins so was written by a `HistoryWriter`."""
    return head[:8] == MAGIC.to_bytes(8, "little")


def read_history(path: Path) -> History:
    """The records of a file, in the order in which they were appended."""
    return History(path)


def merge(histories: Sequence[Iterable[Stamped]]) -> Iterator[tuple[int, Stamped]]:
    """Records of several processes by (begin, process, sequence), each with its process's number.

    A process appends a record when it ends, so those of its tasks that overlap are not in the order
    of their beginning; within `HISTORY_REORDER_RECORDS` this is mended, beyond it `HistoryError`.
    """
    streams = [_keyed(number, history) for number, history in enumerate(histories)]
    for _begin, number, stamped in heapq.merge(*streams):
        yield number, stamped


def _keyed(number: int, history: Iterable[Stamped]) -> Iterator[tuple[int, int, Stamped]]:
    for stamped in _by_begin(history):
        yield stamped.begin, number, stamped


def _by_begin(history: Iterable[Stamped]) -> Iterator[Stamped]:
    """Sort by begin with bounded memory; records of one begin stay in the order of the file."""
    source = iter(history)
    waiting: list[Stamped] = []
    latest = -(1 << 63)
    more = True
    while more:
        taken = list(islice(source, HISTORY_REORDER_RECORDS))
        more = len(taken) == HISTORY_REORDER_RECORDS
        waiting += taken
        waiting.sort(key=attrgetter("begin"))
        ready = waiting[:-HISTORY_REORDER_RECORDS] if more else waiting
        if ready:
            if ready[0].begin < latest:
                _late(ready[0], latest)
            latest = ready[-1].begin
            yield from ready
            del waiting[: len(ready)]


def _late(stamped: Stamped, latest: int) -> NoReturn:
    _fail(
        ErrorCode.HISTORY_ORDER,
        f"record {stamped.sequence}",
        f"a beginning {latest - stamped.begin} ns before that of records long past",
        f"one at most {HISTORY_REORDER_RECORDS} records late",
    )


def _fail(code: ErrorCode, where: str, seen: str, expected: str) -> NoReturn:
    raise HistoryError(code, seen=seen, expected=expected, where=where)


def _give_name(begun: Path, path: Path) -> None:
    """Let a file that has its header be seen; whoever is killed before leaves no history."""
    try:
        path.hardlink_to(begun)
    except OSError as error:
        raise _refused(path, error) from error


def _refused(path: Path, error: OSError, fd: int = -1, needed: int = 0) -> HistoryError:
    seen = error.strerror or str(error)
    if error.errno not in _NO_ROOM or fd < 0:
        expected = "leave to open, read and write it"
        code = ErrorCode.HISTORY_REFUSED
        return HistoryError(code, seen=seen, expected=expected, where=str(path))
    room = os.fstatvfs(fd)
    return HistoryError(
        ErrorCode.HISTORY_NO_ROOM,
        seen=f"{seen}, {room.f_bavail * room.f_frsize} bytes free",
        expected=f"{needed} more",
        where=str(path),
    )


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise _refused(path, error) from error


def _read(path: Path, file: BinaryIO, size: int) -> bytes:
    try:
        return file.read(size)
    except OSError as error:
        raise _refused(path, error) from error


def _read_header(path: Path, file: BinaryIO) -> HistoryHeader:
    data = _read(path, file, HEADER_BYTES)
    if len(data) < HEADER_BYTES:
        seen = f"{len(data)} bytes"
        _fail(ErrorCode.HISTORY_MAGIC, str(path), seen, f"a header of {HEADER_BYTES}")
    words = memoryview(data).cast("Q")
    if words[F_MAGIC] != MAGIC:
        _fail(ErrorCode.HISTORY_MAGIC, str(path), f"magic {words[F_MAGIC]:#x}", f"{MAGIC:#x}")
    if words[F_VERSION] != FORMAT_VERSION:
        seen, expected = f"version {words[F_VERSION]}", str(FORMAT_VERSION)
        _fail(ErrorCode.HISTORY_VERSION, str(path), seen, expected)
    if words[F_LENGTH] < HEADER_BYTES or words[F_NAME_BYTES] > _NAME_BYTES_MAX:
        seen = f"length {words[F_LENGTH]}, name of {words[F_NAME_BYTES]} bytes"
        expected = f"at least {HEADER_BYTES}, at most {_NAME_BYTES_MAX}"
        _fail(ErrorCode.HISTORY_CORRUPT, str(path), seen, expected)
    name = data[NAME_OFFSET : NAME_OFFSET + words[F_NAME_BYTES]]
    return HistoryHeader(
        name.decode(errors="backslashreplace"), words[F_PID], words[F_START_NS], words[F_LENGTH]
    )


def _frames(path: Path, file: BinaryIO, length: int) -> Iterator[list[Stamped]]:
    """Whole frames before ``length``; leaves the file behind the last of them."""
    position = HEADER_BYTES
    # A file that was copied while it grew, or cut, is shorter than it says: its last frame is torn.
    available = min(length, os.fstat(file.fileno()).st_size)
    while position < length:
        file.seek(position)
        head = _read(path, file, FRAME_HEAD_BYTES)
        size = int.from_bytes(head[1:], "big")
        end = position + FRAME_HEAD_BYTES + size
        whole = len(head) == FRAME_HEAD_BYTES and head[0] == _UINT_32
        if len(head) < FRAME_HEAD_BYTES or (whole and available < end <= length):
            break
        where = f"{path}, byte {position}"
        if not whole or end > length or size > HISTORY_FRAME_BYTES_MAX:
            seen = f"{head.hex()} with {length - position} bytes to come"
            _fail(ErrorCode.HISTORY_CORRUPT, where, seen, "ce and the length of a frame")
        payload = _read(path, file, size)
        if len(payload) < size:
            break
        try:
            frame = _decode_frame(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            _fail(ErrorCode.HISTORY_CORRUPT, where, str(error), "an array of records")
        yield frame
        position = end
    file.seek(position)


def _torn_bytes(file: BinaryIO) -> int:
    """Bytes from here to the last that is not zero."""
    torn = seen = 0
    while chunk := file.read(HISTORY_WINDOW_BYTES):
        if kept := len(chunk.rstrip(b"\0")):
            torn = seen + kept
        seen += len(chunk)
    return torn
