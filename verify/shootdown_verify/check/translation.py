"""Translation freshness: nothing is reached through a translation that an invalidation has ended.

This is clause (ii) of Armv8-A's strong model, for devices: who hits in its ATC after an
invalidation of the page had completed has a translation that was made after that invalidation was
sent, or it kept one that it said it had dropped. Until the completion a stale hit is legal.

Moments of different processes are compared, so a finding is made only where every reading of the
clocks agrees, and no walk of anybody's may have brought a new translation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from shootdown_protocol.history import Access, Invalidation, Stamped, Step
from shootdown_protocol.program import Program
from shootdown_verify.check.finding import Finding
from shootdown_verify.check.wording import did, location_name

NAME: Final = "translation"
TITLE: Final = "stale-translation"

_REGION_SHIFT: Final = 21
"""A walk of one page may bring a translation of all of its 2 MiB."""
_WALK: Final = "walk"
PASID_FIRST: Final = 0x100
"""PASID of the first address space of the first instance."""


class Completed(NamedTuple):
    """An invalidation that was completed: when it was sent at the earliest, completed at latest."""

    sent: int
    completed: int
    what: Invalidation


def check_instance(
    records: Sequence[Stamped], marked: Sequence[Stamped], program: Program
) -> Iterator[Finding]:
    """Find hits in translations that a completed invalidation covers; ``marked`` are those."""
    hits = [
        (index, stamped)
        for index, stamped in enumerate(records)
        if isinstance(stamped.record, Access) and stamped.record.hit and stamped.record.stale
    ]
    if not hits:
        return
    invalidations = completed_invalidations(marked)
    device_of = {c.name: program.devices[c.device] for c in program.columns if c.device >= 0}
    for index, stamped in hits:
        access = stamped.record
        assert isinstance(access, Access)
        place = program.locations[access.location]
        if place.alias >= 0 or any(p.alias == access.location for p in program.locations):
            continue  # It may have gone by another address of the word.
        va = place.va
        for done in invalidations:
            what = done.what
            covers = _is_of(what, place.mm, program)
            covers = covers and what.address <= va < what.address + what.size
            if (
                covers
                and what.device == device_of.get(stamped.task)
                and done.completed < stamped.begin
                and not _was_walked(records, program, va, done.sent, stamped.end)
            ):
                name = location_name(program, access.location)
                why = (
                    f"{did(program, access)} through a translation that it had kept: the "
                    f"invalidation of {name} with ITag {what.itag} had completed before"
                )
                yield Finding(NAME, TITLE, why, access.location, task=stamped.task, index=index)
                break


def _is_of(what: Invalidation, mm: int, program: Program) -> bool:
    """Whether an invalidation is of an address space; its PASIDs are one for each, in order."""
    spaces = len(program.mms)
    return spaces == 1 or (what.pasid - PASID_FIRST) % spaces == mm


def completed_invalidations(marked: Sequence[Stamped]) -> list[Completed]:
    """Invalidations of an instance with when they were sent and completed."""
    sent: dict[tuple[str, int], Stamped] = {}
    done: list[Completed] = []
    for stamped in sorted(marked, key=lambda stamped: stamped.end):
        record = stamped.record
        assert isinstance(record, Invalidation)
        key = record.device, record.itag
        if record.state == "sent":
            sent[key] = stamped
        elif record.state == "completed" and key in sent:
            done.append(Completed(sent.pop(key).begin, stamped.end, record))
    return done


def _was_walked(
    records: Sequence[Stamped], program: Program, va: int, since: int, until: int
) -> bool:
    """Whether a walk that may have seen a page was under way between two moments."""
    return any(
        isinstance(stamped.record, Step)
        and stamped.record.name == _WALK
        and stamped.end >= since
        and stamped.begin <= until
        and program.locations[stamped.record.location].va >> _REGION_SHIFT == va >> _REGION_SHIFT
        for stamped in records
    )
