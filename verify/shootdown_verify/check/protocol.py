"""ATS: completions that no invalidation of the host's is waiting for, or that contradict others.

The host's IOMMU reports both as it takes a completion in: one for an ITag that no invalidation
uses (hardware: an Unexpected Completion), and one whose count is not that of the ITag's others.
"""

from __future__ import annotations

from typing import Final

from shootdown_protocol.history import AnyRecord, Invalidation
from shootdown_protocol.program import Program
from shootdown_verify.check.finding import Finding

NAME: Final = "protocol"

WRONG: Final = {
    "unexpected": ("unexpected-completion", "which no invalidation uses"),
    "miscounted": ("completion-count", "with a count that is not its first completion's"),
    "iotlb_miscounted": ("completion-count", "with a count that is not its first completion's"),
}
"""States of an invalidation that a right device never brings about: title, and what is wrong."""


def check(record: AnyRecord, _program: Program) -> Finding | None:
    """Find a completion that the protocol does not allow."""
    if not isinstance(record, Invalidation) or record.state not in WRONG:
        return None
    title, wrong = WRONG[record.state]
    return Finding(
        NAME, title, f"was sent a completion of {record.device} for ITag {record.itag}, {wrong}"
    )
