"""Byte layout of the shared segment: header, frame table, board, frames.

``docs/shared_memory.md`` is the prose of this page. Every offset below is counted in 8-byte words
from the start of the segment, because every access to it is one aligned 8-byte load or store.

========== ==================== ====================================================
part       words                who writes
========== ==================== ====================================================
header     512                  the daemon, magic last; two words anew for each run
frames     2 a frame            the daemon: generation, then owner
board      `BOARD_FIXED` + ...  one process a word (`board`)
memory     512 a frame          the kernel its tables; CPUs and devices the data
========== ==================== ====================================================
"""

from __future__ import annotations

from typing import Final

import msgspec

from shootdown_protocol.memory import WORDS_PER_FRAME, FrameIndex, Pfn

MAGIC: Final = 0x6E77_6474_6F6F_6873
"""The bytes ``shootdwn``, little-endian; stored last, so that a reader never sees half a header."""
LAYOUT_VERSION: Final = 1

HEADER_WORDS: Final = WORDS_PER_FRAME
FRAME_TABLE_STRIDE: Final = 2

H_MAGIC: Final = 0
"""`MAGIC`, stored last."""
H_LAYOUT_VERSION: Final = 1
"""`LAYOUT_VERSION`; another one is refused."""
H_FRAMES: Final = 2
"""Frames of memory, a power of two."""
H_BOARD_WORDS: Final = 3
"""Words of the board."""
H_GENERATION: Final = 4
"""Which start of a testbed made the segment; `Welcome` says it too."""
H_START_NS: Final = 5
"""CLOCK_MONOTONIC when it was made, ns."""
H_SCRAMBLE: Final = 6
"""Odd factor between frame indexes and page numbers."""
H_PASID_DIRECTORY: Final = 7
"""Page number of the PASID directory's first page; set anew for each run, before `LoadProgram`."""
H_ZERO_PFN: Final = 8
"""Page number of the shared zero page; set anew for each run, before `LoadProgram`."""
H_DAEMON_PID: Final = 9
"""The process that made the segment."""

PFN_BASE: Final = 1 << 20
"""Every emulated page number is at least this: an index or an address taken for one is caught."""

FRAMES_MAX: Final = 1 << 20
"""Frames of a segment."""
BOARD_WORDS_MAX: Final = 1 << 22
"""Words of a board."""

OWNER_FREE: Final = 0
"""A frame that nobody owns; it is full of poison."""
OWNER_KERNEL: Final = 1
"""Tables and the zero page; any larger owner is a location: see `owner_of`."""


def owner_of(instance: int, location: int) -> int:
    """Frame-table owner word of a data frame: instance and location, never 0 or 1."""
    return (instance << 8 | location) + 2


class Layout(msgspec.Struct, frozen=True):
    """Where things lie in a segment of ``frames`` frames and ``board_words`` board words.

    ``frames`` is a power of two and ``scramble`` an odd number below it: page numbers are
    ``PFN_BASE + (index * scramble) mod frames``, so that their order is not the address order.
    """

    frames: int
    board_words: int
    scramble: int

    def __post_init__(self) -> None:
        """Refuse sizes out of range (`ValueError` names what was seen and what was expected)."""
        if self.frames & (self.frames - 1) or not 0 < self.frames <= FRAMES_MAX:
            message = f"frames: a power of two up to {FRAMES_MAX} was expected, got {self.frames}"
            raise ValueError(message)
        if self.scramble % 2 == 0 or self.scramble <= 0:
            message = f"scramble: a positive odd number was expected, got {self.scramble}"
            raise ValueError(message)
        if not 0 < self.board_words <= BOARD_WORDS_MAX:
            message = f"board_words: 1 to {BOARD_WORDS_MAX} were expected, got {self.board_words}"
            raise ValueError(message)

    @property
    def frame_table(self) -> int:
        """First word of the frame table."""
        return HEADER_WORDS

    @property
    def board(self) -> int:
        """First word of the board."""
        return HEADER_WORDS + self.frames * FRAME_TABLE_STRIDE

    @property
    def memory(self) -> int:
        """First word of frame 0, aligned to a page."""
        end = self.board + self.board_words
        return -(-end // WORDS_PER_FRAME) * WORDS_PER_FRAME

    @property
    def words(self) -> int:
        """Length of the segment in words."""
        return self.memory + self.frames * WORDS_PER_FRAME

    def pfn_of(self, index: int) -> Pfn:
        """Emulated page number of a frame."""
        return Pfn(PFN_BASE + index * self.scramble % self.frames)

    def index_of(self, pfn: int) -> FrameIndex | None:
        """Frame of an emulated page number; None when no such frame exists."""
        offset = pfn - PFN_BASE
        if not 0 <= offset < self.frames:
            return None
        return FrameIndex(offset * pow(self.scramble, -1, self.frames) % self.frames)
