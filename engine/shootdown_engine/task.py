"""A task: a coroutine over traps, the request it waits with, and how it ends or starts again."""

from __future__ import annotations

from collections.abc import Callable, Coroutine

from shootdown_engine.slot import Slot
from shootdown_engine.store import Store
from shootdown_engine.trap import BLOCKED, Request, attempt

Body = Callable[[], Coroutine[Request, object, None]]
"""Makes a fresh coroutine of a task's body."""


class Task:
    """One thread of control of a machine.

    A *server* begins again when its body returns (its list of results is emptied), and so never
    ends; any other task ends with its body. ``owner`` is the slot it works in, if any.
    """

    __slots__ = ("body", "coroutine", "ended", "name", "owner", "request", "server")

    def __init__(
        self, name: str, body: Body, *, server: bool = False, owner: Slot | None = None
    ) -> None:
        """Start the body up to its first trap."""
        self.name = name
        self.body = body
        self.server = server
        self.owner = owner
        self.ended = False
        self.coroutine = body()
        self.request: Request | None = None
        self.advance(None)

    def advance(self, result: object) -> None:
        """Hand the result of the last step to the body and keep its next request."""
        try:
            self.request = self.coroutine.send(result)
        except StopIteration:
            if self.server:
                self.coroutine = self.body()
                self.request = self.coroutine.send(None)
            else:
                self.request = None
                self.ended = True

    def step(self, store: Store) -> bool:
        """Make the pending step; False when its guard is false and nothing changed."""
        assert self.request is not None, f"{self.name} has ended"
        result = attempt(store, self.request)
        if result is BLOCKED:
            return False
        self.advance(result)
        return True

    def close(self) -> None:
        """Drop a body that will not be run to its end."""
        self.coroutine.close()
        self.ended = True
        self.request = None

    def __repr__(self) -> str:
        """Show name and pending step."""
        return f"<Task {self.name} {self.request}>"
