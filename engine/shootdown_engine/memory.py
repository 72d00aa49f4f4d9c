"""Emulated physical memory seen as words: where a frame, its generation and its owner lie."""

from __future__ import annotations

from shootdown_engine.store import Store
from shootdown_protocol.layout import FRAME_TABLE_STRIDE, PFN_BASE, Layout
from shootdown_protocol.memory import GENERATION_MODULUS, WORDS_PER_FRAME, Pfn


class PhysicalMemory:
    """Word indexes of one segment's frames; holds numbers only, the words are the store's.

    ``zero_pfn`` is the shared zero page, which is never freed.
    """

    __slots__ = ("_frame_table", "_inverse", "_mask", "_memory", "layout", "zero_pfn")

    def __init__(self, layout: Layout, zero_pfn: Pfn) -> None:
        """Work out the constants of a layout."""
        self.layout = layout
        self.zero_pfn = zero_pfn
        self._inverse = pow(layout.scramble, -1, layout.frames) if layout.frames > 1 else 0
        self._mask = layout.frames - 1
        self._frame_table = layout.frame_table
        self._memory = layout.memory

    def exists(self, pfn: int) -> bool:
        """Whether a page number names a frame of this memory."""
        return 0 <= pfn - PFN_BASE <= self._mask

    def index(self, pfn: int) -> int:
        """Frame index of an existing page number."""
        assert 0 <= pfn - PFN_BASE <= self._mask, f"no frame has the page number {pfn:#x}"
        return (pfn - PFN_BASE) * self._inverse & self._mask

    def first_word(self, pfn: int) -> int:
        """Index of the frame's first word in the segment."""
        return self._memory + self.index(pfn) * WORDS_PER_FRAME

    def generation_word(self, pfn: int) -> int:
        """Index of the word that counts how often the frame was freed."""
        return self._frame_table + self.index(pfn) * FRAME_TABLE_STRIDE

    def owner_word(self, pfn: int) -> int:
        """Index of the word that says whose the frame is (``layout.OWNER_...``)."""
        return self._frame_table + self.index(pfn) * FRAME_TABLE_STRIDE + 1

    def generation(self, store: Store, pfn: int) -> int:
        """How often the frame was freed, modulo 2048: what an entry carries in ignored bits."""
        return store.load(self.generation_word(pfn)) % GENERATION_MODULUS
