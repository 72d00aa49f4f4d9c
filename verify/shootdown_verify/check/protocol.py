"""ATS and PRI: ITags, completions and drains, page requests and their responses.

Of a record by itself: the host's IOMMU reports a completion for an ITag that no invalidation uses
(hardware: an Unexpected Completion), and one whose count is not that of the ITag's others. Of an
instance: a completion comes after the drain, and every page request has one response. Of a whole
history: an ITag is not given out again before its completion.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from shootdown_protocol.history import AnyRecord, Fault, Invalidation, Stamped
from shootdown_protocol.program import Program
from shootdown_verify.check.finding import Finding

NAME: Final = "protocol"
PAGE_REQUEST_SERVER: Final = "iopf"
"""The kernel's task that answers page requests."""

AFTER_STOP: Final = "after-stop-marker"
"""Answer in the record of a page request that follows a stop marker."""

UNSUPPORTED: Final = "unsupported-request"
"""Answer in the record of a translation request of a device that has no domain."""

WRONG: Final = {
    "unexpected": ("unexpected-completion", "which no invalidation uses"),
    "miscounted": ("completion-count", "with a count that is not its first completion's"),
    "iotlb_miscounted": ("completion-count", "with a count that is not its first completion's"),
}
"""States of an invalidation that a right device never brings about: title, and what is wrong."""

_SENT: Final = frozenset({"sent", "iotlb_sent"})
_COMPLETED: Final = frozenset({"completed", "iotlb_completed", "released", "iotlb_released"})


def check(record: AnyRecord, _program: Program) -> Finding | None:
    """Find a completion, or a page request, that the protocol does not allow."""
    if isinstance(record, Fault):
        return _of_fault(record)
    if not isinstance(record, Invalidation) or record.state not in WRONG:
        return None
    title, wrong = WRONG[record.state]
    return Finding(
        NAME, title, f"was sent a completion of {record.device} for ITag {record.itag}, {wrong}"
    )


def _of_fault(fault: Fault) -> Finding | None:
    """Find a request that its device was not to make: behind its stop marker, or not attached."""
    if fault.answer == UNSUPPORTED:
        why = "asked for a translation where the device had no domain"
        return Finding(NAME, "unsupported-request", why, fault.location)
    if fault.answer != AFTER_STOP:
        return None
    why = "was sent a page request of a PASID behind the device's stop marker"
    return Finding(NAME, "request-after-stop", why, fault.location)


Marked = tuple[int, Stamped]
"""A record with its place among those of its instance."""


def check_instance(invalidations: Iterable[Marked]) -> Iterator[Finding]:
    """Find invalidations that were completed before their device said that it had drained.

    The host's and the device's records of one ITag are paired in their order. Where the device
    reports nothing, or its clock is not the host's, nothing is found.
    """
    states: dict[tuple[str, int], dict[str, list[Marked]]] = {}
    for index, stamped in invalidations:
        record = stamped.record
        assert isinstance(record, Invalidation)
        of_itag = states.setdefault((record.device, record.itag), {})
        of_itag.setdefault(record.state, []).append((index, stamped))
    for of_itag in states.values():
        sent, drained, completed = (of_itag.get(s, []) for s in ("sent", "drained", "completed"))
        if len(sent) == len(drained) == len(completed):
            yield from _completed_early(_in_order(sent), _in_order(drained), _in_order(completed))


def _completed_early(
    sent: list[Marked], drained: list[Marked], completed: list[Marked]
) -> Iterator[Finding]:
    for (_, begun), (index, late), (_, early) in zip(sent, drained, completed, strict=True):
        if begun.begin <= early.end < late.begin:
            record = late.record
            assert isinstance(record, Invalidation)
            why = (
                f"completed the invalidation with ITag {record.itag} before the accesses under way "
                "had drained"
            )
            yield Finding(NAME, "completion-before-drain", why, task=record.device, index=index)


def check_responses(steps: Sequence[str]) -> Finding | None:
    """Find a response that no page request asked for, in the names of the server's steps."""
    asked = steps.count("take_page_request")
    answered = steps.count("page_response")
    if answered <= asked:
        return None
    why = f"sent {answered} page responses and took {asked} page requests"
    return Finding(NAME, "page-response-twice", why, task=PAGE_REQUEST_SERVER)


def _in_order(marked: list[Marked]) -> list[Marked]:
    return sorted(marked, key=lambda each: each[1].end)


class ItagUse:
    """ITags that each device has in use, over a whole history.

    Every agent has devices of the program's names, and a record does not say whose it is about:
    with several agents an ITag may be in use once at each.
    """

    def __init__(self, agents: int = 1) -> None:
        """Begin with all of them free."""
        self._agents = agents
        self._used: Counter[tuple[str, int]] = Counter()

    def observe(self, records: Iterable[Stamped]) -> Iterator[Finding]:
        """Find ITags given out again; records of the host's, in the order of its making them."""
        for stamped in records:
            record = stamped.record
            assert isinstance(record, Invalidation)
            key = record.device, record.itag
            if record.state in _SENT:
                if self._used[key] >= self._agents:
                    why = f"sent {record.device} an invalidation with ITag {record.itag} in use"
                    yield Finding(NAME, "itag-reuse", why, task=stamped.task)
                self._used[key] += 1
            elif record.state in _COMPLETED and self._used[key]:
                self._used[key] -= 1


def of_host(records: Iterable[Stamped]) -> list[Stamped]:
    """What the host recorded of invalidations, in its order."""
    marked = [
        stamped
        for stamped in records
        if isinstance(stamped.record, Invalidation) and stamped.record.state in _SENT | _COMPLETED
    ]
    return sorted(marked, key=lambda stamped: (stamped.end, stamped.sequence))
