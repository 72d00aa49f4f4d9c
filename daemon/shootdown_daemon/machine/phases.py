"""Phases of an operation, at which secondary TLBs may be notified, and how a discipline binds.

An operation announces the phases it has, in its own order; a discipline names phases by its
hooks. A phase that an operation lacks means the next later one in the order below; every
operation has `Phase.OP_RETURN`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Any, NamedTuple


class Phase(StrEnum):
    """Named after what the kernel has just done, or is about to do, to the entry."""

    RANGE_START = "range_start"
    """``invalidate_range_start()`` was called; no lock is held yet."""
    BEFORE_CLEAR = "before_clear"
    """Under the page table lock, before the entry changes."""
    CLEAR_FLUSH = "clear_flush"
    """Under the lock, the entry is cleared (or its permission taken) and not yet set again."""
    AFTER_SET = "after_set"
    """Under the lock, the new entry is set."""
    AFTER_UNLOCK = "after_unlock"
    """The page table lock was dropped."""
    RANGE_END = "range_end"
    """``invalidate_range_end()``."""
    BEFORE_FREE = "before_free"
    """The gather's flush: the last moment before the page is freed."""
    OP_RETURN = "op_return"
    """The operation is about to return to its caller."""


ORDER: tuple[Phase, ...] = tuple(Phase)


class InvalidateRange(NamedTuple):
    """What to invalidate: ``[start, end)`` in bytes of one PASID; ``location`` is for reports.

    ``leaf_only``: no table was freed, so paging-structure caches may keep what they hold.
    """

    pasid: int
    start: int
    end: int
    location: int
    leaf_only: bool = False


Hook = Callable[[Any, InvalidateRange], Awaitable[None]]
"""A discipline's hook: given the `Cpu` it runs on and the range of the operation."""
Binding = dict[Phase, tuple[Hook, ...]]


def later_phase(phase: Phase, phases: tuple[Phase, ...]) -> Phase:
    """The phase itself where the operation has it, else the next later one that it has."""
    for candidate in ORDER[ORDER.index(phase) :]:
        if candidate in phases:
            return candidate
    message = f"an operation without {Phase.OP_RETURN} cannot be bound"
    raise ValueError(message)


def bind(discipline: object, phases: tuple[Phase, ...]) -> Binding:
    """Which hooks of a discipline run at which phase of an operation."""
    binding: Binding = {}
    for phase in ORDER:
        hook: Hook | None = getattr(discipline, phase.value, None)
        if hook is not None:
            at = later_phase(phase, phases)
            binding[at] = (*binding.get(at, ()), hook)
    return binding
