"""A fault as a step: of an environment that may make so many of them, whenever it likes.

What a kind of fault does is a function of the machine that it happens in; here is only how it
becomes a task that the explorer may or may not let go, and a replay when its turn has come.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from shootdown_engine.store import Store
from shootdown_engine.task import Task
from shootdown_engine.trap import BLOCKED, Blocked, trap
from shootdown_protocol.history import Injected

BUDGET: Final = ("fault_budget",)
"""How many faults may still happen; None for none."""
Apply = Callable[[Store], str]
"""Makes a fault happen in one step and says what was done; empty: it cannot, nothing changed."""


def fault_task(kind: str, target: str, apply: Apply) -> Task:
    """A task whose every step is one application of a kind of fault to its target."""

    async def body() -> None:
        await trap(kind, step_fault, kind, target, apply)

    return Task(fault_task_name(kind, target), body, server=True)


def fault_task_name(kind: str, target: str) -> str:
    """What schedules call the task of a kind and a target."""
    return f"{kind}.{target}"


def step_fault(store: Store, kind: str, target: str, apply: Apply) -> Blocked | None:
    """Guard: the budget is not spent, and there is something that the fault can happen to."""
    left = store.get(BUDGET)
    if left is None:
        return BLOCKED
    assert isinstance(left, int)
    detail = apply(store)
    if not detail:
        return BLOCKED
    store.put(BUDGET, left - 1 or None)
    store.emit(Injected(kind, target, 0, detail))
    return None
