"""The store that explored steps run on: it reads one state, and measures what the step touches.

A step is applied to a state without changing it; what it would write, the cells that it read
before it wrote them, and the records it emitted are kept here until the next step. Words of frames
are cells like all others, but a frame is also filled and copied whole: the pattern it was last
filled with is a cell of its own, and a word nobody has written since has the value `AS_FILLED`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Final

from shootdown_engine.store import Cell, deliver
from shootdown_protocol.history import AnyRecord
from shootdown_protocol.memory import WORDS_PER_FRAME


class AsFilled:
    """Type of the one value that says: this word is what its frame was filled with."""

    __slots__ = ()

    def __repr__(self) -> str:
        """Name it in reports."""
        return "AS_FILLED"


AS_FILLED: Final = AsFilled()
Channel = tuple[Hashable, ...]


class ExploringStore:
    """A `Store` over explored states.

    ``frames_at`` is the index of the first frame's first word (None: the segment has no frames).
    Until `freeze` it is an ordinary store whose cells are the state at the start; from then on
    ``read`` gives a cell's value in the state that the step at hand is applied to.
    """

    def __init__(self, frames_at: int | None = None) -> None:
        """Begin empty: words 0, private cells None, frames filled with 0."""
        self.frames_at = frames_at
        self.records: list[AnyRecord] = []
        self.emit: Callable[[AnyRecord], None] = self.records.append
        self.start: dict[Cell, Hashable] = {}
        self.reads: dict[Cell, None] = {}
        self.writes: dict[Cell, Hashable] = self.start
        self.frames_touched: dict[int, None] = {}
        self.offsets: dict[int, tuple[int, ...]] = {}
        self._new_words: list[tuple[int, int]] = []
        self._read: Callable[[Cell], Hashable] = self.initial

    def initial(self, cell: Cell) -> Hashable:
        """Value of a cell at the start."""
        try:
            return self.start[cell]
        except KeyError:
            pass
        if isinstance(cell, int):
            return 0 if self._frame_of(cell) is None else AS_FILLED
        return 0 if cell[0] == "fill" else None

    def freeze(self) -> None:
        """Take what was written so far for the state at the start."""
        self.records.clear()
        self.reads.clear()
        self.writes = {}
        self._new_words.clear()

    def begin(self, read: Callable[[Cell], Hashable]) -> None:
        """Get ready for one step on the state that ``read`` reads."""
        self._read = read
        self.reads = {}
        self.writes = {}
        self.frames_touched = {}
        self.records = []
        self.emit = self.records.append

    def take_new_words(self) -> list[tuple[int, int]]:
        """Frames and words in them that have become cells since this was last asked."""
        taken, self._new_words = self._new_words, []
        return taken

    # What a step may do

    def load(self, word: int) -> int:
        """Read one word; one that nobody has written is what its frame was filled with."""
        value = self._value(word)
        if value is AS_FILLED:
            frame = self._frame_of(word)
            assert frame is not None
            value = self._value(("fill", frame))
        assert isinstance(value, int)
        return value

    def store(self, word: int, value: int) -> None:
        """Write one word."""
        frame = self._frame_of(word)
        if frame is not None:
            self._know(frame, word - frame)
        self.writes[word] = value

    def exchange(self, word: int, value: int) -> int:
        """Write one word and give what it was."""
        old = self.load(word)
        self.store(word, value)
        return old

    def compare_exchange(self, word: int, expected: int, value: int) -> int:
        """Write one word if it is what is expected; gives what it was."""
        old = self.load(word)
        if old == expected:
            self.store(word, value)
        return old

    def get(self, cell: Channel) -> object:
        """Read a private cell."""
        return self._value(cell)

    def put(self, cell: Channel, value: Hashable) -> None:
        """Write a private cell."""
        self.writes[cell] = value

    def fill_frame(self, first_word: int, pattern: int) -> None:
        """Write the pattern all over a frame: its words are as filled."""
        self.frames_touched[first_word] = None
        self.writes["fill", first_word] = pattern
        for offset in self.offsets.get(first_word, ()):
            self.writes[first_word + offset] = AS_FILLED

    def copy_frame(self, source_word: int, target_word: int) -> None:
        """Copy the pattern and every word that was ever written in one of the two."""
        self.frames_touched[source_word] = self.frames_touched[target_word] = None
        for offset in self.offsets.get(source_word, ()):
            self._know(target_word, offset)
        self.writes["fill", target_word] = self._value(("fill", source_word))
        for offset in self.offsets.get(target_word, ()):
            self.writes[target_word + offset] = self._value(source_word + offset)

    def broken_word(self, first_word: int, pattern: int) -> int | None:
        """The first word that differs from the pattern, whether written by itself or filled."""
        self.frames_touched[first_word] = None
        known = self.offsets.get(first_word, ())
        broken = {
            offset: word for offset in known if (word := self.load(first_word + offset)) != pattern
        }
        fill = self._value(("fill", first_word))
        assert isinstance(fill, int)
        filled = next((o for o in range(WORDS_PER_FRAME) if o not in known), None)
        if fill != pattern and filled is not None:
            broken[filled] = fill
        return broken[min(broken)] if broken else None

    def send(self, channel: Channel, message: Hashable) -> None:
        """Append a message to the channel's cell."""
        deliver(self, channel, message)

    # How it is kept

    def _value(self, cell: Cell) -> Hashable:
        try:
            return self.writes[cell]
        except KeyError:
            pass
        self.reads[cell] = None
        return self._read(cell)

    def _frame_of(self, word: int) -> int | None:
        """First word of the frame that a word lies in."""
        if self.frames_at is None or word < self.frames_at:
            return None
        return word - (word - self.frames_at) % WORDS_PER_FRAME

    def _know(self, frame: int, offset: int) -> None:
        """Note that a word of a frame is a cell of its own from now on."""
        known = self.offsets.get(frame, ())
        if offset not in known:
            self.offsets[frame] = tuple(sorted((*known, offset)))
            self._new_words.append((frame, frame + offset))
