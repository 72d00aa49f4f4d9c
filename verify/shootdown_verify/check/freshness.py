"""S2 value: no load returns a version older than one whose store ended before the load began.

The floor that a load read when it began says which version that is, so real-time order is judged
without a clock. Versions of different epochs are S4's matter. A fork's child that meets its
parent's version is judged by the ceiling that fork left, and by its own stores.
"""

from __future__ import annotations

from typing import Final

from shootdown_protocol.board import limit_ceiling
from shootdown_protocol.history import Access, AnyRecord, Kind
from shootdown_protocol.program import Program
from shootdown_protocol.words import VERSION_BITS, VERSION_MAX
from shootdown_verify.check.finding import Finding, Model
from shootdown_verify.check.wording import did, location_name, version_name

NAME: Final = "S2"
TITLE: Final = "stale-read"


def check(record: AnyRecord, program: Program) -> Finding | None:
    """Find a load of a version that had been replaced in full before the load began."""
    if not isinstance(record, Access) or record.kind == Kind.STORE or record.place:
        return None
    if record.source not in {-1, record.location}:
        return _inherited(record, program)
    newest = record.floor - 1
    if record.order >= newest or record.order >> VERSION_BITS != newest >> VERSION_BITS:
        return None
    if program.locations[record.location].racy:
        return None
    return _finding(record, program, version_name(newest))


def _inherited(load: Access, program: Program) -> Finding | None:
    """Judge a child's load of its parent's version."""
    if load.floor > 0 and load.floor - 1 & VERSION_MAX:
        if program.locations[load.location].racy:
            return None
        own = f"{version_name(load.floor - 1)} of {location_name(program, load.location)} itself"
        return _finding(load, program, own)
    ceiling = limit_ceiling(load.limit)
    if ceiling is None or load.order >= ceiling or program.locations[load.source].racy:
        return None
    source = location_name(program, load.source)
    return _finding(load, program, f"{version_name(ceiling)} of {source}, which fork passed on,")


def _finding(load: Access, program: Program, newest: str) -> Finding:
    why = f"{did(program, load)} although {newest} had been stored in full before the read began"
    return Finding(NAME, TITLE, why, load.location, Model.REAL_TIME)
