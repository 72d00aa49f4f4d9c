"""Links to agents: the device ROUTER, one `AgentLink` a peer, sequence numbers, bounded queues.

No send blocks: what a full pipe does not take waits in the link's own queue, up to a limit.
"""

from __future__ import annotations

import os
import select
import signal
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import zmq

from shootdown_protocol.codec import decode_device_to_daemon, encode_device
from shootdown_protocol.device_message import DeviceMessage
from shootdown_protocol.errors import RemoteProtocolError
from shootdown_protocol.fault_messages import Resend
from shootdown_protocol.history import Injected
from shootdown_protocol.limits import (
    DEVICE_MESSAGE_BYTES_MAX,
    MESSAGES_A_ROUND_MAX,
    QUEUE_MESSAGES_MAX,
)
from shootdown_protocol.messages import DeviceToDaemon
from shootdown_protocol.peer import peer_process
from shootdown_protocol.restart_messages import Legacy
from shootdown_protocol.sequence import KeptMessages, SequenceCheck

if TYPE_CHECKING:
    from shootdown_daemon.shell.link_faults import LinkFaults

_replace = msgspec.structs.replace
_NOBLOCK = int(zmq.NOBLOCK)
_SEND_MORE = int(zmq.NOBLOCK | zmq.SNDMORE)
_EVENTS = int(zmq.EVENTS)
_READABLE = int(zmq.POLLIN)
"""Plain numbers: ZeroMQ's flags are enums, and to combine two of them costs as much as a send."""
_send_part = zmq.backend.Socket.send
"""As a socket's own `send`, without what that does for other kinds of sockets."""

AWAIT_MS = 20
"""Longest wait for a message when nothing can be done before one comes.

Longer than the system's tick, for a timer that must be set for an earlier time costs more than all
else that a wait costs.
"""


class Peer(NamedTuple):
    """Whom a message is from: the socket that it came by, and what that calls its sender."""

    socket: zmq.Socket[bytes]
    identity: bytes
    is_local: bool


class AgentLink:
    """One agent: who it is, what was sent and heard, and how it can be seen to die.

    ``asked_s`` is since when it owes a sign of life. A lost agent's process is killed if it is
    its ``own_process``: stopped and let go again, it would still store into memory that others use.
    ``serves`` names the devices that an attached agent takes over; ``leaving``: it has asked to go.
    ``restarts``: it was asked to hand over; ``legacy`` is what its last process left.
    ``killed_by`` is the fault that has killed it: its next process is to take its place.
    """

    def __init__(
        self, peer: Peer, name: str, number: int, pid: int, process: int, *, own_process: bool
    ) -> None:
        """Welcome an agent that says it is ``pid``, and is known here to be ``process``, if at all.

        Only the latter is watched: what an agent of another container or host calls its pid is
        somebody else's here.
        """
        self.peer = peer
        self.name = name
        self.number = number
        self.pid = pid
        self.own_process = own_process
        self.capabilities: frozenset[str] = frozenset()
        self.serves: tuple[str, ...] = ()
        self.leaving = False
        self.restarts = False
        self.legacy: Legacy | None = None
        self.killed_by: Injected | None = None
        self.quarantined = False
        self.resends = 0
        self.asked_s: float | None = None
        self.beats = 0
        self.loaded = False
        self.counters: dict[str, int] = {}
        self.incoming = SequenceCheck()
        self.sent = 0
        self.kept: KeptMessages[DeviceMessage] = KeptMessages()
        self.queue: deque[bytes] = deque()
        self.pidfd = _pidfd(process) if process else None

    def has_ended(self) -> bool:
        """Whether the process is known to have ended."""
        return self.pidfd is not None and has_ended(self.pidfd)

    def close(self, *, kill: bool = False) -> int | None:
        """Stop watching the process; gives what it was watched by, if it has not ended yet."""
        pidfd, self.pidfd = self.pidfd, None
        if pidfd is None:
            return None
        if kill and self.own_process:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        if kill and not has_ended(pidfd):
            return pidfd
        os.close(pidfd)
        return None


Received = tuple[Peer, AgentLink | None, DeviceToDaemon | RemoteProtocolError, int]
"""Who sent a message, what it says, and the sender's pid as the system knows it, if it does.

The pid is 0 else; it is looked up only for a sender that is no agent (yet).
"""


