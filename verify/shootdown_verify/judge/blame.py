"""Which devices the findings of a run are about: whose access, or whose completion, was wrong.

Under a right kernel that is the device at fault. A finding that could be anybody's (an outcome, an
order of right accesses) names none, and a deadlock the devices that have not completed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from shootdown_protocol.history import Invalidation, Stamped
from shootdown_protocol.program import Program
from shootdown_verify.check.finding import Finding

DEADLOCK: Final = "deadlock"


class Blame:
    """Names the devices of one program's findings."""

    def __init__(self, program: Program) -> None:
        """Note which device each column is of."""
        self._devices = frozenset(program.devices)
        self._device_of = {
            column.name: program.devices[column.device]
            for column in program.columns
            if column.device >= 0
        }

    def devices(self, findings: Iterable[Finding], records: Sequence[Stamped]) -> frozenset[str]:
        """The devices that an instance's findings are about."""
        named: set[str] = set()
        for finding in findings:
            if finding.title == DEADLOCK:
                named |= _owing(records)
            else:
                named.add(self._device(finding, records))
        return frozenset(named & self._devices)

    def _device(self, finding: Finding, records: Sequence[Stamped]) -> str:
        """The one that a finding is about, or what is no device's name."""
        record = records[finding.index].record if 0 <= finding.index < len(records) else None
        if isinstance(record, Invalidation):
            return record.device
        device, _, _ = finding.task.partition(".")  # of a thread of the device's own
        return self._device_of.get(finding.task, device)


def _owing(records: Iterable[Stamped]) -> set[str]:
    """Devices with an invalidation that was sent and never completed."""
    owed: Counter[str] = Counter()
    for stamped in records:
        record = stamped.record
        if isinstance(record, Invalidation) and record.state in ("sent", "completed"):
            owed[record.device] += 1 if record.state == "sent" else -1
    return {device for device, count in owed.items() if count > 0}
