"""What was read of a history, as one array a field: some forty bytes an event.

Only the arrays, the names behind their numbers, and what was odd about the file may live here.
Places in the arrays are *events*; those of one thread stand in program order.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from shootdown_verify.check.events import FENCE, LOAD, STORE

Numbers = NDArray[Any]
"""Integers of whatever width is enough."""
Flags = NDArray[Any]
Times = NDArray[Any]
"""int64, or float64 where a time of the file was no integer."""

NO_ORDER: Final = np.iinfo(np.int64).min
"""In `Columns.order`: nothing was said."""
NO_START: Final = np.iinfo(np.int64).min
NO_END: Final = np.iinfo(np.int64).max
"""In `Columns.start` and `Columns.end`: nothing was said, so nothing is known to be before it."""


class Numbering(dict[str, int]):
    """Numbers for names, in the order in which they were first met."""

    def __missing__(self, name: str) -> int:
        number = self[name] = len(self)
        return number


@dataclass(slots=True)
class Source:
    """What was odd about a file: lines skipped, bytes behind the last whole line.

    ``cut_short``: its compressed data ended early; ``stopped_after``: the line after which
    memory was full, or 0.
    """

    path: str
    skipped: int = 0
    first_skipped: str = ""
    torn_bytes: int = 0
    cut_short: bool = False
    stopped_after: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether nothing of the history is known to be missing."""
        return not (self.skipped or self.torn_bytes or self.cut_short or self.stopped_after)


@dataclass(slots=True)
class Columns:
    """A history's events, by the order of their lines."""

    source: Source
    threads: list[str]
    locations: list[str]
    thread: Numbers
    kind: Numbers
    location: Numbers
    """-1 for a fence."""
    value: Numbers
    order: Numbers
    start: Times
    end: Times
    line: Numbers
    initial: dict[int, int] = field(default_factory=dict)
    """Values of locations that do not begin with 0."""
    large_values: dict[int, int] = field(default_factory=dict)
    """Values too large for their array, by what stands for them there."""
    untimed: int = 0
    """Loads and stores that did not say when they began and ended."""
    timed: int = 0
    """Events that did."""
    has_clock: bool = False
    """Whether any event said when it ended and any when it began, be it another one."""

    def __len__(self) -> int:
        return len(self.kind)

    @property
    def kept_bytes(self) -> int:
        """What the columns take of memory."""
        arrays = (self.thread, self.kind, self.location, self.value, self.order)
        return sum(array.nbytes for array in (*arrays, self.start, self.end, self.line))

    @property
    def is_load(self) -> Flags:
        """Which events are loads."""
        return np.equal(self.kind, LOAD)

    @property
    def is_store(self) -> Flags:
        """Which events are stores."""
        return np.equal(self.kind, STORE)

    @property
    def has_fences(self) -> bool:
        """Whether any event is a fence."""
        return bool((self.kind == FENCE).any())

    def value_of(self, event: int) -> int:
        """The value that the file gave."""
        value = int(self.value[event])
        return self.large_values.get(value, value)

    def initial_value(self, location: int) -> int:
        """A location's value before any store."""
        value = self.initial.get(location, 0)
        return self.large_values.get(value, value)
