"""A segment's words in ordinary memory of one process, for tests and exploration; and the header.

Pure: machines may import this, which they may not do with `segment`.
"""

from __future__ import annotations

from shootdown_protocol.layout import (
    H_BOARD_WORDS,
    H_DAEMON_PID,
    H_FRAMES,
    H_GENERATION,
    H_LAYOUT_VERSION,
    H_MAGIC,
    H_SCRAMBLE,
    H_START_NS,
    LAYOUT_VERSION,
    MAGIC,
    Layout,
)

WORD_BYTES = 8


def write_header(
    words: memoryview, layout: Layout, generation: int, start_ns: int, daemon_pid: int
) -> None:
    """Fill a segment's header, magic last; ``start_ns`` is CLOCK_MONOTONIC.

    x86-64 makes stores visible in order, so whoever reads the magic also reads the rest. The words
    ``H_PASID_DIRECTORY`` and ``H_ZERO_PFN`` stay 0 until the kernel has made what they name.
    """
    assert words[H_MAGIC] == 0, "a header is written once"
    words[H_LAYOUT_VERSION] = LAYOUT_VERSION
    words[H_FRAMES] = layout.frames
    words[H_BOARD_WORDS] = layout.board_words
    words[H_SCRAMBLE] = layout.scramble
    words[H_GENERATION] = generation
    words[H_START_NS] = start_ns
    words[H_DAEMON_PID] = daemon_pid
    words[H_MAGIC] = MAGIC


class PlainSegment:
    """The twin of `segment.Segment` over a bytearray: the same words, shared with nobody."""

    __slots__ = ("generation", "layout", "words")

    def __init__(self, layout: Layout, generation: int = 0) -> None:
        """Make zeroed words with a header."""
        self.layout = layout
        self.generation = generation
        self.words = memoryview(bytearray(layout.words * WORD_BYTES)).cast("Q")
        write_header(self.words, layout, generation, start_ns=0, daemon_pid=0)

    def close(self) -> None:
        """Give the words back; using them afterwards is a `ValueError`."""
        self.words.release()
