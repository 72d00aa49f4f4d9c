"""The Chrome trace event format, as far as Perfetto's reader is strict about it.

`faults_of` names everything in a trace that would be dropped, drawn in the wrong place or refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import groupby, pairwise
from operator import itemgetter
from typing import Any

Event = dict[str, Any]

FIELDS = {
    "M": {"name", "pid", "args"},
    "X": {"name", "cat", "pid", "tid", "ts", "dur", "args"},
    "i": {"name", "cat", "pid", "tid", "ts", "s", "args"},
    "s": {"name", "cat", "pid", "tid", "ts", "id"},
    "t": {"name", "cat", "pid", "tid", "ts", "id"},
    "f": {"name", "cat", "pid", "tid", "ts", "id", "bp"},
}
METADATA = {"process_name": ("name", str), "thread_name": ("name", str)} | {
    "thread_sort_index": ("sort_index", int)
}
TIE = 0.0005
"""Microseconds by which a number with three decimals may be off."""


def faults_of(trace: dict[str, Any]) -> list[str]:
    """What is wrong with a trace; empty if nothing is."""
    if trace.get("displayTimeUnit") not in {"ms", "ns"}:
        return [f"displayTimeUnit is {trace.get('displayTimeUnit')!r}"]
    events = trace["traceEvents"]
    malformed = [fault for event in events for fault in _of_one(event)]
    return malformed or [*_unnamed(events), *_crossing(events), *_unbound(events)]


def _of_one(event: Event) -> Iterator[str]:
    """Phase, fields and types of one event."""
    phase = event.get("ph")
    missing = FIELDS.get(phase, {"a known phase"}) - event.keys()  # type: ignore[arg-type]
    if missing:
        yield f"{event} lacks {sorted(missing)}"
        return
    if phase == "M":
        key, kind = METADATA.get(event["name"], ("", str))
        if not isinstance(event["args"].get(key), kind):
            yield f"{event} is no metadata"
        return
    numbers = [event["ts"], event.get("dur", 0)]
    if not all(isinstance(number, int | float) and number >= 0 for number in numbers):
        yield f"{event} has no time"
    if not all(isinstance(event[key], int) and event[key] > 0 for key in ("pid", "tid")):
        yield f"{event} has no thread"


def _unnamed(events: list[Event]) -> Iterator[str]:
    """Every thread with events has one name, and every process."""
    named = Counter(
        (e["pid"], e.get("tid")) for e in events if e["name"] in {"process_name", "thread_name"}
    )
    used = {(e["pid"], tid) for e in events if e["ph"] != "M" for tid in (None, e["tid"])}
    yield from (f"{who} has {named[who]} names" for who in used if named[who] != 1)


def _crossing(events: list[Event]) -> Iterator[str]:
    """Slices of a thread lie in each other or apart; an outer one comes first in the file."""
    thread = itemgetter("pid", "tid")
    slices = sorted((e for e in events if e["ph"] == "X"), key=thread)
    for _, own in groupby(slices, thread):
        outer: list[float] = []
        for event in sorted(own, key=itemgetter("ts")):
            end = event["ts"] + event["dur"]
            while outer and outer[-1] <= event["ts"] + TIE:
                outer.pop()
            if outer and end > outer[-1] + TIE:
                yield f"{event} reaches out of the slice around it"
            outer.append(end)


def _unbound(events: list[Event]) -> Iterator[str]:
    """Each arrow is s, t..., f in time, and each of its events lies within a slice."""
    arrows = sorted((e for e in events if e["ph"] in "stf"), key=itemgetter("id"))
    for number, arrow in groupby(arrows, itemgetter("id")):
        steps = list(arrow)
        phases = "".join(step["ph"] for step in steps)
        if phases != "s" + "t" * (len(steps) - 2) + "f":
            yield f"arrow {number} is {phases}"
        if any(one["ts"] > other["ts"] + TIE for one, other in pairwise(steps)):
            yield f"arrow {number} goes back in time"
        yield from (
            f"arrow {number}: {s} is in no slice" for s in steps if not _in_slice(s, events)
        )


def _in_slice(step: Event, events: list[Event]) -> bool:
    return any(
        e["ph"] == "X"
        and (e["pid"], e["tid"]) == (step["pid"], step["tid"])
        and e["ts"] - TIE <= step["ts"] <= e["ts"] + e["dur"] + TIE
        for e in events
    )
