"""A choice of everything that a history leaves open, the likeliest one.

Where stores have times, those of a location are put in the order that real time allows if it
allows any (Gibbons and Korach's zones); so a history that is linearizable is proved to be by the
guess alone. Then come the order of the file, that of a greedy run of the threads, that of a run
which obeys what sequential consistency forces, and one that release/acquire allows if any is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from shootdown_verify.check.events import STORE
from shootdown_verify.foreign.causal_order import causal_key, sequential_run
from shootdown_verify.foreign.columns import NO_END, NO_ORDER, NO_START, Columns, Numbers
from shootdown_verify.foreign.matching import SHORT, Matching
from shootdown_verify.foreign.schedule import greedy


@dataclass(slots=True)
class Guess:
    """Which store each load met, and the place of each store in its location's order, from 1.

    ``determined``: nothing was left open.
    """

    writer: Numbers
    rank: Numbers
    determined: bool
    schedule: Numbers | None = None
    """The greedy run, where one was made."""


def guesses(columns: Columns, matching: Matching) -> Iterator[Guess]:
    """Take what was recorded, and guess the rest, the likeliest choice first."""
    writer = matching.writer.copy()
    for load, candidates in matching.candidates.items():
        writer[load] = _likeliest(columns, load, candidates)
    stores = np.flatnonzero(columns.kind == STORE)
    determined = not matching.candidates and not _has_open_places(columns, stores)

    def made(key: Numbers, schedule: Numbers | None = None) -> Guess:
        by_key = stores[np.lexsort((stores, key[stores], columns.location[stores]))]
        _obey_orders(columns, by_key)
        return Guess(writer.copy(), _ranks(columns, by_key), determined, schedule)

    if determined:
        yield made(columns.order)
        return
    if not columns.untimed:
        yield made(_zones(columns, writer))
    yield made(np.arange(len(columns)))
    schedule = greedy(columns, writer)
    run = _key_of(schedule)
    yield made(run, schedule)
    # A short history is solved as a whole, and a wrong store of a load forces what is not so.
    helps = len(columns) > SHORT and not matching.candidates
    sequential = sequential_run(columns, writer) if helps else None
    if sequential is not None:
        yield made(_key_of(sequential), sequential)
    causal = causal_key(columns, writer, run)
    if causal is not None:
        yield made(causal)


def _key_of(schedule: Numbers) -> Numbers:
    """The place of each event in an order of all."""
    key = np.empty(len(schedule), dtype=np.int64)
    key[schedule] = np.arange(len(schedule))
    return key


def _has_open_places(columns: Columns, stores: Numbers) -> bool:
    """Whether a location has several stores, of which the order of some was not recorded."""
    places = columns.location[stores]
    count = max(1, len(columns.locations))
    unsaid = np.bincount(places[columns.order[stores] == NO_ORDER], minlength=count)
    return bool(((unsaid > 0) & (np.bincount(places, minlength=count) > 1)).any())


def _likeliest(columns: Columns, load: int, candidates: tuple[int, ...]) -> int:
    """The newest store that began before the load ended; by the file's order without times."""
    end = columns.end[load]
    begun = [s for s in candidates if s >= 0 and columns.start[s] <= end]
    if end == NO_END or any(columns.start[s] == NO_START for s in begun):
        before = [s for s in candidates if 0 <= s < load]
        return before[-1] if before else candidates[0]
    return max(begun, key=lambda s: (columns.start[s], s), default=candidates[0])


def _zones(columns: Columns, writer: Numbers) -> Numbers:
    """For each store: the least end of it and its loads, or the latest begin if that is less."""
    least_end, latest_start = columns.end.copy(), columns.start.copy()
    loads = np.flatnonzero(writer >= 0)
    np.minimum.at(least_end, writer[loads], columns.end[loads])
    np.maximum.at(latest_start, writer[loads], columns.start[loads])
    return np.minimum(least_end, latest_start)


def _obey_orders(columns: Columns, by_key: Numbers) -> None:
    """Let stores with recorded orders take each other's places, so that they obey them."""
    order, place = columns.order[by_key], columns.location[by_key]
    said = np.flatnonzero(order != NO_ORDER)
    by_order = said[np.lexsort((order[said], place[said]))]
    by_key[said] = by_key[by_order]


def _ranks(columns: Columns, by_key: Numbers) -> Numbers:
    """Places from 1 within each location."""
    rank = np.zeros(len(columns), dtype=np.int64)
    place = columns.location[by_key]
    first = np.concatenate(([True], place[1:] != place[:-1])) if len(place) else place
    begins = np.flatnonzero(first)
    sizes = np.diff(np.append(begins, len(by_key)))
    rank[by_key] = np.arange(len(by_key)) - np.repeat(begins, sizes) + 1
    return rank
