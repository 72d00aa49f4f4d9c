"""The store of a live process: words of a mapped segment, private cells in a dict, an outbox.

Only what a step may do and what its scheduler needs to wake blocked tasks may live here.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Container, Hashable
from typing import Any

from shootdown_engine.store import deliver
from shootdown_protocol.atomics import Atomics
from shootdown_protocol.history import AnyRecord
from shootdown_protocol.memory import WORDS_PER_FRAME

_FRAME_BYTES = WORDS_PER_FRAME * 8
_PATTERNS_MAX = 64


class LiveStore:
    """A `Store` over the words of a segment.

    ``remote`` names the kinds of channel whose other end is in another process: their messages
    go to ``outbox`` as (channel, message). ``records`` collects what steps emit, and ``changed``
    the cells that were written since it was last cleared: private ones, and ``watched`` words.
    ``foreign`` are words that another process writes, so that no change of them is seen here.
    """

    def __init__(self, words: memoryview, remote: frozenset[str] = frozenset()) -> None:
        """Work on ``words``, a memoryview of format ``Q`` over the whole segment."""
        assert words.format == "Q"
        self.words = words
        self.bytes = words.cast("B")
        self.remote = remote
        self.cells: dict[tuple[Hashable, ...], Hashable] = {}
        self.outbox: list[tuple[tuple[Any, ...], Any]] = []
        self.records: list[AnyRecord] = []
        self.changed: list[tuple[Hashable, ...] | int] = []
        self.watched: set[int] = set()
        self.foreign: Container[int] = frozenset()
        self.emit = self.records.append
        self.get = self.cells.get
        self.load = words.__getitem__
        self.put = self._putter()
        """Write a private cell and note that it changed."""
        self.send = self._sender()
        """Put a message into the outbox, or straight into a channel of this process."""
        self._poison: dict[int, bytes] = {}
        self.atomics: Atomics | None = None

    def _putter(self) -> Callable[[tuple[Hashable, ...], Hashable], None]:
        """What is called so often holds all that it needs."""
        cells, forget, note = self.cells, self.cells.pop, self.changed.append

        def put(cell: tuple[Hashable, ...], value: Hashable) -> None:
            if value is None:
                forget(cell, None)
            else:
                cells[cell] = value
            note(cell)

        return put

    def _sender(self) -> Callable[[tuple[Hashable, ...], Hashable], None]:
        remote, put_out = self.remote, self.outbox.append

        def send(channel: tuple[Hashable, ...], message: Hashable) -> None:
            if channel[0] in remote:
                put_out((channel, message))
            else:
                deliver(self, channel, message)

        return send

    def store(self, word: int, value: int) -> None:
        """Write a word and note that it changed, if anybody waits for it."""
        self.words[word] = value
        if word in self.watched:
            self.watched.remove(word)
            self.changed.append(word)

    def share_entries(self) -> None:
        """From now on, exchange and compare in one instruction: other processes do so too."""
        self.atomics = Atomics(self.words)

    def exchange(self, word: int, value: int) -> int:
        """Write a word and give what it was."""
        if self.atomics is None:
            old = self.words[word]
            self.store(word, value)
            return old
        old = self.atomics.exchange(word, value)
        self._note(word)
        return old

    def compare_exchange(self, word: int, expected: int, value: int) -> int:
        """Write a word if it is what is expected; gives what it was."""
        if self.atomics is not None:
            old = self.atomics.compare_exchange(word, expected, value)
            self._note(word)
            return old
        old = self.words[word]
        if old == expected:
            self.store(word, value)
        return old

    def _note(self, word: int) -> None:
        if word in self.watched:
            self.watched.remove(word)
            self.changed.append(word)

    def fill_frame(self, first_word: int, pattern: int) -> None:
        """Write the pattern all over a frame."""
        start = first_word * 8
        self.bytes[start : start + _FRAME_BYTES] = self._pattern(pattern)

    def copy_frame(self, source_word: int, target_word: int) -> None:
        """Copy a frame by one slice assignment."""
        self.words[target_word : target_word + WORDS_PER_FRAME] = self.words[
            source_word : source_word + WORDS_PER_FRAME
        ]

    def broken_word(self, first_word: int, pattern: int) -> int | None:
        """Compare a frame with the pattern all over."""
        start = first_word * 8
        if self.bytes[start : start + _FRAME_BYTES].tobytes() == self._pattern(pattern):
            return None
        for word in self.words[first_word : first_word + WORDS_PER_FRAME]:
            if word != pattern:
                return word
        return None

    def _pattern(self, word: int) -> bytes:
        cached = self._poison.get(word)
        if cached is None:
            if len(self._poison) > _PATTERNS_MAX:
                self._poison.clear()
            cached = self._poison[word] = array("Q", [word]).tobytes() * WORDS_PER_FRAME
        return cached
