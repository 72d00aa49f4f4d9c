"""A segment is made whole or not at all, and what is attached is what was made."""

import errno
import os
import resource
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shootdown_protocol import segment as segments
from shootdown_protocol.errors import ErrorCode, SegmentError
from shootdown_protocol.layout import (
    H_BOARD_WORDS,
    H_FRAMES,
    H_LAYOUT_VERSION,
    H_MAGIC,
    H_SCRAMBLE,
    Layout,
)
from shootdown_protocol.plain_segment import PlainSegment
from shootdown_protocol.segment import Segment, unlink

LAYOUT = Layout(frames=16, board_words=300, scramble=7)
FOLDER = Path("/dev/shm")  # noqa: S108


@pytest.fixture
def name() -> Iterator[str]:
    """A name for one segment, which is gone afterwards."""
    name = f"shootdown-test-{os.getpid()}"
    yield name
    unlink(name)


def error_of(act: Callable[[], object]) -> SegmentError:
    """The error that something raises."""
    with pytest.raises(SegmentError) as caught:
        act()
    return caught.value


def open_files() -> int:
    """How many descriptors this process has."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_two_mappings_are_one_memory(name: str) -> None:
    """What one side stores the other loads, and both know the same layout."""
    with Segment.create(name, LAYOUT, 5) as made, Segment.attach(name, 5) as attached:
        made.words[LAYOUT.memory] = (1 << 64) - 1

        assert attached.words[LAYOUT.memory] == (1 << 64) - 1
        assert (attached.layout, attached.generation) == (LAYOUT, 5)
        assert attached.daemon_pid == os.getpid()
        assert attached.words.nbytes == LAYOUT.words * 8


def test_only_the_owner_may_open_it(name: str) -> None:
    """The file's mode lets nobody else in, whatever the umask."""
    with Segment.create(name, LAYOUT, 1):
        mode = (FOLDER / name).stat().st_mode

    assert stat.S_IMODE(mode) == 0o600


def test_every_page_is_reserved(name: str) -> None:
    """A store can never find the file system full, because the memory is there already."""
    with Segment.create(name, LAYOUT, 1):
        assert (FOLDER / name).stat().st_blocks * 512 >= LAYOUT.words * 8


def test_an_existing_name_is_not_taken_over(name: str) -> None:
    """A second daemon of the same name is refused and the first one's segment is left alone."""
    with Segment.create(name, LAYOUT, 1) as first:
        error = error_of(lambda: Segment.create(name, LAYOUT, 2))

        assert error.code is ErrorCode.SEGMENT_EXISTS
        assert Segment.attach(name).generation == first.generation


