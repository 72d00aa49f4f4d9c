"""Faults of the links to agents, applied at the daemon's end: what is sent, and what has come.

`DeviceRouter` and `DevicePlane` ask here only while there is such a fault, or something that one
holds. What is held comes out again by itself when its time is over, or at once when it is healed.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterator
from typing import Final, NamedTuple

import msgspec

from shootdown_daemon.shell.fault_set import FaultSet, LiveFault
from shootdown_daemon.shell.links import AgentLink
from shootdown_protocol import messages
from shootdown_protocol.device_message import DeviceMessage
from shootdown_protocol.history import Injected
from shootdown_protocol.limits import ITAGS

_LATE = 1.5
"""How many completion time-outs a completion that is too late is held for."""
_DAMAGE: Final[dict[str, Callable[[bytes], bytes]]] = {
    "corrupt": lambda data: bytes([data[0] ^ 0xFF]) + data[1:],
    "truncate": lambda data: data[: len(data) // 2],
}
"""What becomes of a message's bytes.

A link's own checksum finds what is damaged and still makes sense, so only what does not is made.
"""


class _Held(NamedTuple):
    """A message that is held: until when, and whether it goes sooner, behind the next one."""

    due_s: float
    number: int
    link: AgentLink
    message: messages.Invalidate | messages.InvalidateCompletion
    overtaken: bool


class LinkFaults:
    """Faults of all links; ``log`` takes a record, ``timeout_ms`` is a completion's time-out."""

    def __init__(
        self,
        faults: FaultSet,
        now: Callable[[], float],
        timeout_ms: int,
        log: Callable[[Injected], None],
    ) -> None:
        """Begin with nothing held."""
        self._faults = faults
        self._now = now
        self._timeout_ms = timeout_ms
        self._log = log
        self._numbers = 0
        self._to_send: list[_Held] = []
        self._to_obey: list[_Held] = []
        self._until: dict[tuple[str, AgentLink], float] = {}
        self._clogged: dict[tuple[str, AgentLink], list[bytes]] = {}
        self._out_of_order: dict[tuple[int, int, int], float] = {}

    @property
    def active(self) -> bool:
        """Whether anything may be applied or is held."""
        return bool(
            self._faults.live
            or self._to_send
            or self._to_obey
            or self._until
            or self._clogged
            or self._out_of_order
        )

    @property
    def out_of_order(self) -> Collection[tuple[int, int, int]]:
        """Agents, devices and ITags whose completions may come behind those of later requests."""
        return self._out_of_order.keys()

    # What is sent

    def outgoing(self, link: AgentLink, message: DeviceMessage) -> Iterator[DeviceMessage]:
        """What is to be sent now in place of a message, which has no number yet."""
        if not isinstance(message, messages.Invalidate):
            yield message
            return
        kept: list[messages.InvalidateRequest] = []
        for request in message.requests:
            kept += self._request(link, request)
        if kept:
            yield msgspec.structs.replace(message, requests=tuple(kept))
            yield from self._take_overtaken(link, self._to_send)

    def on_wire(self, link: AgentLink, message: DeviceMessage, data: bytes) -> bytes | None:
        """The bytes of a message as they leave; None when they do not, or not yet."""
        if self._lost(link, "out"):
            return None
        if isinstance(message, messages.Invalidate):
            for kind, damage in _DAMAGE.items():
                found = self._faults.take(f"inv.{kind}", agent=link.name)
                if found is not None:
                    self._report(found, link, f"message {message.sequence}")
                    return damage(data)
        if self._clogs(link, "out"):
            self._clogged.setdefault(("out", link), []).append(data)
            return None
        return data

    def is_full(self, link: AgentLink) -> bool:
        """Whether a link's pipe takes nothing now."""
        return self._lasts("link.full", link)

    # What has come

    def incoming(self, link: AgentLink, data: bytes) -> bytes | None:
        """The bytes of a message as they arrive; None when they do not, or not yet."""
        if self._lost(link, "in"):
            return None
        for kind, damage in _DAMAGE.items():
            found = self._faults.take(f"completion.{kind}", agent=link.name)
            if found is not None:
                self._report(found, link, "a message from it")
                return damage(data)
        if self._clogs(link, "in"):
            self._clogged.setdefault(("in", link), []).append(data)
            return None
        return data

    def obeyed(
        self, link: AgentLink, message: messages.DeviceToDaemon
    ) -> Iterator[messages.DeviceToDaemon]:
        """What is to be obeyed now in place of a message that has come in order."""
        if not isinstance(message, messages.InvalidateCompletion):
            yield message
            return
        kept: list[messages.ItagCompletion] = []
        for completion in message.completions:
            kept += self._completion(link, completion)
        if kept:
            yield messages.InvalidateCompletion(0, tuple(kept))
            for late in self._take_overtaken(link, self._to_obey):
                assert isinstance(late, messages.InvalidateCompletion)
                yield late

    # What was held

    def due_to_send(self, *, heal: bool = False) -> Iterator[tuple[AgentLink, DeviceMessage]]:
        """Messages to number and send now."""
        while self._to_send and (heal or self._to_send[0].due_s <= self._now()):
            held = heapq.heappop(self._to_send)
            yield held.link, held.message

    def due_to_obey(
        self, *, heal: bool = False
    ) -> Iterator[tuple[AgentLink, messages.InvalidateCompletion]]:
        """Messages to obey now."""
        while self._to_obey and (heal or self._to_obey[0].due_s <= self._now()):
            held = heapq.heappop(self._to_obey)
            assert isinstance(held.message, messages.InvalidateCompletion)
            yield held.link, held.message

    def unclogged(self, way: str, *, heal: bool = False) -> Iterator[tuple[AgentLink, bytes]]:
        """Bytes that a clogged link lets go now, in their order."""
        for key in [key for key in self._clogged if key[0] == way]:
            link = key[1]
            if heal or self._now() >= self._until.get(("link.clog", link), 0.0):
                for data in self._clogged.pop(key):
                    yield link, data
        for key in [key for key, until in self._until.items() if heal or self._now() >= until]:
            del self._until[key]
        for late in [late for late, until in self._out_of_order.items() if self._now() >= until]:
            del self._out_of_order[late]

    # Inside

    def _request(
        self, link: AgentLink, request: messages.InvalidateRequest
    ) -> list[messages.InvalidateRequest]:
        """What is left of one request to send now."""
        itag = request.itag
        if self._happens("inv.drop", link, f"ITag {itag}"):
            return []
        if (found := self._happens("inv.delay", link, f"ITag {itag}")) is not None:
            self._hold(
                self._to_send, self._lasts_s(found), link, messages.Invalidate(0, (request,))
            )
            return []
        if (found := self._happens("inv.reorder", link, f"ITag {itag}")) is not None:
            message = messages.Invalidate(0, (request,))
            self._hold(self._to_send, self._lasts_s(found), link, message, overtaken=True)
            return []
        if self._happens("inv.wrong_itag", link, f"ITag {itag}"):
            return [msgspec.structs.replace(request, itag=(itag + 1) % ITAGS)]
        twice = self._happens("inv.duplicate", link, f"ITag {itag}")
        return [request, request] if twice else [request]

    def _completion(
        self, link: AgentLink, completion: messages.ItagCompletion
    ) -> list[messages.ItagCompletion]:
        """What is left of one completion to obey now."""
        said = f"ITags {completion.itags:#x}"
        if self._happens("completion.drop", link, said) or self._happens(
            "completion.never", link, said
        ):
            return []
        message = messages.InvalidateCompletion(0, (completion,))
        if (found := self._happens("completion.delay", link, said)) is not None:
            self._hold(self._to_obey, self._lasts_s(found), link, message)
            return []
        if self._happens("completion.late", link, said):
            self._hold(self._to_obey, _LATE * self._timeout_ms / 1000, link, message)
            return []
        if (found := self._happens("completion.reorder", link, said)) is not None:
            self._hold(self._to_obey, self._lasts_s(found), link, message, overtaken=True)
            return []
        if self._happens("completion.wrong_itag", link, said):
            turned = completion.itags << 1 | completion.itags >> ITAGS - 1
            itags = turned & (1 << ITAGS) - 1
            return [msgspec.structs.replace(completion, itags=itags)]
        if self._happens("completion.wrong_count", link, said):
            return [msgspec.structs.replace(completion, count=completion.count % 7 + 1)]
        twice = self._happens("completion.duplicate", link, said)
        return [completion, completion] if twice else [completion]

    def _hold(
        self,
        queue: list[_Held],
        lasts_s: float,
        link: AgentLink,
        message: messages.Invalidate | messages.InvalidateCompletion,
        *,
        overtaken: bool = False,
    ) -> None:
        self._numbers += 1
        due_s = self._now() + lasts_s
        heapq.heappush(queue, _Held(due_s, self._numbers, link, message, overtaken))
        for device, itag in _named(message):
            self._out_of_order[link.number, device, itag] = due_s + self._timeout_ms / 1000

    def _take_overtaken(
        self, link: AgentLink, queue: list[_Held]
    ) -> Iterator[messages.Invalidate | messages.InvalidateCompletion]:
        """What waits for another message of its link to go before it."""
        found = sorted(held for held in queue if held.overtaken and held.link is link)
        for held in found:
            queue.remove(held)
            yield held.message
        heapq.heapify(queue)

    def _lasts_s(self, found: LiveFault) -> float:
        return found.lasts_s(self._faults.random)

    def _lost(self, link: AgentLink, way: str) -> bool:
        return self._lasts("link.partition", link) or self._lasts(f"link.partition_{way}", link)

    def _clogs(self, link: AgentLink, way: str) -> bool:
        return self._lasts("link.clog", link) or (way, link) in self._clogged

    def _lasts(self, kind: str, link: AgentLink) -> bool:
        """Whether a fault that lasts for a while is on, or begins now."""
        until = self._until.get((kind, link))
        if until is not None:
            return self._now() < until
        found = self._happens(kind, link, "begins")
        if found is None:
            return False
        self._until[kind, link] = self._now() + found.lasts_s(self._faults.random)
        return True

    def _happens(self, kind: str, link: AgentLink, detail: str) -> LiveFault | None:
        if kind not in self._faults.live:
            return None
        found = self._faults.take(kind, agent=link.name)
        if found is not None:
            self._report(found, link, detail)
        return found

    def _report(self, found: LiveFault, link: AgentLink, detail: str) -> None:
        self._log(Injected(found.fault.kind, link.name, found.number, detail))


def _named(
    message: messages.Invalidate | messages.InvalidateCompletion,
) -> Iterator[tuple[int, int]]:
    """Device and ITag of each request, or of each that is completed."""
    if isinstance(message, messages.Invalidate):
        yield from ((request.device, request.itag) for request in message.requests)
    else:
        for completion in message.completions:
            named = (itag for itag in range(ITAGS) if completion.itags >> itag & 1)
            yield from ((completion.device, itag) for itag in named)


def _joined(
    before: DeviceMessage, message: messages.Invalidate | messages.InvalidateCompletion
) -> messages.Invalidate | messages.InvalidateCompletion:
    if isinstance(message, messages.Invalidate):
        assert isinstance(before, messages.Invalidate)
        return messages.Invalidate(1, (*before.requests, *message.requests))
    assert isinstance(before, messages.InvalidateCompletion)
    return messages.InvalidateCompletion(1, (*before.completions, *message.completions))
