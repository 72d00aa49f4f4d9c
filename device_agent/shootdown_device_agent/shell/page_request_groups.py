"""Page request group indices: which are free, and whose answer each of the others waits for.

A device has 512 of them. A group that finds none free waits here until one is answered.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

from shootdown_engine.channels import STOP_MARKER, PageRequest
from shootdown_protocol import messages
from shootdown_protocol.device_message import DeviceMessage
from shootdown_protocol.errors import ErrorCode
from shootdown_protocol.limits import PRGI_MAX
from shootdown_protocol.memory import PAGE_SHIFT
from shootdown_protocol.restart_messages import OpenRequest

if TYPE_CHECKING:
    from shootdown_device_agent.shell.batches import AgentRun

NOBODY: Final = (-1, -1)
"""Slot and thread of a group that this agent's last process has asked for."""


class PageRequestGroups:
    """The groups of an agent's devices in one run."""

    def __init__(self) -> None:
        """Begin with no device."""
        self._groups: dict[tuple[int, int], tuple[int, int]] = {}
        self._open: dict[tuple[int, int, int], int] = {}
        self._free: dict[int, list[int]] = {}
        self._held_back: dict[int, deque[PageRequest]] = {}

    def begin(self, devices: Iterable[int]) -> None:
        """Begin a run of these devices, with every index free."""
        self._free = {device: list(range(PRGI_MAX + 1)) for device in devices}
        self._held_back = {device: deque() for device in self._free}
        self._groups.clear()
        self._open.clear()

    @property
    def unanswered(self) -> tuple[OpenRequest, ...]:
        """Groups whose answers are still to come."""
        return tuple(OpenRequest(*group) for group in self._groups)

    def take_up(self, requests: Iterable[OpenRequest]) -> None:
        """Leave the indices of an agent's last process alone until they are answered."""
        for request in requests:
            self._groups[request.device, request.prgi] = NOBODY
            self._free[request.device].remove(request.prgi)

    def take(self, run: AgentRun, message: messages.PageResponses) -> Iterator[DeviceMessage]:
        """Take answers in; an index that is free again goes to who has waited for one.

        Gives what is to be sent.
        """
        for response in message.responses:
            group = self._groups.pop((response.device, response.prgi), None)
            if group is None:
                why = f"PRGI {response.prgi} of device {response.device} is not open"
                yield messages.ErrorReport(0, ErrorCode.UNEXPECTED_RESPONSE, why)
                continue
            self._free[response.device].append(response.prgi)
            held_back = self._held_back[response.device]
            if held_back:
                request = self._numbered(run, held_back.popleft())
                yield messages.PageRequests(0, (request,))
            if group != NOBODY:
                answer = messages.PageResponseCode(response.code).name.lower()
                run.respond(response.device, *group, answer)

    def ask(self, run: AgentRun, request: PageRequest) -> messages.PageRequest | None:
        """The message of a request; None when it must wait until an index is free."""
        if self._must_wait(run, request):
            self._held_back[request.device].append(request)
            return None
        return self._numbered(run, request)

    def _must_wait(self, run: AgentRun, request: PageRequest) -> bool:
        """Whether a request begins a group that no index is free for, or follows one that waits."""
        if request.location == STOP_MARKER:
            return False
        slot = run.slot_with(request.pasid)
        assert slot is not None
        group = request.device, slot.index, request.prgi
        waits = any(
            held.prgi == request.prgi and held.pasid == request.pasid
            for held in self._held_back[request.device]
        )
        return waits or (group not in self._open and not self._free[request.device])

    def _numbered(self, run: AgentRun, request: PageRequest) -> messages.PageRequest:
        if request.location == STOP_MARKER:
            return messages.PageRequest(
                device=request.device,
                pasid=request.pasid,
                address=0,
                prgi=0,
                last=True,
                read=False,
                write=False,
            )
        slot = run.slot_with(request.pasid)
        assert slot is not None
        group = request.device, slot.index, request.prgi
        prgi = self._open.pop(group, -1)
        if prgi < 0:
            prgi = self._free[request.device].pop()
        if not request.last:
            self._open[group] = prgi
        self._groups[request.device, prgi] = (slot.index, request.prgi)
        return messages.PageRequest(
            device=request.device,
            pasid=request.pasid,
            address=slot.sites[request.location].vpn << PAGE_SHIFT,
            prgi=prgi,
            last=request.last,
            read=not request.write,
            write=request.write,
        )
