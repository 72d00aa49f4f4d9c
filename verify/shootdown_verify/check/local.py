"""S1 to S5 on one record: what the explorer asks at every step and the live judge of every record.

Only the list of the checks and the way to ask them may live here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from shootdown_protocol.history import (
    Access,
    AnyRecord,
    Fault,
    Invalidation,
    Resident,
    Stray,
    TableWalk,
)
from shootdown_protocol.program import Program
from shootdown_verify.check import after_return, freshness, liveness, lost_write, place, protocol
from shootdown_verify.check.finding import Finding

Check = Callable[[AnyRecord, Program], Finding | None]

CHECKS_OF: Final[dict[type, tuple[Check, ...]]] = {
    Access: (place.check, freshness.check, after_return.check),
    Resident: (lost_write.check,),
    Stray: (place.check,),
    TableWalk: (place.check,),
    Fault: (liveness.check, protocol.check),
    Invalidation: (protocol.check,),
}
"""Checks by the type of record that they judge; the others find nothing in it."""


def check_record(record: AnyRecord, program: Program) -> Finding | None:
    """The first finding in a record, in the order S1 to S5, or None."""
    for check in CHECKS_OF.get(type(record), ()):
        finding = check(record, program)
        if finding is not None:
            return finding
    return None
