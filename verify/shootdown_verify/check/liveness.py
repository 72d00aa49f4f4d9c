"""S5 progress: no fault is retried for ever, and no column of an instance waits for ever.

`check` judges one record; `waits_for_ever` judges an instance whose batch the daemon has declared
ended.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Final

from shootdown_protocol.history import AnyRecord, Fault
from shootdown_protocol.program import Program
from shootdown_verify.check.finding import Finding
from shootdown_verify.check.wording import location_name

NAME: Final = "S5"


def check(record: AnyRecord, program: Program) -> Finding | None:
    """Find a page request that its device gave up."""
    if not isinstance(record, Fault) or not record.exhausted:
        return None
    wanted = "write" if record.write else "read"
    why = (
        f"gave up its page requests to {wanted} {location_name(program, record.location)}; "
        f"the last answer was {record.answer!r}"
    )
    return Finding(NAME, "no-progress", why, record.location)


def waits_for_ever(ended: Container[int], program: Program) -> tuple[Finding, ...]:
    """One finding for each column that is not among those ``ended``, though all is quiet."""
    why = "never came to its end, though nothing moves any more"
    return tuple(
        Finding(NAME, "deadlock", why, task=column.name)
        for number, column in enumerate(program.columns)
        if number not in ended
    )
