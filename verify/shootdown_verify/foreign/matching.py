"""Which store each load met, by location and value.

A value that one store of a location wrote, and that is not its initial one, names its store. Where
several did, the load's ``order`` may say which; else it has candidates, and `inference` chooses.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np

from shootdown_verify.foreign.columns import NO_ORDER, Columns, Numbers

INITIAL: Final = -1
"""The load met the location's initial value."""
UNWRITTEN: Final = -2
"""Nobody stored what the load returned."""
AMBIGUOUS: Final = -3
"""Several stores may be the one."""
NO_LOAD: Final = -4


SHORT: Final = 400
"""Events of a history of which every candidate is kept."""
NEAREST: Final = 8
"""Of a longer one those are, before the load and behind it in the file."""


@dataclass(slots=True)
class Matching:
    """For each event the store that it met, or one of the numbers above."""

    writer: Numbers
    candidates: dict[int, tuple[int, ...]] = field(default_factory=dict)
    """Of ambiguous loads: stores, and `INITIAL`."""
    partial: set[int] = field(default_factory=set)
    """Loads with more candidates than those: they speak against nothing."""

    def unwritten(self) -> list[int]:
        """Loads of what nobody stored."""
        return [int(event) for event in np.flatnonzero(self.writer == UNWRITTEN)]


def match(columns: Columns) -> Matching:
    """Look up the store of every load."""
    writer = np.full(len(columns), NO_LOAD, dtype=np.int64)
    loads = np.flatnonzero(columns.is_load)
    stores = np.flatnonzero(columns.is_store)
    keys = _keys(columns)
    by_key = stores[np.argsort(keys[stores], kind="stable")]
    stored = keys[by_key]
    first = np.searchsorted(stored, keys[loads], side="left")
    beyond = first + 0
    if len(stored):
        found = stored[np.minimum(first, len(stored) - 1)] == keys[loads]
        beyond[found] += 1
        if (stored[1:] == stored[:-1]).any():
            beyond = np.searchsorted(stored, keys[loads], side="right")
    initial = columns.value[loads] == _initial_values(columns)[columns.location[loads]]
    count = beyond - first + initial
    known = (count == 1) & ~initial
    writer[loads] = np.where(count == 0, UNWRITTEN, np.where(count > 1, AMBIGUOUS, INITIAL))
    writer[loads[known]] = by_key[first[known]]
    matching = Matching(writer)
    for at in np.flatnonzero(count > 1).tolist():
        load = int(loads[at])
        which = by_key[first[at] : beyond[at]]
        if len(columns) > SHORT and len(which) > 2 * NEAREST:
            here = int(np.searchsorted(which, load))
            which = which[max(0, here - NEAREST) : here + NEAREST]
            matching.partial.add(load)
        _choose(columns, matching, load, which.tolist(), is_initial=bool(initial[at]))
    return matching


def _choose(
    columns: Columns, matching: Matching, load: int, stores: list[int], *, is_initial: bool
) -> None:
    """Keep the candidates that are possible; one alone is the store."""
    said = columns.order[load]
    if said != NO_ORDER:
        named = [store for store in stores if columns.order[store] == said]
        if named:
            matching.writer[load] = named[0]
            return
    thread = columns.thread[load]
    possible = [s for s in stores if s < load or columns.thread[s] != thread]
    candidates = ([INITIAL] if is_initial else []) + possible
    if len(candidates) == 1 and load not in matching.partial:
        matching.writer[load] = candidates[0]
    elif candidates:
        matching.candidates[load] = tuple(candidates)
    else:  # only later stores of its own thread: any of them breaks coherence
        matching.writer[load] = stores[0]


def _initial_values(columns: Columns) -> Numbers:
    values = np.zeros(max(1, len(columns.locations)), dtype=np.int64)
    for location, value in columns.initial.items():
        values[location] = value
    return values


def _keys(columns: Columns) -> Numbers:
    """One number for each location and value, equal where both are."""
    if not len(columns):
        return columns.value
    low, high = int(columns.value.min()), int(columns.value.max())
    if (high - low + 1) * (len(columns.locations) + 1) < 1 << 62:
        return np.asarray(columns.location * np.int64(high - low + 1) + (columns.value - low))
    _, numbered = np.unique(columns.value, return_inverse=True)
    return np.asarray(columns.location * np.int64(len(columns) + 1) + numbered)
