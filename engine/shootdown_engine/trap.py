"""The only function that suspends a task, and what it hands to the scheduler.

A *request* names one atomic step: a function over the store. Applied, the function either returns
`BLOCKED` without having changed anything (the step's guard is false), or makes the step and
returns what the task learns from it. An operation learns about shared state in no other way, so a
task's state is the list of results it has received.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Generator
from typing import Any, Final, TypeVar

import msgspec

from shootdown_engine.store import Store

R = TypeVar("R")


class Blocked:
    """Type of the one value that says: the guard of this step is false."""

    __slots__ = ()

    def __repr__(self) -> str:
        """Name it in reports."""
        return "BLOCKED"


BLOCKED: Final = Blocked()


class Request(msgspec.Struct, eq=False):
    """One step that a task asks for.

    ``name`` is the kernel's or the device's name of the step, ``operation`` the operation that it
    belongs to, ``location`` the scenario location it is about (-1 for none) and ``detail`` what a
    report says of it. A step with an empty name is not reported. ``apply`` is given the store and
    ``arguments``; its guard, footprint and effect are what it does there.
    """

    name: str
    apply: Callable[..., object]
    arguments: tuple[object, ...] = ()
    operation: str = ""
    location: int = -1
    detail: str = ""

    @property
    def full_name(self) -> str:
        """Operation and step, as schedules and fault plans name it."""
        return f"{self.operation}.{self.name}" if self.operation else self.name

    def __repr__(self) -> str:
        """Show the step as reports do."""
        return f"<{self.full_name} {self.location}>"


@types.coroutine
def trap(
    name: str,
    apply: Callable[..., R | Blocked],
    *arguments: object,
    operation: str = "",
    location: int = -1,
    detail: str = "",
) -> Generator[Request, Any, R]:
    """Ask for one step and return what it gave; another task may run before it is made."""
    result: R = yield Request(name, apply, arguments, operation, location, detail)
    return result


@types.coroutine
def ask(request: Request) -> Generator[Request, Any, Any]:
    """Ask for a step that was named already, as `trap` does."""
    result = yield request
    return result


def attempt(store: Store, request: Request) -> object:
    """Apply a request's step to a store; `BLOCKED` when its guard is false."""
    return request.apply(store, *request.arguments)
