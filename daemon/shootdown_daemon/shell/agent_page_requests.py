"""Page requests of agents: which of them are an agent's to make, and whom the kernel hears."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from shootdown_daemon.machine.kernel import KernelSlot
from shootdown_daemon.shell.confined import ConfinedAgents
from shootdown_daemon.shell.links import AgentLink
from shootdown_daemon.shell.live_run import BankState, LiveRun
from shootdown_engine.channels import STOP_MARKER, PageRequest
from shootdown_engine.slot import Site
from shootdown_protocol import messages
from shootdown_protocol.errors import ErrorCode
from shootdown_protocol.limits import PRGI_MAX
from shootdown_protocol.memory import PAGE_SHIFT

WAITING_MAX: Final = PRGI_MAX + 1
"""Requests of one slot that may wait for its server: a device has no more indices than that."""


class AgentPageRequests:
    """Takes page requests in for one run; nothing that is not the agent's gets past."""

    def __init__(self, live: LiveRun, confined: ConfinedAgents) -> None:
        """Take none yet."""
        self._live = live
        self._confined = confined

    def take(
        self, link: AgentLink, message: messages.PageRequests
    ) -> Iterator[messages.ErrorReport]:
        """Hand requests to their slots' servers; gives what was wrong with the others."""
        for asked in message.requests:
            kslot = self._slot_of(link, asked)
            site = None if kslot is None else _site(kslot, asked)
            is_marker = asked.last and not (asked.read or asked.write)
            if kslot is None or (site is None and not is_marker):
                why = f"PASID {asked.pasid:#x} and address {asked.address:#x} were not granted"
                yield messages.ErrorReport(0, ErrorCode.PASID_NOT_GRANTED, why)
            elif self._waiting(kslot) >= WAITING_MAX:
                why = f"{WAITING_MAX} page requests of PASID {asked.pasid:#x} wait already"
                yield messages.ErrorReport(0, ErrorCode.NOT_GRANTED, why)
            else:
                self._hand_over(link, kslot, asked, None if is_marker else site)

    def _hand_over(
        self, link: AgentLink, kslot: KernelSlot, asked: messages.PageRequest, site: Site | None
    ) -> None:
        device = self._live.device_number(link.number, asked.device)
        if site is None:
            marker = PageRequest(device, asked.pasid, STOP_MARKER, False, asked.prgi)
            self._live.page_request(kslot.index, marker)
            return
        request = PageRequest(device, asked.pasid, site.index, asked.write, asked.prgi, asked.last)
        self._confined.note_request(link, kslot.index, request)
        self._live.page_request(kslot.index, request)

    def _slot_of(self, link: AgentLink, asked: messages.PageRequest) -> KernelSlot | None:
        """The slot of a request, if it runs and the agent plays the device there."""
        kslot = self._live.slot_with(asked.pasid)
        if kslot is None:
            return None
        serving = self._live.serving(kslot.index)
        if asked.device >= len(serving) or serving[asked.device] != link.number:
            return None
        state = self._live.bank_of(kslot.index).state
        return kslot if state in (BankState.RUNNING, BankState.DRAINING) else None

    def _waiting(self, kslot: KernelSlot) -> int:
        queue = self._live.store.get(("channel", "page_request", kslot.index))
        return len(queue) if isinstance(queue, tuple) else 0


def _site(kslot: KernelSlot, asked: messages.PageRequest) -> Site | None:
    page = asked.pasid, asked.address >> PAGE_SHIFT
    return next((site for site in kslot.slot.sites if (site.pasid, site.vpn) == page), None)
