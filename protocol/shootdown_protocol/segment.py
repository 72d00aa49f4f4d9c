"""The POSIX shared-memory segment that is a testbed's physical memory.

Making, checking, mapping and removing it; what its words mean is `layout` and `board`.
``docs/shared_memory.md`` says who writes what, and what Python can and cannot promise.
"""

from __future__ import annotations

import errno
import mmap
import os
import re
import stat
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, NoReturn, Self

from shootdown_protocol.errors import ErrorCode, SegmentError
from shootdown_protocol.layout import (
    H_BOARD_WORDS,
    H_DAEMON_PID,
    H_FRAMES,
    H_GENERATION,
    H_LAYOUT_VERSION,
    H_MAGIC,
    H_SCRAMBLE,
    HEADER_WORDS,
    LAYOUT_VERSION,
    MAGIC,
    Layout,
)
from shootdown_protocol.limits import SEGMENT_NAME_CHARACTERS_MAX
from shootdown_protocol.plain_segment import WORD_BYTES, write_header

# What shm_open() of glibc opens. By name, because Python's own ways to shm_open() are a private
# module and one that removes segments behind its user's back.
_FOLDER: Final = Path("/dev/shm")  # noqa: S108 - a fixed place, but no file of a guessable name
_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_HEADER_BYTES: Final = HEADER_WORDS * WORD_BYTES
_NO_ROOM: Final = frozenset((errno.ENOSPC, errno.ENOMEM, errno.EDQUOT, errno.EFBIG))


class Segment:
    """A mapped segment: ``words`` is a memoryview of format ``Q`` over all of it.

    ``words[i]`` is one aligned 8-byte load, ``words[i] = v`` one such store; nothing else that
    Python offers is, so nothing else touches a word that another process may read.
    """

    __slots__ = ("_map", "_reserved_bytes", "daemon_pid", "generation", "layout", "name", "words")

    def __init__(self, name: str, layout: Layout, generation: int, pid: int, fd: int) -> None:
        """Map an open segment whose size was found to be right; use `create` or `attach`."""
        self.name = name
        self.layout = layout
        self.generation = generation
        self.daemon_pid = pid
        self._reserved_bytes = layout.words * WORD_BYTES
        self._map = mmap.mmap(fd, layout.words * WORD_BYTES)
        self.words = memoryview(self._map).cast("Q")

    @classmethod
    def create(cls, name: str, layout: Layout, generation: int, *, whole: bool = True) -> Self:
        """Make a new segment of zeroes with a header; only its owner may open it.

        Its memory is reserved first, so that having too little is a `SegmentError` here and not
        a SIGBUS at some store later. That takes a while: if not ``whole``, so much is reserved
        that the board can be used, it is seen whether there is room for the rest, and `reserve`
        takes it before a frame is touched.
        """
        fd = _open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        size = layout.words * WORD_BYTES
        now = size if whole else layout.memory * WORD_BYTES
        try:
            _reserve(name, fd, 0, now)
            _lengthen(name, fd, size, size - now)
            segment = cls(name, layout, generation, os.getpid(), fd)
            segment._reserved_bytes = now
        except BaseException:
            unlink(name)
            raise
        finally:
            os.close(fd)
        write_header(segment.words, layout, generation, time.monotonic_ns(), segment.daemon_pid)
        return segment

    @classmethod
    def attach(cls, name: str, generation: int | None = None) -> Self:
        """Map a segment that a daemon made; `SegmentError` unless all that it says of itself holds.

        With ``generation``, a segment of an earlier start under the same name is refused too.
        """
        fd = _open(name, os.O_RDWR)
        try:
            header = _read_header(name, fd)
            layout = _checked_layout(name, header, os.fstat(fd).st_size)
            if generation is not None and header[H_GENERATION] != generation:
                _fail(
                    ErrorCode.SEGMENT_GENERATION, name, str(header[H_GENERATION]), str(generation)
                )
            return cls(name, layout, header[H_GENERATION], header[H_DAEMON_PID], fd)
        finally:
            os.close(fd)

    def reserve(self, most_bytes: int = 1 << 62) -> bool:
        """Reserve what `create` has left, so much of it at once; False when nothing is left."""
        left = self.layout.words * WORD_BYTES - self._reserved_bytes
        if not left:
            return False
        fd = _open(self.name, os.O_RDWR)
        try:
            _reserve(self.name, fd, self._reserved_bytes, min(left, most_bytes))
        finally:
            os.close(fd)
        self._reserved_bytes += min(left, most_bytes)
        return left > most_bytes

    def close(self) -> None:
        """Give the words back; using them afterwards is a `ValueError`.

        The mapping goes with the last view that was made from them.
        """
        self.words.release()
        with suppress(BufferError):
            self._map.close()

    def unlink(self) -> None:
        """Remove the name; the memory goes when the last process has unmapped it."""
        unlink(self.name)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def unlink(name: str) -> bool:
    """Remove a segment's name; False when there was none."""
    _check_name(name)
    try:
        (_FOLDER / name).unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise _refused(name, error) from error
    return True


