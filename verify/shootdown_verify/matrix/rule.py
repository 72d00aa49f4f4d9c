"""The rule that a matrix shows, in words: the latest point at which each operation may notify.

It is read off the cells and nothing else: which disciplines were found safe, and in which order
the operation announces the phases that they bind to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from shootdown_daemon.machine.disciplines import DISCIPLINES, bind_operation
from shootdown_daemon.machine.operations import OPERATIONS
from shootdown_daemon.machine.phases import Phase, later_phase
from shootdown_daemon.machine.profiles import PROFILES

SAFE: Final = "safe"
BROKEN: Final = "broken"
INCONCLUSIVE: Final = "inconclusive"
NO_NOTIFICATION: Final = "none"

POINTS: Final = {
    Phase.RANGE_START: "at invalidate_range_start",
    Phase.BEFORE_CLEAR: "under the page table lock, before the entry is cleared",
    Phase.CLEAR_FLUSH: "under the page table lock, between clearing and setting the entry",
    Phase.AFTER_SET: "under the page table lock, after the entry is set",
    Phase.AFTER_UNLOCK: "after the page table lock is dropped",
    Phase.RANGE_END: "at invalidate_range_end",
    Phase.BEFORE_FREE: "just before the page is freed",
    Phase.OP_RETURN: "as the operation returns",
}
"""Where each phase lies, in words."""


RANKED: Final = frozenset({NO_NOTIFICATION, *Phase})
"""Disciplines that name one point, so that one of them can be called the latest."""


def bound_phase(operation: str, discipline: str) -> Phase | None:
    """The phase of an operation at which a shipped discipline notifies; None for none."""
    if discipline == NO_NOTIFICATION:
        return None
    return later_phase(Phase(discipline), OPERATIONS[operation].phases)


def latest_safe(operation: str, verdicts: Mapping[str, str]) -> str | None:
    """The safe discipline that notifies last; None when none is safe."""
    if verdicts.get(NO_NOTIFICATION) == SAFE:
        return NO_NOTIFICATION
    phases = OPERATIONS[operation].phases
    safe = _safe(verdicts)
    return max(safe, key=lambda name: _position(operation, name, phases), default=None)


def _safe(verdicts: Mapping[str, str]) -> list[str]:
    return [name for name, verdict in verdicts.items() if verdict == SAFE and name in RANKED]


def kernel_points(operation: str, version: str) -> tuple[Phase, ...]:
    """Where a version of Linux notifies for an operation, in the operation's own order."""
    phases = OPERATIONS[operation].phases
    bound = bind_operation(DISCIPLINES[version], operation, phases)
    return tuple(phase for phase in phases if phase in bound)


def _kernels(operation: str, verdicts: Mapping[str, str]) -> str:
    """What the matrix says of the kernels that are among its columns."""
    said = []
    for version in PROFILES:
        if version not in verdicts or verdicts[version] == INCONCLUSIVE:
            continue
        points = kernel_points(operation, version)
        where = " and ".join(POINTS[point] for point in points) or "nobody"
        said.append(f" {version} notifies {where}: {verdicts[version]}.")
    return "".join(said)


def _position(operation: str, discipline: str, phases: tuple[Phase, ...]) -> int:
    phase = bound_phase(operation, discipline)
    return -1 if phase is None else phases.index(phase)


def sentence(row: str, operation: str, verdicts: Mapping[str, str]) -> str:
    """What one row says."""
    open_cells = [name for name, verdict in verdicts.items() if verdict == INCONCLUSIVE]
    if not [v for v in verdicts.values() if v != INCONCLUSIVE]:
        return f"{row}: nothing follows; no cell was decided."
    latest = latest_safe(operation, verdicts)
    if latest is None:
        text = f"{row}: no point that was tried is safe"
    elif latest == NO_NOTIFICATION:
        text = f"{row}: nobody needs to be notified"
    else:
        text = f"{row}: notify {_range_of(operation, verdicts, latest)}"
    if open_cells:
        text += f" (not decided: {', '.join(open_cells)})"
    return f"{text}.{_kernels(operation, verdicts)}"


def _range_of(operation: str, verdicts: Mapping[str, str], latest: str) -> str:
    phases = OPERATIONS[operation].phases
    safe = _safe(verdicts)
    first = min(safe, key=lambda name: _position(operation, name, phases))
    last_phase = bound_phase(operation, latest)
    first_phase = bound_phase(operation, first)
    assert last_phase is not None
    assert first_phase is not None
    if first_phase is last_phase:
        return f"{POINTS[last_phase]}, and at no other point"
    first = POINTS[first_phase].removeprefix("at ")
    return f"at the latest {POINTS[last_phase]} (from {first} on)"


def rule(rows: Sequence[tuple[str, str, Mapping[str, str]]]) -> list[str]:
    """One sentence a row, of (row, operation, verdict by discipline)."""
    return [sentence(row, operation, verdicts) for row, operation, verdicts in rows]
