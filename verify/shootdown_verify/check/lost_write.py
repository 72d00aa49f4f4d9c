"""S3 loss: the frame that an entry maps holds the newest version whose store has ended.

Judged whenever a present entry is set, and once more when all is quiet.
"""

from __future__ import annotations

from typing import Final

from shootdown_protocol.history import AnyRecord, Resident
from shootdown_protocol.layout import PFN_BASE
from shootdown_protocol.program import Program
from shootdown_protocol.words import VERSION_BITS, VERSION_MAX
from shootdown_verify.check.finding import Finding
from shootdown_verify.check.wording import frame_name, location_name, version_name

NAME: Final = "S3"
TITLE: Final = "lost-store"


def check(record: AnyRecord, program: Program) -> Finding | None:
    """Find a mapped frame without the newest version whose store has ended."""
    if not isinstance(record, Resident) or record.floor == 0 or record.pfn < PFN_BASE:
        return None
    newest = record.floor - 1
    if program.locations[record.location].racy or not _is_lost(record, newest):
        return None
    when = "when all was quiet" if record.final else "when its entry was set"
    why = (
        f"found {version_name(record.order)} of {location_name(program, record.source)} in "
        f"{frame_name(record.pfn)}, mapped at {location_name(program, record.location)}, {when}: "
        f"{version_name(newest)}, whose store had ended, is lost"
    )
    return Finding(NAME, TITLE, why, record.location)


def _is_lost(resident: Resident, newest: int) -> bool:
    """Whether an ended store is not in the frame; a version of the parent replaces none."""
    if resident.order < 0:
        return True
    if resident.source not in {-1, resident.location}:
        return bool(newest & VERSION_MAX)
    same_epoch = resident.order >> VERSION_BITS == newest >> VERSION_BITS
    return same_epoch and resident.order < newest