def test_no_room_is_an_error_that_names_both_sizes(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When memory cannot be reserved the error says needed and free, and the name is gone."""

    def full(_fd: int, _offset: int, _size: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    error = error_of(lambda: Segment.create(name, LAYOUT, 1))

    assert error.code is ErrorCode.SEGMENT_NO_ROOM
    assert str(LAYOUT.words * 8) in error.expected
    assert "free" in error.seen
    assert not (FOLDER / name).exists()


def test_frames_can_be_reserved_later(name: str) -> None:
    """Without them the board can be used at once; each call takes so much, until all is there."""
    with Segment.create(name, LAYOUT, 1, whole=False) as made:
        blocks = (FOLDER / name).stat().st_blocks * 512
        made.words[LAYOUT.board] = 1

        assert LAYOUT.memory * 8 <= blocks < LAYOUT.words * 8
        assert made.reserve(4096)
        while made.reserve(1 << 20):
            pass
        assert (FOLDER / name).stat().st_blocks * 512 >= LAYOUT.words * 8
        assert not made.reserve()


def test_the_room_for_frames_is_looked_at_first(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that is too small refuses at once, though frames are reserved later."""
    full = os.statvfs_result((4096, 4096, 100, 3, 3, 10, 10, 10, 0, 255))
    monkeypatch.setattr(os, "fstatvfs", lambda _fd: full)

    error = error_of(lambda: Segment.create(name, LAYOUT, 1, whole=False))

    assert (error.code, error.seen) == (ErrorCode.SEGMENT_NO_ROOM, f"{3 * 4096} bytes free")
    assert not (FOLDER / name).exists()


def test_the_system_s_own_refusal_is_the_same_error(name: str) -> None:
    """When the kernel itself will not give the memory, nothing is left and the error is typed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LAYOUT.words * 8 - 1, hard))
    try:
        error = error_of(lambda: Segment.create(name, LAYOUT, 1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert error.code is ErrorCode.SEGMENT_NO_ROOM
    assert not (FOLDER / name).exists()


@pytest.mark.parametrize("bad", ["", "/a", "a/b", "..", ".a", "-a", "a\0b", "ä", "a" * 129])
def test_names_that_are_paths_are_refused(bad: str) -> None:
    """A name from a message can lead to no other file."""
    for act in (lambda: Segment.create(bad, LAYOUT, 1), lambda: Segment.attach(bad)):
        assert error_of(act).code is ErrorCode.SEGMENT_NAME


def test_a_link_is_not_followed(name: str, tmp_path: Path) -> None:
    """Somebody's link under the name leads nowhere."""
    (FOLDER / name).symlink_to(tmp_path / "target")

    assert error_of(lambda: Segment.attach(name)).code is ErrorCode.SEGMENT_REFUSED
    assert error_of(lambda: Segment.create(name, LAYOUT, 1)).code is ErrorCode.SEGMENT_EXISTS


def test_absent_segments_are_named_so(name: str) -> None:
    """Attaching to nothing, or removing it, says that there is nothing."""
    assert error_of(lambda: Segment.attach(name)).code is ErrorCode.SEGMENT_ABSENT
    assert unlink(name) is False


@pytest.mark.parametrize(
    ("word", "value", "code"),
    [
        (H_MAGIC, 0, ErrorCode.SEGMENT_MAGIC),
        (H_LAYOUT_VERSION, 2, ErrorCode.SEGMENT_VERSION),
        (H_FRAMES, 15, ErrorCode.SEGMENT_SIZE),
        (H_FRAMES, 32, ErrorCode.SEGMENT_SIZE),
        (H_FRAMES, (1 << 64) - 1, ErrorCode.SEGMENT_SIZE),
        (H_BOARD_WORDS, 0, ErrorCode.SEGMENT_SIZE),
        (H_BOARD_WORDS, 1 << 40, ErrorCode.SEGMENT_SIZE),
        (H_SCRAMBLE, 4, ErrorCode.SEGMENT_SIZE),
    ],
)
def test_a_changed_header_is_refused(name: str, word: int, value: int, code: ErrorCode) -> None:
    """Each word that a reader relies on is checked against the rest and the real size."""
    with Segment.create(name, LAYOUT, 1) as made:
        made.words[word] = value

        assert error_of(lambda: Segment.attach(name)).code is code


def test_another_start_is_refused(name: str) -> None:
    """A segment left by an earlier start is not taken for this one's."""
    with Segment.create(name, LAYOUT, 1):
        error = error_of(lambda: Segment.attach(name, 2))

    assert error.code is ErrorCode.SEGMENT_GENERATION
    assert (error.seen, error.expected) == ("1", "2")


@pytest.mark.parametrize("size", [0, 8, 4095, 4096, LAYOUT.words * 8 - 8, LAYOUT.words * 8 + 4096])
def test_a_file_of_another_size_is_refused(name: str, size: int) -> None:
    """A file cut short or grown is refused before it is mapped."""
    with Segment.create(name, LAYOUT, 1):
        os.truncate(FOLDER / name, size)

        assert error_of(lambda: Segment.attach(name)).code is ErrorCode.SEGMENT_SIZE


@given(st.binary(max_size=100), st.sampled_from([0, 100, 4096, LAYOUT.words * 8]))
def test_any_file_is_a_segment_or_a_typed_error(head: bytes, size: int) -> None:
    """Nothing that lies under the name raises anything else."""
    name = f"shootdown-fuzz-{os.getpid()}"
    try:
        (FOLDER / name).write_bytes(head.ljust(size, b"\0"))
        with suppress(SegmentError):
            Segment.attach(name).close()
    finally:
        unlink(name)


def test_a_removed_segment_lives_until_it_is_unmapped(name: str) -> None:
    """After unlink nobody new gets in, and who is in may go on."""
    made = Segment.create(name, LAYOUT, 1)
    made.unlink()

    assert error_of(lambda: Segment.attach(name)).code is ErrorCode.SEGMENT_ABSENT
    made.words[LAYOUT.memory] = 1
    made.close()
    with pytest.raises(ValueError, match="released"):
        made.words[0]


def test_closing_leaves_views_of_others_usable(name: str) -> None:
    """A view that was made from the words keeps the memory until it goes itself."""
    made = Segment.create(name, LAYOUT, 1)
    view = made.words.cast("B")

    made.close()

    assert bytes(view[:8]) == b"shootdwn"


def test_no_descriptor_is_left_open(name: str) -> None:
    """Making, refusing and closing leave as many open files as before."""
    before = open_files()
    for _ in range(5):
        with Segment.create(name, LAYOUT, 1), suppress(SegmentError):
            Segment.attach(name, 2)
        unlink(name)

    assert open_files() == before


def test_the_plain_twin_has_the_same_words(name: str) -> None:
    """What runs on the one runs on the other."""
    plain = PlainSegment(LAYOUT, 5)
    with Segment.create(name, LAYOUT, 5) as made:
        same = [H_MAGIC, H_LAYOUT_VERSION, H_FRAMES, H_BOARD_WORDS, H_SCRAMBLE]

        assert [plain.words[word] for word in same] == [made.words[word] for word in same]
        assert (plain.words.nbytes, plain.words.format) == (made.words.nbytes, made.words.format)


def test_the_header_is_stored_magic_last(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A maker that dies in the middle of the header leaves a segment that is refused."""

    def die(words: memoryview, *_: object) -> None:
        words[H_FRAMES] = 16
        raise KeyboardInterrupt

    monkeypatch.setattr(segments, "write_header", die)
    with pytest.raises(KeyboardInterrupt):
        Segment.create(name, LAYOUT, 1)

    assert error_of(lambda: Segment.attach(name)).code is ErrorCode.SEGMENT_MAGIC
