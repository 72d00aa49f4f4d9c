"""Emulated physical memory seen as words: where a frame, its generation and its owner lie."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from shootdown_engine.store import Store
from shootdown_protocol.layout import FRAME_TABLE_STRIDE, PFN_BASE, Layout
from shootdown_protocol.memory import GENERATION_MODULUS, WORDS_PER_FRAME, Pfn

if TYPE_CHECKING:
    from shootdown_engine.access import Intent, Target
    from shootdown_engine.slot import Slot
    from shootdown_engine.walker import Walked


class Host(Protocol):
    """Who walks and accesses for a device that has no memory of its own to do so."""

    def walk(self, pasid: int, va: int, /, *, write: bool) -> Walked:
        """Translate one page, in order to store or not."""
        ...

    def access(self, slot: Slot, intent: Intent, target: Target, /) -> int:
        """Load or store through a translation; gives the value seen."""
        ...


class PhysicalMemory:
    """Word indexes of one segment's frames; holds numbers only, the words are the store's.

    ``zero_pfn`` is the shared zero page, which is never freed. With a ``host`` the words are
    nobody's business here: walks and accesses are asked of it.
    """

    __slots__ = (
        "_first",
        "_frame_table",
        "_generation",
        "_inverse",
        "_mask",
        "_memory",
        "host",
        "layout",
        "zero_pfn",
    )

    def __init__(self, layout: Layout, zero_pfn: Pfn, host: Host | None = None) -> None:
        """Work out the constants of a layout."""
        self.layout = layout
        self.zero_pfn = zero_pfn
        self.host = host
        self._inverse = pow(layout.scramble, -1, layout.frames) if layout.frames > 1 else 0
        self._mask = layout.frames - 1
        self._frame_table = layout.frame_table
        self._memory = layout.memory
        self._first: dict[int, int] = {}
        self._generation: dict[int, int] = {}

    def exists(self, pfn: int) -> bool:
        """Whether a page number names a frame of this memory."""
        return 0 <= pfn - PFN_BASE <= self._mask

    def index(self, pfn: int) -> int:
        """Frame index of an existing page number."""
        assert 0 <= pfn - PFN_BASE <= self._mask, f"no frame has the page number {pfn:#x}"
        return (pfn - PFN_BASE) * self._inverse & self._mask

    def first_word(self, pfn: int) -> int:
        """Index of the frame's first word in the segment."""
        word = self._first.get(pfn)
        if word is None:
            word = self._first[pfn] = self._memory + self.index(pfn) * WORDS_PER_FRAME
        return word

    def generation_word(self, pfn: int) -> int:
        """Index of the word that counts how often the frame was freed."""
        word = self._generation.get(pfn)
        if word is None:
            word = self._frame_table + self.index(pfn) * FRAME_TABLE_STRIDE
            self._generation[pfn] = word
        return word

    def owner_word(self, pfn: int) -> int:
        """Index of the word that says whose the frame is (``layout.OWNER_...``)."""
        return self.generation_word(pfn) + 1

    def generation(self, store: Store, pfn: int) -> int:
        """How often the frame was freed, modulo 2048: what an entry carries in ignored bits."""
        return store.load(self.generation_word(pfn)) % GENERATION_MODULUS
