"""Histories to measure the checker on: what a linearizable memory would have recorded."""

from __future__ import annotations

from random import Random
from typing import Final

THREADS: Final = 8
LOCATIONS: Final = 64
STALE_BY: Final = 3
"""Versions by which the one wrong load is behind."""
_STEP: Final = 10
_LONGEST: Final = 60


def jsonl(events: int, *, wrong: bool = False, timed: bool = True, ordered: bool = True) -> bytes:
    """So many events, half of them stores, in the order of their begins; seeded.

    ``wrong``: one load in the middle met an old version. ``timed`` and ``ordered``: begin and end,
    and the place of each store in its location's order, were recorded.
    """
    random = Random(events)
    free = [0] * THREADS
    versions: list[list[int]] = [[0] for _ in range(LOCATIONS)]
    due = events // 2 if wrong else events
    made = []
    for number in range(events):
        thread, place = random.randrange(THREADS), random.randrange(LOCATIONS)
        moment = (number + 1) * _STEP
        start = max(free[thread], moment - random.randrange(_LONGEST))
        end = moment + random.randrange(_LONGEST)
        # The next event of the thread may begin at its end, and takes effect after it.
        free[thread] = min(end, moment + _STEP - 1)
        end = free[thread]
        line = f'{{"thread": "P{thread}", "location": "x{place}", '
        stored = versions[place]
        if random.random() < 0.5:  # noqa: PLR2004 - half of them
            stored.append(number + 1)
            line += f'"kind": "store", "value": {number + 1}'
            line += f', "order": {len(stored) - 1}' if ordered else ""
        else:
            stale = number >= due and len(stored) > STALE_BY
            due = events if stale else due
            line += f'"kind": "load", "value": {stored[-1 - STALE_BY * stale]}'
        line += f', "start": {start}, "end": {end}' if timed else ""
        made.append((start, number, line + "}\n"))
    made.sort()
    return "".join(line for _, _, line in made).encode()
