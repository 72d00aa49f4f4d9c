"""Faults of agents' processes and of the clock, applied with the heartbeat while a run goes on.

A stopped process goes on by itself when its time is over, when it is healed, and when the daemon
ends; only a daemon that is killed meanwhile leaves it stopped, for whoever started it to end.
"""

from __future__ import annotations

import heapq
import signal
from collections.abc import Callable, Iterable
from contextlib import suppress

import msgspec

from shootdown_daemon.shell.fault_set import FaultSet
from shootdown_daemon.shell.links import AgentLink
from shootdown_protocol.device_message import DeviceMessage
from shootdown_protocol.history import Injected
from shootdown_protocol.restart_messages import RESTARTS, HandOver

RESTART_KINDS = {"agent.restart": False, "agent.restart_warm": True}
"""Kinds that start an agent anew, and whether its device keeps what its caches hold."""


class ProcessFaults:
    """Stops and kills agents, and makes the clock jump; ``jumped_s`` is by how much in all."""

    def __init__(
        self,
        faults: FaultSet,
        now: Callable[[], float],
        log: Callable[[Injected], None],
        send: Callable[[AgentLink, DeviceMessage], None],
    ) -> None:
        """Begin with nobody stopped."""
        self.jumped_s = 0.0
        self.killed: set[str] = set()
        self._faults = faults
        self._now = now
        self._log = log
        self._send = send
        self._stopped: list[tuple[float, str, AgentLink]] = []

    def beat(self, links: Iterable[AgentLink], *, restarts: bool, races: bool) -> None:
        """Apply what there is to apply now.

        ``restarts``: agents can be started anew; ``races``: a batch is under way.
        """
        live = self._faults.live
        if not live:
            return
        if "clock.jump" in live and (found := self._faults.take("clock.jump")) is not None:
            self.jumped_s += found.fault.ms / 1000
            detail = f"ahead by {found.fault.ms} ms"
            self._log(Injected(found.fault.kind, "daemon", found.number, detail))
        for link in links:
            if link.pidfd is None or not link.own_process or link.restarts or link.killed_by:
                continue
            if restarts and races:
                self._restart(link)
            if "agent.pause" in live and not self._is_stopped(link):
                self._pause(link)
            if "agent.kill" in live and races:
                self._kill(link, restarts=restarts)

    def go_on(self, *, heal: bool = False) -> None:
        """Let processes go on that were stopped long enough, or all of them."""
        while self._stopped and (heal or self._stopped[0][0] <= self._now()):
            link = heapq.heappop(self._stopped)[2]
            _send(link, signal.SIGCONT)

    def _restart(self, link: AgentLink) -> None:
        """Ask an agent that plays its part in a run for what its next process is to know."""
        for kind, keeps_caches in RESTART_KINDS.items():
            able = kind in self._faults.live and link.loaded and RESTARTS in link.capabilities
            found = self._faults.take(kind, agent=link.name) if able else None
            if found is not None:
                link.restarts = True
                what = "with what its caches held" if keeps_caches else "with empty caches"
                detail = f"killed and started anew, {what}"
                self._log(Injected(kind, link.name, found.number, detail))
                self._send(link, HandOver(0, keeps_caches))
                return

    def _pause(self, link: AgentLink) -> None:
        found = self._faults.take("agent.pause", agent=link.name)
        if found is None:
            return
        lasts_s = found.lasts_s(self._faults.random)
        heapq.heappush(self._stopped, (self._now() + lasts_s, link.name, link))
        detail = f"stopped for {lasts_s * 1000:.0f} ms"
        self._log(Injected(found.fault.kind, link.name, found.number, detail))
        _send(link, signal.SIGSTOP)

    def _kill(self, link: AgentLink, *, restarts: bool) -> None:
        found = self._faults.take("agent.kill", agent=link.name)
        if found is None:
            return
        fault = Injected(found.fault.kind, link.name, found.number, "killed")
        self._log(fault)
        if restarts and RESTARTS in link.capabilities:
            link.killed_by = msgspec.structs.replace(fault, cut_off=True)
        else:
            self.killed.add(link.name)
        _send(link, signal.SIGKILL)

    def _is_stopped(self, link: AgentLink) -> bool:
        return any(stopped is link for _, _, stopped in self._stopped)


def _send(link: AgentLink, number: signal.Signals) -> None:
    if link.pidfd is not None:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(link.pidfd, number)
