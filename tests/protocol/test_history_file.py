"""What was flushed to a history survives, and what is not a history is refused by name."""

import os
import resource
import signal
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import msgpack  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.protocol.strategies import of_struct

from shootdown_protocol import history_file
from shootdown_protocol.errors import ErrorCode, HistoryError
from shootdown_protocol.history import Ended, Entry, Stamped, Step
from shootdown_protocol.history_file import (
    F_LENGTH,
    F_MAGIC,
    F_NAME_BYTES,
    F_VERSION,
    HEADER_BYTES,
    HistoryEnd,
    HistoryWriter,
    read_history,
)


def stamped(sequence: int, text: str = "") -> Stamped:
    """A record that is told from others by its number."""
    record = Step("wp_page_copy", "alloc_page", 0, text) if text else Ended(0)
    return Stamped(1000 + sequence, 1001 + sequence, sequence, 3, "CPU0", record)


def written(path: Path, records: Iterable[Stamped], buffer_records: int = 4) -> list[Stamped]:
    """Write a history and close it."""
    records = list(records)
    with HistoryWriter(path, "daemon", buffer_records=buffer_records) as writer:
        for record in records:
            writer.append(record)
    return records


def error_of(act: Callable[[], object]) -> HistoryError:
    """The error that something raises."""
    with pytest.raises(HistoryError) as caught:
        act()
    return caught.value


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a history may be made."""
    return tmp_path / "daemon.history"


def test_records_come_back_in_order(path: Path) -> None:
    """Everything appended is read, with the header and an end that has nothing torn."""
    records = written(path, map(stamped, range(10)))
    history = read_history(path)

    assert list(history) == records
    assert history.end == HistoryEnd(10, 0)
    assert (history.header.process, history.header.pid) == ("daemon", os.getpid())
    assert list(history) == records


@given(st.lists(of_struct(Stamped), max_size=20), st.integers(1, 5))
def test_any_record_comes_back(records: list[Stamped], buffer_records: int) -> None:
    """Every kind of record, up to the ends of what fields hold, is read as it was written."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a"
        written(path, records, buffer_records)

        assert list(read_history(path)) == records


def test_plain_msgpack_reads_the_file(path: Path) -> None:
    """A header object, then a length and an array of records, again and again."""
    written(path, map(stamped, range(6)))

    with path.open("rb") as file:
        header, *frames = msgpack.Unpacker(file)

    assert len(header) == HEADER_BYTES - 2
    assert header.startswith(b"shdrec")
    assert [record[2] for frame in frames[1::2] for record in frame] == list(range(6))
    assert frames[::2] == [len(msgpack.packb(frame) or b"") for frame in frames[1::2]]


def test_a_closed_file_has_nothing_behind_its_records(path: Path) -> None:
    """The room that was reserved ahead is given back."""
    written(path, map(stamped, range(6)))

    assert path.stat().st_size == read_history(path).header.length


