"""S1 place: every access touches a live frame of its own location.

The evidence was taken by the access itself, when it took effect (`history.Place`); a stray store
is found when the frame that it hit is handed out again.
"""

from __future__ import annotations

from typing import Final

from shootdown_protocol.history import Access, AnyRecord, Kind, Place, Stray, TableWalk
from shootdown_protocol.program import Program
from shootdown_verify.check.finding import Finding
from shootdown_verify.check.wording import frame_name, location_name

NAME: Final = "S1"

_WHERE: Final = {
    Place.POISON: ("use-after-free", "a freed frame: the word there was the frame's poison"),
    Place.FOREIGN: ("foreign-frame", "a frame that holds another location's version"),
    Place.GENERATION: (
        "use-after-free",
        "a frame that had been freed since the translation was made",
    ),
    Place.NO_FRAME: ("no-frame", "a page number that no frame has"),
    Place.UNKNOWN: ("unknown-word", "a word that nobody stored"),
}


def check(record: AnyRecord, program: Program) -> Finding | None:
    """Find an access, or the trace of one, outside the live frames of its location."""
    if isinstance(record, Access):
        return _access(record, program) if record.place else None
    if isinstance(record, TableWalk):
        return _table_walk(record)
    return _stray(record) if isinstance(record, Stray) else None


def _access(access: Access, program: Program) -> Finding:
    title, where = _WHERE[Place(access.place)]
    verb = "stored" if access.kind == Kind.STORE else "read"
    name = location_name(program, access.location)
    why = f"{verb} {name} in {frame_name(access.pfn)}, {where}"
    return Finding(NAME, title, why, access.location)


def _stray(stray: Stray) -> Finding:
    why = (
        f"was given {frame_name(stray.pfn)} with its poison broken: somebody stored "
        f"{stray.word:#x} there after it had been freed (generation {stray.generation})"
    )
    return Finding(NAME, "stray-store", why)


def _table_walk(walk: TableWalk) -> Finding:
    found = "its poison" if walk.place is Place.POISON else "what its next owner keeps there"
    why = (
        f"walked through {frame_name(walk.pfn)}, a level {walk.level} table that had been freed "
        f"since the entry above it was read: the entry loaded there is {found}"
    )
    return Finding(NAME, "table-use-after-free", why)
