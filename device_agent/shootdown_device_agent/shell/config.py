"""What an agent is told when it starts, where it says what it does, and how it ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from shootdown_device_agent.shell.batches import DeviceMaker


class AgentConfig(msgspec.Struct, frozen=True):
    """What an agent is told when it starts; ``make_device`` None makes the right device.

    ``own_process``: its process is nothing else, so it may be killed once the agent is lost.
    ``daemon`` is the daemon's process on this host, 0 when that is not known for sure. ``serves``
    names the devices that it takes over, none for an agent of the testbed's own; it detaches once
    ``leaves`` gives a reason. Without ``shared_memory`` it asks the daemon for every walk and every
    access; ``server_key`` is the public CURVE key of a daemon that is on another host.
    """

    endpoint: str
    name: str
    token: str
    make_device: DeviceMaker | None = None
    own_process: bool = True
    daemon: int = 0
    serves: tuple[str, ...] = ()
    shared_memory: bool = True
    server_key: str = ""
    leaves: Callable[[], str] = lambda: ""

    def __repr__(self) -> str:
        """Without the token, which is nobody's business."""
        return f"{type(self).__name__}({self.name!r}, {self.endpoint!r})"


class Log(Protocol):
    """Where an agent says what a person may want to know."""

    def info(self, event: str, **fields: object) -> None:
        """Say something; it may wait to be written."""
        ...

    def flush(self) -> None:
        """Write what waits."""
        ...


class AgentEnd(Exception):  # noqa: N818 - it is how the loop ends, in order or not
    """The agent is to end; ``status`` is its exit status, ``code`` why it was refused."""

    def __init__(self, why: str, status: int, code: int = 0) -> None:
        """Say why."""
        super().__init__(why)
        self.why = why
        self.status = status
        self.code = code