@pytest.mark.parametrize("text", ["x" * 3000, "y" * 9000])
def test_frames_cross_windows(path: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A frame may lie in several mapped parts of the file, and be longer than one."""
    monkeypatch.setattr(history_file, "HISTORY_WINDOW_BYTES", 4096)

    records = written(path, (stamped(number, text) for number in range(20)), 3)

    assert list(read_history(path)) == records


def test_a_file_is_read_while_it_grows(path: Path) -> None:
    """A pass sees what was flushed when it began, and nothing is torn by that."""
    with HistoryWriter(path, "daemon") as writer:
        writer.append(stamped(0))
        history = read_history(path)
        assert list(history) == []

        writer.flush()

        assert list(history) == [stamped(0)]
        assert history.end == HistoryEnd(1, 0)
        assert writer.records == 1


def die_after(path: Path, act: Callable[[HistoryWriter], None]) -> None:
    """Write in a child that is killed right after."""
    child = os.fork()
    if child == 0:
        try:
            act(HistoryWriter(path, "agent0"))
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL


def test_what_was_flushed_survives_a_kill(path: Path) -> None:
    """Records flushed before SIGKILL are all read; those in the buffer are gone, cleanly."""

    def act(writer: HistoryWriter) -> None:
        for number in range(3000):
            writer.append(stamped(number))
        writer.flush()
        writer.append(stamped(3000))

    die_after(path, act)
    history = read_history(path)

    assert [record.sequence for record in history] == list(range(3000))
    assert history.end == HistoryEnd(3000, 0)


def test_a_kill_before_the_header_leaves_no_history(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What can be seen under a history's name has a header, whenever its process died."""

    def die(_writer: HistoryWriter, _name: bytes) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(HistoryWriter, "_write_header", die)

    die_after(path, lambda _writer: None)

    assert not path.exists()
    assert path.with_name(path.name + ".new").exists()


def test_a_kill_in_the_middle_of_a_copy_is_a_torn_tail(path: Path) -> None:
    """A frame that was being copied is not read, and how much of it there is is reported."""

    def act(writer: HistoryWriter) -> None:
        copy = writer._copy

        def die_half_way(frame: bytearray) -> None:
            copy(frame[:9])
            os.kill(os.getpid(), signal.SIGKILL)

        writer.append(stamped(0))
        writer.flush()
        writer.append(stamped(1))
        writer._copy = die_half_way  # type: ignore[method-assign]
        writer.flush()

    die_after(path, act)
    history = read_history(path)

    assert list(history) == [stamped(0)]
    assert history.end == HistoryEnd(1, 9)


def test_a_frame_that_no_reader_would_take_is_not_written(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More in one frame than the limit is refused before it is in the file."""
    monkeypatch.setattr(history_file, "HISTORY_FRAME_BYTES_MAX", 100)
    writer = HistoryWriter(path, "daemon")
    writer.append(stamped(0, "x" * 100))

    assert error_of(writer.flush).code is ErrorCode.HISTORY_RECORD
    assert error_of(writer.close).code is ErrorCode.HISTORY_RECORD
    assert list(read_history(path)) == []


def test_a_file_cut_anywhere_keeps_its_whole_frames(path: Path, tmp_path: Path) -> None:
    """A copy that ends too soon loses only the frame that it ends in, and says how much that is."""
    written(path, map(stamped, range(12)))
    data = path.read_bytes()
    ends = [HEADER_BYTES]
    while ends[-1] < len(data):
        ends.append(ends[-1] + 5 + int.from_bytes(data[ends[-1] + 1 : ends[-1] + 5], "big"))
    for length in range(HEADER_BYTES, len(data)):
        (tmp_path / "cut").write_bytes(data[:length])
        history = read_history(tmp_path / "cut")
        whole = sum(end <= length for end in ends) - 1

        assert len(list(history)) == 4 * whole
        assert history.end == HistoryEnd(4 * whole, len(data[ends[whole] : length].rstrip(b"\0")))


def test_a_full_disk_keeps_what_was_flushed(path: Path) -> None:
    """The error says what was needed; the records stay in the buffer and fit once there is room."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    text = "x" * 100_000
    with HistoryWriter(path, "daemon", buffer_records=1024) as writer:
        writer.append(stamped(0))
        writer.flush()
        for number in range(1, 21):
            writer.append(stamped(number, text))
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
        try:
            error = error_of(writer.flush)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

        assert error.code is ErrorCode.HISTORY_NO_ROOM
        assert list(read_history(path)) == [stamped(0)]
        writer.flush()
    assert [record.sequence for record in read_history(path)] == list(range(21))


def test_what_is_kept_is_numbered_by_its_place(path: Path) -> None:
    """Frames are of the size asked for, and nothing is written before one is full or it is told."""
    entries: list[Entry] = [(n, n + 1, 3, "CPU0", Ended(n)) for n in range(5)]
    with HistoryWriter(path, "daemon", buffer_records=2) as writer:
        writer.keep(entries[0])
        writer.flush_if_full()
        assert (writer.records, writer.kept) == (0, 1)
        for entry in entries[1:]:
            writer.keep(entry)
        writer.flush_if_full()
        assert (writer.records, writer.kept) == (5, 5)

    assert [(s.sequence, s.record) for s in read_history(path)] == [
        (n + 1, Ended(n)) for n in range(5)
    ]


def test_a_full_disk_ends_in_a_readable_file(path: Path) -> None:
    """A writer that has to give up still closes its file with all that was flushed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    writer = HistoryWriter(path, "daemon", buffer_records=1)
    writer.append(stamped(0))
    writer.flush()
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        writer.append(stamped(1, "x" * (2 << 20)))
        assert error_of(lambda: writer.append(stamped(2))).code is ErrorCode.HISTORY_NO_ROOM
        assert error_of(writer.close).code is ErrorCode.HISTORY_NO_ROOM
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    history = read_history(path)

    assert list(history) == [stamped(0)]
    assert path.stat().st_size == history.header.length


def test_no_room_for_the_first_byte_leaves_no_file(path: Path) -> None:
    """A history that cannot begin is not there afterwards."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        error = error_of(lambda: HistoryWriter(path, "daemon"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert error.code is ErrorCode.HISTORY_NO_ROOM
    assert not path.exists()


def test_a_history_is_never_overwritten(path: Path) -> None:
    """A second writer of the same path is refused and the first one's records stay."""
    written(path, [stamped(0)])

    assert error_of(lambda: HistoryWriter(path, "daemon")).code is ErrorCode.HISTORY_REFUSED
    assert list(read_history(path)) == [stamped(0)]


@pytest.mark.parametrize("name", ["none", "", "none/deeper"])
def test_what_cannot_be_opened_is_named(tmp_path: Path, name: str) -> None:
    """A missing file or a folder is a typed error that has the path."""
    error = error_of(lambda: read_history(tmp_path / name))

    assert error.code is ErrorCode.HISTORY_REFUSED
    assert str(tmp_path) in error.where


def test_a_record_that_cannot_be_written_is_named(path: Path) -> None:
    """A field of more than 64 bits is a typed error, and what was flushed stays."""
    writer = HistoryWriter(path, "daemon")
    writer.append(stamped(0))
    writer.flush()
    writer.append(stamped(1 << 64))

    assert error_of(writer.flush).code is ErrorCode.HISTORY_RECORD
    assert error_of(writer.close).code is ErrorCode.HISTORY_RECORD
    assert list(read_history(path)) == [stamped(0)]


def test_closing_twice_is_closing_once(path: Path) -> None:
    """A second close does nothing, and no descriptor is left."""
    before = sum(1 for _ in Path("/proc/self/fd").iterdir())
    writer = HistoryWriter(path, "daemon")
    writer.close()

    writer.close()

    assert sum(1 for _ in Path("/proc/self/fd").iterdir()) == before


@pytest.mark.parametrize(
    ("word", "value", "code"),
    [
        (F_MAGIC, 0, ErrorCode.HISTORY_MAGIC),
        (F_VERSION, 2, ErrorCode.HISTORY_VERSION),
        (F_LENGTH, HEADER_BYTES - 1, ErrorCode.HISTORY_CORRUPT),
        (F_NAME_BYTES, 193, ErrorCode.HISTORY_CORRUPT),
    ],
)
def test_a_changed_header_is_refused(path: Path, word: int, value: int, code: ErrorCode) -> None:
    """The error says what was seen in the header and what was expected."""
    written(path, [stamped(0)])
    data = bytearray(path.read_bytes())
    data[8 * word : 8 * word + 8] = value.to_bytes(8, "little")
    path.write_bytes(data)
    error = error_of(lambda: read_history(path))

    assert error.code is code
    assert f"{value:#x}" in error.seen or str(value) in error.seen


@pytest.mark.parametrize("size", [0, 1, 255])
def test_less_than_a_header_is_no_history(path: Path, size: int) -> None:
    """An empty file, or one whose writer died at once, is refused by its size."""
    path.write_bytes(bytes(size))

    assert error_of(lambda: read_history(path)).code is ErrorCode.HISTORY_MAGIC


@pytest.mark.parametrize(
    "frame",
    [
        b"\xcd\x00\x00\x00\x01\x90",
        b"\xce\x00\x00\x00\x02\x90",
        b"\xce\x00\x00\x00\x01\x91",
        b"\xce\x00\x00\x00\x01\x80",
        b"\xce\x00\x00\x00\x02\x91\x90",
        b"\xce\x00\x00\x00\x05\xdd\xff\xff\xff\xff",
    ],
)
def test_published_bytes_that_are_no_records_are_corrupt(path: Path, frame: bytes) -> None:
    """A wrong frame before the published length is an error with its place, not an end."""
    written(path, [stamped(0)])
    data = bytearray(path.read_bytes() + frame)
    data[8 * F_LENGTH : 8 * F_LENGTH + 8] = len(data).to_bytes(8, "little")
    path.write_bytes(data)
    history = iter(read_history(path))

    assert next(history) == stamped(0)
    error = error_of(lambda: next(history))
    assert error.code is ErrorCode.HISTORY_CORRUPT
    assert f"byte {len(data) - len(frame)}" in error.where


@given(st.binary(max_size=400))
def test_arbitrary_files_raise_nothing_else(data: bytes) -> None:
    """Noise is a typed error, or happens to be a history."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a"
        path.write_bytes(data)
        with suppress(HistoryError):
            list(read_history(path))


@given(st.data())
def test_changed_files_raise_nothing_else(data: st.DataObject) -> None:
    """A history with some bytes changed is a typed error, or still a history."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a"
        written(path, map(stamped, range(6)))
        changed = bytearray(path.read_bytes())
        for _ in range(data.draw(st.integers(1, 4))):
            changed[data.draw(st.integers(8, len(changed) - 1))] = data.draw(st.integers(0, 255))
        path.write_bytes(changed)
        with suppress(HistoryError):
            list(read_history(path))
