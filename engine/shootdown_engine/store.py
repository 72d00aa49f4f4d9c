"""The store: every piece of state that two tasks share, as cells.

A cell is either a word of the shared segment, named by its index (an `int`), or a private cell of
one machine, named by a tuple. Live, words are shared memory and private cells a dict; under the
explorer both are an undoable vector, and the same steps run on it.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Protocol

from shootdown_protocol.history import AnyRecord

Cell = int | tuple[Hashable, ...]
"""Index of a word in the segment, or the name of a private cell."""


class Store(Protocol):
    """What a step may do. Everything it reads or changes goes through here, and is measured."""

    def load(self, word: int, /) -> int:
        """Read one word of the segment: an aligned 8-byte load."""
        ...

    def store(self, word: int, value: int, /) -> None:
        """Write one word of the segment: an aligned 8-byte store."""
        ...

    def exchange(self, word: int, value: int, /) -> int:
        """Write one word and give what it was, at once where others may write it too."""
        ...

    def compare_exchange(self, word: int, expected: int, value: int, /) -> int:
        """Write one word if it is what is expected, at once likewise; gives what it was."""
        ...

    def get(self, cell: tuple[Hashable, ...], /) -> Any:  # noqa: ANN401 - as its cell's kind says
        """Read a private cell; None when it was never put, or put as None."""
        ...

    def put(self, cell: tuple[Hashable, ...], value: Hashable, /) -> None:
        """Write a private cell."""
        ...

    def fill_frame(self, first_word: int, pattern: int, /) -> None:
        """Write the same word all over a frame that nothing maps."""
        ...

    def copy_frame(self, source_word: int, target_word: int, /) -> None:
        """Copy a frame into one that nothing maps (4 KiB; a concurrent store may tear it)."""
        ...

    def broken_word(self, first_word: int, pattern: int, /) -> int | None:
        """The first word of a frame that differs from the pattern, or None."""
        ...

    def send(self, channel: tuple[Hashable, ...], message: Hashable, /) -> None:
        """Append a message to a channel; when it arrives is not this step's business."""
        ...

    def emit(self, record: AnyRecord, /) -> None:
        """Report something that this step did."""
        ...


def receive(store: Store, channel: tuple[Hashable, ...]) -> Hashable | None:
    """Take the oldest message that has arrived in a channel; None when there is none."""
    cell = ("channel", *channel)
    queue = store.get(cell)
    if not queue:
        return None
    assert isinstance(queue, tuple)
    store.put(cell, queue[1:] or None)
    first: Hashable = queue[0]
    return first


def deliver(store: Store, channel: tuple[Hashable, ...], message: Hashable) -> None:
    """Append a message to the receiving end of a channel."""
    cell = ("channel", *channel)
    queue = store.get(cell)
    assert queue is None or isinstance(queue, tuple)
    store.put(cell, (*(queue or ()), message))
