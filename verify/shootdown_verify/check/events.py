"""An instance's accesses as events of a memory model: threads, logical words, positions.

A *word* is a location's history of versions, and a *position* is a place in it: a load has the
position of the version that it met, so reads-from, coherence order and from-reads are comparisons
of positions and nothing has to be searched for. The word of a fork's child begins with the
versions of its parent that fork passed on (up to the ceiling) and goes on with its own; so a store
of the parent may lie in two words, and the parent's later stores are none of the child's business.

What belongs to no word is left out by whoever builds an `Entry`: accesses that were denied, that
are wrong by S1 or S4, that touch a racy location, or that met an epoch that has been replaced.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from shootdown_protocol.history import Kind
from shootdown_protocol.program import Program
from shootdown_protocol.words import ORDER_MASK

LOAD: Final = int(Kind.LOAD)
STORE: Final = int(Kind.STORE)
SYNC: Final = 2
"""Not an access: the moment at which a column has seen another's end."""
FENCE: Final = 3
"""A full fence: orders everything before it and after it in its thread."""

_OWN: Final = ORDER_MASK + 1
"""Added to a child's own positions, so that they follow those of its parent."""


class Entry(NamedTuple):
    """What a memory model needs to know of one record; equal entries are equal events.

    ``location`` is the column waited for where ``kind`` is `SYNC`. ``ceiling`` is the newest
    version of the parent that a child may meet, or -1.
    """

    kind: int
    location: int
    source: int = -1
    order: int = -1
    ceiling: int = -1


Shape = tuple[tuple[str, tuple[Entry, ...]], ...]
"""Every thread by name with its entries in program order: all that the untimed models see."""


class InWord(NamedTuple):
    """A position in a word."""

    word: int
    position: int


class Event(NamedTuple):
    """One access, fence or `SYNC`. A load lies in one word, a store perhaps in its children's too.

    ``target`` is the thread that a `SYNC` waited for.
    """

    thread: str
    kind: int
    places: tuple[InWord, ...]
    target: str = ""


Span = tuple[float, float]
"""Begin and end in one unit; what has no begin began at -inf, what has no end ends at +inf."""


class Stores(NamedTuple):
    """A word's stores in coherence order: their positions, and their numbers."""

    positions: list[int]
    numbers: list[int]


NO_STORES: Final = Stores([], [])


class Execution:
    """Events in program order by thread, and the stores of every word in coherence order.

    ``spans`` has the begin and end of every event, or is empty where no clock ran.
    """

    __slots__ = ("events", "readers", "spans", "stores", "threads", "words")

    def __init__(self, events: Sequence[Event], spans: Sequence[Span] = ()) -> None:
        """Sort the stores of each word by position."""
        assert not spans or len(spans) == len(events)
        self.events = events
        self.spans = spans
        self.threads: dict[str, list[int]] = {}
        self.words: dict[int, list[int]] = {}
        self.stores: dict[int, Stores] = {}
        self.readers: dict[InWord, list[int]] = {}
        written: dict[int, list[tuple[int, int]]] = {}
        for number, (thread, kind, places, _) in enumerate(events):
            self.threads.setdefault(thread, []).append(number)
            for place in places:
                self.words.setdefault(place.word, []).append(number)
                if kind == STORE:
                    written.setdefault(place.word, []).append((place.position, number))
                else:
                    self.readers.setdefault(place, []).append(number)
        for word, stores in written.items():
            stores.sort()
            self.stores[word] = Stores([p for p, _ in stores], [number for _, number in stores])

    def position(self, number: int, word: int) -> int:
        """Where an event lies in a word that it belongs to."""
        return next(place.position for place in self.events[number].places if place.word == word)

    def rank(self, number: int, word: int) -> int:
        """Position, with a load after the store that it met: who must come first has the less."""
        return 2 * self.position(number, word) + (self.events[number].kind == LOAD)

    def writer(self, place: InWord) -> int | None:
        """The store that made a version; None for the initial one, and one that is not here."""
        positions, numbers = self.stores.get(place.word, NO_STORES)
        at = bisect_left(positions, place.position)
        return numbers[at] if at < len(positions) and positions[at] == place.position else None

    def restricted(self, numbers: Iterable[int]) -> tuple[Execution, list[int]]:
        """Some of the events by themselves, and which they were."""
        kept = sorted(numbers)
        spans = [self.spans[number] for number in kept] if self.spans else ()
        return Execution([self.events[number] for number in kept], spans), kept


def build_execution(shape: Shape, program: Program, spans: Sequence[Span] = ()) -> Execution:
    """Place every entry of a shape in its words; ``spans`` go with the entries in their order."""
    entries = [(thread, entry) for thread, thread_entries in shape for entry in thread_entries]
    ceilings = _ceilings(entry for _, entry in entries)
    events = [_event(thread, entry, program, ceilings) for thread, entry in entries]
    return Execution(events, spans)


def _ceilings(entries: Iterable[Entry]) -> dict[int, int]:
    return {
        entry.location: entry.ceiling
        for entry in entries
        if entry.kind != SYNC and entry.ceiling >= 0
    }


def _event(thread: str, entry: Entry, program: Program, ceilings: dict[int, int]) -> Event:
    kind, location, source, order, _ = entry
    if kind == SYNC:
        return Event(thread, SYNC, (), program.columns[location].name)
    if kind == LOAD and source not in {-1, location}:
        return Event(thread, LOAD, (InWord(location, order),))
    own = order if program.locations[location].parent < 0 else order + _OWN
    if kind == LOAD:
        return Event(thread, LOAD, (InWord(location, own),))
    passed_on = tuple(
        InWord(child, order)
        for child, ceiling in ceilings.items()
        if program.locations[child].parent == location and order <= ceiling
    )
    return Event(thread, STORE, (InWord(location, own), *passed_on))