def has_ended(pidfd: int, wait_ms: int = 0) -> bool:
    """Whether a process has ended, or ends within some time."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(wait_ms))


def _pidfd(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except OSError:  # It has ended: the silence will tell.
        return None


def _peer_process(frame: zmq.Frame) -> int:
    try:
        return peer_process(str(frame["Peer-Address"]))
    except zmq.ZMQError:
        return 0


def _with_rest(socket: zmq.Socket[bytes], frame: zmq.Frame) -> bytes:
    """Bytes of a message that goes on behind a part."""
    data = frame.bytes
    while frame.more:
        frame = socket.recv(_NOBLOCK, copy=False)
        if len(data) <= DEVICE_MESSAGE_BYTES_MAX:  # Else it is refused as it is.
            data += frame.bytes
    return data


def decoded(data: bytes) -> DeviceToDaemon | RemoteProtocolError:
    """What bytes from an agent say, or what is wrong with them."""
    try:
        return decode_device_to_daemon(data)
    except RemoteProtocolError as error:
        return error


def is_readable(socket: zmq.Socket[bytes]) -> bool:
    """Whether a message is there. To ask is cheaper than to be refused, which is an exception."""
    events = socket.get(_EVENTS)
    assert isinstance(events, int)
    return bool(events & _READABLE)


class DeviceRouter:
    """The daemon's end of the device plane: a socket for this host, and maybe one for others."""

    def __init__(self, local: zmq.Socket[bytes], remote: zmq.Socket[bytes] | None = None) -> None:
        """Use bound ROUTERs with ``ROUTER_MANDATORY`` set."""
        self.sockets = (local,) if remote is None else (local, remote)
        local.setsockopt(zmq.RCVTIMEO, AWAIT_MS)
        self.links: dict[Peer, AgentLink] = {}
        self._known: dict[zmq.Socket[bytes], dict[bytes, AgentLink]]
        self._known = {socket: {} for socket in self.sockets}
        self.is_local = remote is None
        self.lost: list[tuple[AgentLink, str]] = []
        self.ending: list[tuple[str, int]] = []
        self.gone: dict[AgentLink, str] = {}
        """Whose connection is gone, and why: lost when what they had sent is taken in."""
        self.faults: LinkFaults | None = None

    def join(self, link: AgentLink) -> None:
        """Take an agent in."""
        self.links[link.peer] = link
        self._known[link.peer.socket][link.peer.identity] = link

    def leave(self, link: AgentLink) -> bool:
        """Take an agent out; False when it is out already."""
        if self.links.pop(link.peer, None) is None:
            return False
        del self._known[link.peer.socket][link.peer.identity]
        return True

    def receive(self) -> Iterator[Received]:
        """Messages that are there now, decoded: so many of them at most."""
        for socket in self.sockets:
            for _ in range(MESSAGES_A_ROUND_MAX):
                if not is_readable(socket):
                    break
                received = self._take(socket, _NOBLOCK)
                if received is not None:
                    yield received

    def await_message(self) -> Received | None:
        """Sleep until a message of this host comes; None when none does in `AWAIT_MS`.

        This costs half of what it costs to poll first, to ask whether it is there, and to take it.
        """
        try:
            return self._take(self.sockets[0], 0)
        except zmq.Again:
            return None

    def _take(self, socket: zmq.Socket[bytes], flags: int) -> Received | None:
        """Receive a message; None when a fault keeps it, `zmq.Again` when there is none."""
        identity = socket.recv(flags)
        link = self._known[socket].get(identity)
        frame = socket.recv(_NOBLOCK, copy=False)
        data = _with_rest(socket, frame) if frame.more else frame.bytes
        if link is None:
            peer = Peer(socket, identity, socket is self.sockets[0])
            return peer, None, decoded(data), _peer_process(frame)
        if self.faults is not None:
            passed = self.faults.incoming(link, data)
            if passed is None:
                return None
            data = passed
        try:
            return link.peer, link, decode_device_to_daemon(data), 0
        except RemoteProtocolError as error:
            return link.peer, link, error, 0

    def send(self, link: AgentLink, message: DeviceMessage) -> None:
        """Number a message and send it, or queue it behind what waits already."""
        if self.faults is None:
            self._send(link, message)
        else:
            for each in self.faults.outgoing(link, message):
                self._send(link, each)

    def _send(self, link: AgentLink, message: DeviceMessage, *, numbered: bool = False) -> None:
        if not numbered:
            if message.sequence != link.sent:
                message = _replace(message, sequence=link.sent)
            link.kept.keep(message)
            link.sent += 1
        data = encode_device(message)
        if self.faults is not None:
            passed = self.faults.on_wire(link, message, data)
            if passed is None:
                return
            data = passed
        elif not link.queue:
            socket, identity, _ = link.peer
            try:
                _send_part(socket, identity, _SEND_MORE)
                _send_part(socket, data, _NOBLOCK)
            except zmq.ZMQError as error:
                link.queue.append(data)
                self._not_taken(link, error)
            return
        link.queue.append(data)
        self.flush(link)

    def ask_again(self, link: AgentLink) -> None:
        """Ask for what has not come from a peer."""
        self._send(link, Resend(0, link.incoming.expected), numbered=True)

    def resend(self, link: AgentLink, first: int) -> bool:
        """Send again what a peer has not seen, and all after it; False if it is not kept."""
        missing = link.kept.since(first)
        for message in missing or ():
            self._send(link, message, numbered=True)
        return missing is not None

    def let_go_held(self, faults: LinkFaults, *, heal: bool = False) -> None:
        """Send what faults have held long enough."""
        for link, message in faults.due_to_send(heal=heal):
            if link.peer in self.links:
                self._send(link, message)
        for link, data in faults.unclogged("out", heal=heal):
            if link.peer in self.links:
                link.queue.append(data)
                self.flush(link)
        for link in list(self.links.values()):
            if link.queue:
                self.flush(link)

    def send_raw(self, peer: Peer, message: DeviceMessage) -> None:
        """Answer a peer that is no agent (yet); dropped if it cannot be sent now."""
        try:
            peer.socket.send_multipart([peer.identity, encode_device(message)], zmq.NOBLOCK)
        except zmq.ZMQError:
            return

    def flush(self, link: AgentLink) -> None:
        """Send what waits; a peer that is too far behind is lost, and one that is gone is noted."""
        if self.faults is not None and self.faults.is_full(link):
            if len(link.queue) > QUEUE_MESSAGES_MAX:
                self.lose(link, f"{len(link.queue)} messages wait for it")
            return
        socket, identity, _ = link.peer
        while link.queue:
            try:
                _send_part(socket, identity, _SEND_MORE)
                _send_part(socket, link.queue[0], _NOBLOCK)
            except zmq.ZMQError as error:
                self._not_taken(link, error)
                return
            link.queue.popleft()

    def _not_taken(self, link: AgentLink, error: zmq.ZMQError) -> None:
        """The socket did not take what is first in a link's queue: that waits, up to a limit."""
        if not isinstance(error, zmq.Again):
            self.gone[link] = f"its connection is gone ({error.strerror})"
        elif len(link.queue) > QUEUE_MESSAGES_MAX:
            self.lose(link, f"{len(link.queue)} messages wait for it")

    def let_go(self, link: AgentLink) -> None:
        """Take an agent out that holds nothing and has been told that it may leave."""
        if self.leave(link):
            link.close()

    def lose_gone(self) -> None:
        """Take out whose connection is gone, unless they have said meanwhile why they end."""
        gone, self.gone = self.gone, {}
        for link, why in gone.items():
            self.lose(link, why)

    def lose(
        self, link: AgentLink, why: str, *, kill: bool = True, quarantine: bool = False
    ) -> None:
        """Take an agent out; what it may still hold is the caller's matter.

        ``quarantine``: it lives, but does not do what it must. Either way it is killed if it may
        be, and its end is watched: as long as it lives, it may touch the memory that it maps.
        Not ``kill``: it ends by itself and has said ``why``.
        """
        if link.killed_by is not None:  # Its end is watched, and somebody else's matter.
            link.queue.clear()
            return
        if not self.leave(link):
            return
        if link.has_ended():
            quarantine = False
            why = "its process has ended" if kill else why
        link.quarantined = quarantine
        link.queue.clear()
        pidfd = link.close(kill=kill)
        if pidfd is not None:
            self.ending.append((link.name, pidfd))
        self.lost.append((link, why))

    def still_there(self) -> list[str]:
        """Names of lost agents whose processes have not ended, so that they may touch memory."""
        rest = []
        for name, pidfd in self.ending:
            if has_ended(pidfd):
                os.close(pidfd)
            else:
                rest.append((name, pidfd))
        self.ending = rest
        return [name for name, _ in rest]