def _fail(code: ErrorCode, name: str, seen: str, expected: str) -> NoReturn:
    raise SegmentError(code, seen=seen, expected=expected, where=f"segment {name}")


def _refused(name: str, error: OSError) -> SegmentError:
    code = {
        errno.EEXIST: ErrorCode.SEGMENT_EXISTS,
        errno.ENOENT: ErrorCode.SEGMENT_ABSENT,
    }.get(error.errno or 0, ErrorCode.SEGMENT_REFUSED)
    expected = {
        ErrorCode.SEGMENT_EXISTS: "no segment of this name yet",
        ErrorCode.SEGMENT_ABSENT: "a segment that a daemon made",
    }.get(code, "leave to open, map and remove it")
    return SegmentError(
        code, seen=error.strerror or str(error), expected=expected, where=f"segment {name}"
    )


def _check_name(name: str) -> None:
    if len(name) > SEGMENT_NAME_CHARACTERS_MAX or not _NAME.fullmatch(name):
        _fail(
            ErrorCode.SEGMENT_NAME,
            name,
            repr(name[:SEGMENT_NAME_CHARACTERS_MAX]),
            f"1 to {SEGMENT_NAME_CHARACTERS_MAX} letters, digits, and . _ - but not first",
        )


def _open(name: str, flags: int) -> int:
    _check_name(name)
    try:
        return os.open(_FOLDER / name, flags | os.O_NOFOLLOW, mode=0o600)
    except OSError as error:
        raise _refused(name, error) from error


def _reserve(name: str, fd: int, start: int, size: int) -> None:
    try:
        os.posix_fallocate(fd, start, size)
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise _refused(name, error) from error
        raise _no_room(name, fd, size) from error


def _lengthen(name: str, fd: int, size: int, missing: int) -> None:
    room = os.fstatvfs(fd)
    if room.f_blocks and room.f_bavail * room.f_frsize < missing:
        raise _no_room(name, fd, missing)
    try:
        os.truncate(fd, size)
    except OSError as error:
        raise _no_room(name, fd, missing) from error


def _no_room(name: str, fd: int, size: int) -> SegmentError:
    room = os.fstatvfs(fd)
    return SegmentError(
        ErrorCode.SEGMENT_NO_ROOM,
        seen=f"{room.f_bavail * room.f_frsize} bytes free",
        expected=f"{size} bytes for the segment",
        where=f"segment {name}",
    )


def _read_header(name: str, fd: int) -> memoryview:
    """Read the header without mapping it: a file that shrinks meanwhile is no SIGBUS."""
    status = os.fstat(fd)
    data = os.pread(fd, _HEADER_BYTES, 0) if stat.S_ISREG(status.st_mode) else b""
    if len(data) < _HEADER_BYTES:
        expected = f"at least {_HEADER_BYTES}, the header"
        _fail(ErrorCode.SEGMENT_SIZE, name, f"{status.st_size} bytes", expected)
    return memoryview(data).cast("Q")


def _checked_layout(name: str, header: memoryview, size: int) -> Layout:
    if header[H_MAGIC] != MAGIC:
        seen = f"magic {header[H_MAGIC]:#x}"
        _fail(ErrorCode.SEGMENT_MAGIC, name, seen, f"{MAGIC:#x}, which its maker stores last")
    if header[H_LAYOUT_VERSION] != LAYOUT_VERSION:
        seen = f"layout version {header[H_LAYOUT_VERSION]}"
        _fail(ErrorCode.SEGMENT_VERSION, name, seen, str(LAYOUT_VERSION))
    try:
        layout = Layout(header[H_FRAMES], header[H_BOARD_WORDS], header[H_SCRAMBLE])
    except ValueError as error:
        _fail(ErrorCode.SEGMENT_SIZE, name, str(error), "a layout that can be")
    if size != layout.words * WORD_BYTES:
        expected = f"{layout.words * WORD_BYTES}, as its header says"
        _fail(ErrorCode.SEGMENT_SIZE, name, f"{size} bytes", expected)
    return layout
