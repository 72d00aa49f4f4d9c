"""Agents that a fault kills and starts anew: who is gone, what it left, and its next process.

An agent is asked to hand over, its answer is kept, its process is killed; when that has ended, the
next one is started, and is welcomed under the number of the last.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress

from shootdown_daemon.shell.config import DaemonConfig
from shootdown_daemon.shell.links import AgentLink, has_ended
from shootdown_daemon.shell.log import ProcessLog
from shootdown_protocol.restart_messages import Legacy

RESTART_S = 20.0
"""How long an agent may take from its death to its next welcome."""
END_S = 2.0
"""How long the processes started here may take to end once told goodbye."""


class Restart:
    """One agent between two processes. ``legacy`` is what the last one left."""

    def __init__(self, link: AgentLink, legacy: Legacy, began_s: float) -> None:
        """Keep the link of the process that is being killed."""
        self.link = link
        self.legacy = legacy
        self.began_s = began_s
        self.pidfd: int | None = None


class Restarts:
    """Agents of a testbed that are being restarted, by name."""

    def __init__(self, config: DaemonConfig, log: ProcessLog, now: Callable[[], float]) -> None:
        """Begin with none."""
        self.under_way: dict[str, Restart] = {}
        self._config = config
        self._log = log
        self._now = now
        self._started: dict[int, int] = {}

    @property
    def can(self) -> bool:
        """Whether this daemon knows how an agent is started."""
        return bool(self._config.agent_command)

    def begin(self, link: AgentLink, legacy: Legacy) -> None:
        """Kill an agent that has handed over, and that no message goes to any more."""
        assert link.pidfd is not None
        self.under_way[link.name] = Restart(link, legacy, self._now())
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(link.pidfd, signal.SIGKILL)

    def look(self) -> list[tuple[AgentLink, str]]:
        """Start whom nobody stands in the way of any more; gives who will not come, and why."""
        lost = []
        for name, restart in list(self.under_way.items()):
            if restart.link.has_ended():
                restart.link.close()
                restart.pidfd = self._start(name)
            why = ""
            if restart.pidfd is not None and has_ended(restart.pidfd):
                why = "its next process ended before it was welcomed"
            elif self._now() - restart.began_s > RESTART_S:
                why = f"its next process was not welcomed within {RESTART_S:.0f} s"
            if why:
                lost.append((self.under_way.pop(name).link, why))
        return lost

    def number_of(self, name: str) -> int | None:
        """The number that an agent had, if it is one that is being restarted."""
        restart = self.under_way.get(name)
        return None if restart is None else restart.link.number

    @property
    def numbers(self) -> set[int]:
        """Numbers that are kept for agents to come."""
        return {restart.link.number for restart in self.under_way.values()}

    def take(self, name: str) -> Legacy | None:
        """An agent has been welcomed: what its last process left, if it had one."""
        restart = self.under_way.pop(name, None)
        return None if restart is None else restart.legacy

    def close(self) -> None:
        """See that no process started here outlives this one by more than its goodbye."""
        deadline = self._now() + END_S
        strangers = {restart.pidfd for restart in self.under_way.values()}
        for pid, pidfd in self._started.items():
            left_ms = 0 if pidfd in strangers else max(0, int((deadline - self._now()) * 1000))
            if not has_ended(pidfd, left_ms):
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            os.close(pidfd)
            os.waitpid(pid, 0)

    def _start(self, name: str) -> int:
        """Start an agent's next process, which writes where the last one did; gives its pidfd."""
        errors = str(self._config.logs / f"{name}.stderr")
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        pid = os.posix_spawn(
            sys.executable,
            [*self._config.agent_command, name],
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, errors, flags, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
        )
        pidfd = self._started[pid] = os.pidfd_open(pid)
        self._log.info("agent_restarted", agent=name, pid=pid)
        return pidfd
