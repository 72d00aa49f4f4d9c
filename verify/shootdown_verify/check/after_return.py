"""S4 return: an access begun after an operation returned obeys its permissions and its epoch.

The limit that an access read when it began is what the operations that had returned by then
demand. An operation that has not returned has raised no limit, and so is not judged.
"""

from __future__ import annotations

from typing import Final

from shootdown_protocol.board import READ, WRITE, limit_ceiling, limit_order, limit_permissions
from shootdown_protocol.history import Access, AnyRecord, Kind
from shootdown_protocol.program import Program
from shootdown_protocol.words import VERSION_BITS
from shootdown_verify.check.finding import Finding
from shootdown_verify.check.wording import did, location_name, version_name

NAME: Final = "S4"


def check(record: AnyRecord, program: Program) -> Finding | None:
    """Find an access that an operation, returned before it began, had ruled out."""
    if not isinstance(record, Access) or record.place:
        return None
    needed = WRITE if record.kind == Kind.STORE else READ
    if not record.limit & needed:
        return _without_permission(record, program)
    if record.kind == Kind.LOAD and record.source not in {-1, record.location}:
        return _above_ceiling(record, program)
    if record.order >> VERSION_BITS < limit_order(record.limit) >> VERSION_BITS:
        return _old_epoch(record, program)
    return None


def _without_permission(access: Access, program: Program) -> Finding:
    allowed = "reads only" if limit_permissions(access.limit) & READ else "no access at all"
    name = location_name(program, access.location)
    why = (
        f"{did(program, access)} although an operation that allows {allowed} of {name} had "
        "returned before that began"
    )
    return Finding(NAME, "permission-after-return", why, access.location)


def _old_epoch(access: Access, program: Program) -> Finding:
    epoch = limit_order(access.limit) >> VERSION_BITS
    why = (
        f"{did(program, access)}, of epoch {access.order >> VERSION_BITS}, although an operation "
        f"that began epoch {epoch} of {location_name(program, access.location)} had returned "
        "before that"
    )
    return Finding(NAME, "old-epoch-after-return", why, access.location)


def _above_ceiling(load: Access, program: Program) -> Finding | None:
    """Judge a child's load of its parent's version; an older one than fork's is S2's matter."""
    ceiling = limit_ceiling(load.limit)
    if ceiling is None or load.order <= ceiling or program.locations[load.source].racy:
        return None
    why = (
        f"{did(program, load)}, stored after fork had returned: "
        f"{location_name(program, load.location)} was given {version_name(ceiling)}"
    )
    return Finding(NAME, "parent-store-after-fork", why, load.location)
