"""Where in a long history a cycle may lie: windows that no cycle can leave.

Take any order of all events. A cycle that crosses the cut between two neighbours forwards also
crosses it backwards, so all of it lies in one run of cuts that edges cross backwards. Nothing is
decided here: what lies outside such runs is on no cycle, and each run is judged by the passes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from shootdown_verify.check.events import LOAD, STORE, Event, Execution, InWord
from shootdown_verify.foreign.columns import Columns, Numbers
from shootdown_verify.foreign.matching import NO_LOAD

_SEGMENTS_MAX: Final = 100_000
"""Locations beyond which the begin of each access is moment enough."""


@dataclass(slots=True)
class Placed:
    """A history whose every access has its place in its location's order.

    ``position`` of a store counts from 1; a load has that of the version that it met, 0 for the
    initial one and -1 where its store is not known.
    """

    columns: Columns
    writer: Numbers
    position: Numbers


def windows(placed: Placed, order: Numbers, *, timed: bool) -> list[Numbers]:
    """Events of each window, in the order of the file; ``timed``: real time is an edge too."""
    count = len(order)
    at = np.empty(count, dtype=np.int64)
    at[order] = np.arange(count)
    crossed = np.zeros(count + 1, dtype=np.int64)
    for sources, targets in _edges(placed, timed=timed, at=at):
        back = at[sources] > at[targets]
        np.add.at(crossed, at[targets[back]], 1)
        np.add.at(crossed, at[sources[back]], -1)
    inside = np.cumsum(crossed[:-1]) > 0
    starts = np.flatnonzero(inside & ~np.concatenate(([False], inside[:-1])))
    ends = np.flatnonzero(inside & ~np.concatenate((inside[1:], [False]))) + 2
    return [np.sort(order[s:e]) for s, e in zip(starts, ends, strict=True)]


def _edges(placed: Placed, *, timed: bool, at: Numbers) -> Iterator[tuple[Numbers, Numbers]]:
    """Edges of which all others are made: program order, rf, co, fr, and real time."""
    columns = placed.columns
    by_thread = np.argsort(columns.thread, kind="stable")
    same = columns.thread[by_thread[1:]] == columns.thread[by_thread[:-1]]
    yield by_thread[:-1][same], by_thread[1:][same]
    loads = np.flatnonzero(placed.writer >= 0)
    yield placed.writer[loads], loads
    yield from _word_edges(placed)
    if timed:
        yield _time_edges(columns, at)


def _word_edges(placed: Placed) -> Iterator[tuple[Numbers, Numbers]]:
    """Coherence order, and from each load to the next store."""
    columns = placed.columns
    stores = np.flatnonzero(columns.kind == STORE)
    loads = np.flatnonzero((columns.kind == LOAD) & (placed.position >= 0))
    span = int(placed.position.max(initial=0)) + 2
    keys = columns.location * np.int64(span) + placed.position
    stores = stores[np.argsort(keys[stores], kind="stable")]
    same = columns.location[stores[1:]] == columns.location[stores[:-1]]
    yield stores[:-1][same], stores[1:][same]
    following = np.searchsorted(keys[stores], keys[loads], side="right")
    some = following < len(stores)
    loads, newer = loads[some], stores[following[some]]
    same = columns.location[newer] == columns.location[loads]
    yield loads[same], newer[same]


def _time_edges(columns: Columns, at: Numbers) -> tuple[Numbers, Numbers]:
    """From each event to the first in the order of those that began after its end."""
    by_start = np.argsort(columns.start, kind="stable")
    first = np.minimum.accumulate(at[by_start][::-1])[::-1]
    after = np.searchsorted(columns.start[by_start], columns.end, side="right")
    some = np.flatnonzero(after < len(by_start))
    event_at = np.empty(len(at), dtype=np.int64)
    event_at[at] = np.arange(len(at))
    return some, event_at[first[after[some]]]


def time_order(placed: Placed) -> Numbers:
    """An order by a moment of each access at which it may have taken effect.

    For an access that is as new as time allows, the latest begin of all that its location had
    before it; one that met a version older than that keeps its own begin, and so moves nothing.
    """
    columns = placed.columns
    rank = 2 * np.maximum(placed.position, 0) + (columns.kind == LOAD)
    span = int(rank.max(initial=0)) + 2
    by_rank = np.argsort(columns.location * np.int64(span) + rank, kind="stable")
    moment = columns.start[by_rank].copy()
    location = columns.location[by_rank]
    bounds = np.flatnonzero(np.concatenate(([True], location[1:] != location[:-1], [True])))
    if len(bounds) > _SEGMENTS_MAX:
        return by_rank[np.argsort(moment, kind="stable")]
    latest = moment.copy()
    for first, beyond in pairwise(bounds.tolist()):
        if location[first] >= 0:
            part = slice(first, beyond)
            until = np.minimum.accumulate(columns.end[by_rank[part]][::-1])[::-1]
            latest[part] = np.maximum.accumulate(np.minimum(moment[part], until))
    return by_rank[np.argsort(latest, kind="stable")]


def execution(placed: Placed, events: Numbers, *, timed: bool) -> Execution:
    """Some events of a history as the passes take them."""
    columns = placed.columns
    names = columns.threads
    made = [
        Event(names[thread], kind, () if place < 0 or position < 0 else (InWord(place, position),))
        for thread, kind, place, position in zip(
            columns.thread[events].tolist(),
            columns.kind[events].tolist(),
            columns.location[events].tolist(),
            placed.position[events].tolist(),
            strict=True,
        )
    ]
    if not timed:
        return Execution(made)
    spans = list(zip(columns.start[events].tolist(), columns.end[events].tolist(), strict=True))
    return Execution(made, spans)


def positions(columns: Columns, writer: Numbers, rank: Numbers) -> Numbers:
    """Positions from the rank of each store; -1 for a load whose store is not known."""
    position = np.where(columns.kind == STORE, rank, np.int64(-1))
    loads = np.flatnonzero((writer > NO_LOAD) & (writer >= -1))
    met = writer[loads]
    position[loads] = np.where(met >= 0, rank[np.maximum(met, 0)], 0)
    return position
