"""Members of a run that are being started anew: who is away, and how they go on when back."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from shootdown_daemon.shell.confined import invalidate_request
from shootdown_daemon.shell.links import AgentLink
from shootdown_protocol import messages
from shootdown_protocol.history import Injected
from shootdown_protocol.limits import INVALIDATIONS_PER_MESSAGE_MAX
from shootdown_protocol.restart_messages import Legacy

if TYPE_CHECKING:
    from shootdown_daemon.shell.running import Running


class Absences:
    """Who is away from a run."""

    def __init__(self, run: Running) -> None:
        """Begin with nobody."""
        self._run = run
        self._since_s: dict[str, float] = {}
        self._restarts: dict[str, int] = {}

    def __bool__(self) -> bool:
        """Whether anybody is away."""
        return bool(self._since_s)

    def give_up(self, name: str) -> bool:
        """Wait for a member no more; whether it was waited for."""
        return self._since_s.pop(name, None) is not None

    def begin(self, link: AgentLink) -> None:
        """A member is being started anew: it is waited for, and no limit strikes meanwhile."""
        if self._run.has(link):
            del self._run.links[link.number]
            self._since_s[link.name] = time.monotonic()
            self._run.live.cool(link.number)

    def killed(self, link: AgentLink, fault: Injected) -> None:
        """A fault has killed a member: cut off what it was in; its next process goes on then."""
        self.begin(link)
        if not self._run.unloading_s:
            for kslot in self._run.live.cut_off_agent(link.number):
                self._run.injected(kslot.slot.instance, link.name, fault)
            self._run.invalidations.forget_completed()

    def readmit(self, link: AgentLink, legacy: Legacy) -> bool:
        """Let a member go on that was started anew; False if nobody here waits for it."""
        since_s = self._since_s.pop(link.name, None)
        if since_s is None or self._run.unloading_s:
            return False
        self._run.links[link.number] = link
        self._restarts[link.name] = self._restarts.get(link.name, 0) + 1
        self._run.load(link, f"{link.name}_r{self._restarts[link.name]:03}")
        self._run.router.send(link, legacy)
        for bank in self._run.live.unfinished_at(link.number):
            self._run.router.send(link, self._run.batch_begin(bank, link))
        self._run.forgive(time.monotonic() - since_s)
        self._send_again(link)
        return True

    def _send_again(self, link: AgentLink) -> None:
        """Send whatever an agent's last process has not completed to its next one."""
        first = self._run.live.device_number(link.number, 0)
        devices = range(first, first + len(self._run.program.devices))
        lost = self._run.invalidations.lost(devices, self._run.limits_ns())
        requests = [invalidate_request(number - first, request) for number, request in lost]
        for start in range(0, len(requests), INVALIDATIONS_PER_MESSAGE_MAX):
            part = tuple(requests[start : start + INVALIDATIONS_PER_MESSAGE_MAX])
            self._run.router.send(link, messages.Invalidate(0, part))
