"""A task: a coroutine over traps, the request it waits with, and how it ends or starts again."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Hashable

from shootdown_engine.slot import Slot
from shootdown_engine.store import Store
from shootdown_engine.trap import BLOCKED, Request, attempt

FoundEmpty = tuple[Callable[..., object], tuple[object, ...], tuple[Hashable, ...]]
"""A step's function, its arguments, and the cell."""
Stage = Callable[..., Coroutine[Request, object, Hashable]]
"""Makes a fresh coroutine of one stage of a task.

One that returns None has ended. One that returns anything else is to be made again and given that
as its argument, which is then all that it remembers: so an access is attempted again.
"""


class Task:
    """One thread of control of a machine.

    Its *stages* run one after the other, and nothing is remembered from one to the next: a task's
    state is its stage, that stage's argument, and the list of results received since it was made.
    A *server* begins again after its last stage and so never ends; any other task ends then.
    ``owner`` is the slot it works in, if any.
    """

    __slots__ = (
        "coroutine",
        "ended",
        "found_empty",
        "is_told",
        "name",
        "owner",
        "polls",
        "request",
        "server",
        "stage",
        "stages",
    )

    def __init__(
        self,
        name: str,
        *stages: Stage,
        server: bool = False,
        owner: Slot | None = None,
        stage: int = 0,
    ) -> None:
        """Run up to the first trap, of the first stage or of the one that is taken up again."""
        self.name = name
        self.stages = stages
        self.server = server
        self.owner = owner
        self.is_told = owner is not None or not server
        """Whether its steps are recorded; who serves every instance makes nobody's steps."""
        self.found_empty: FoundEmpty | None = None
        """The guard of a server that last read one cell, in which nothing was; a runner's note."""
        self.polls: Request | None = None
        """A request whose guard was false for a word that others write; a runner's note, too."""
        self.ended = False
        self.stage = stage
        self.coroutine = stages[stage]()
        self.request: Request | None = None
        self.advance(None)

    def advance(self, result: object) -> None:
        """Hand the result of the last step to the stage and keep the task's next request."""
        try:
            self.request = self.coroutine.send(result)
        except StopIteration as stop:
            self.begin_next(stop.value)

    def begin_next(self, value: object) -> None:
        """A stage has returned a value: run what comes then up to its first trap, if anything."""
        while True:
            if value is not None:
                self.coroutine = self.stages[self.stage](value)
            else:
                self.stage += 1
                if self.stage == len(self.stages):
                    if not self.server:
                        self.request = None
                        self.ended = True
                        return
                    self.stage = 0
                self.coroutine = self.stages[self.stage]()
            try:
                self.request = self.coroutine.send(None)
            except StopIteration as stop:
                value = stop.value
            else:
                return

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
