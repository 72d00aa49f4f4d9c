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
from typing import NamedTuple

import msgspec
import zmq

from shootdown_protocol import codec
from shootdown_protocol.device_message import DeviceMessage
from shootdown_protocol.errors import RemoteProtocolError
from shootdown_protocol.messages import DeviceToDaemon
from shootdown_protocol.peer import peer_process
from shootdown_protocol.sequence import SequenceCheck

_NOBLOCK = int(zmq.NOBLOCK)
_SEND_MORE = int(zmq.NOBLOCK | zmq.SNDMORE)
_MORE = int(zmq.RCVMORE)
_EVENTS = int(zmq.EVENTS)
_READABLE = int(zmq.POLLIN)
"""Plain numbers: ZeroMQ's flags are enums, and to combine two of them costs as much as a send."""

QUEUE_MESSAGES_MAX = 4096
"""Messages that wait for a peer whose pipe is full; past that the peer is lost."""


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
        self.asked_s: float | None = None
        self.beats = 0
        self.loaded = False
        self.counters: dict[str, int] = {}
        self.incoming = SequenceCheck()
        self.sent = 0
        self.queue: deque[bytes] = deque()
        self.pidfd = _pidfd(process) if process else None

    def has_ended(self) -> bool:
        """Whether the process is known to have ended."""
        if self.pidfd is None:
            return False
        poll = select.poll()
        poll.register(self.pidfd, select.POLLIN)
        return bool(poll.poll(0))

    def close(self, *, kill: bool = False) -> None:
        """Stop watching the process."""
        if self.pidfd is not None:
            if kill and self.own_process:
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
            os.close(self.pidfd)
            self.pidfd = None


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
        self.links: dict[Peer, AgentLink] = {}
        self.lost: list[tuple[AgentLink, str]] = []

    def receive(self) -> Iterator[tuple[Peer, DeviceToDaemon | RemoteProtocolError, int]]:
        """Every message that is there now, decoded, with its sender.

        The number is the process of a sender that is no agent (yet), as the system knows it; 0 when
        it does not, or when the sender is an agent.
        """
        for socket in self.sockets:
            while is_readable(socket):
                peer = Peer(socket, socket.recv(_NOBLOCK), socket is self.sockets[0])
                if peer in self.links:
                    data, pid = socket.recv(_NOBLOCK), 0
                else:
                    frame = socket.recv(_NOBLOCK, copy=False)
                    data, pid = frame.bytes, _peer_process(frame)
                while socket.get(_MORE):
                    data += socket.recv(_NOBLOCK)
                try:
                    yield peer, codec.decode_device_to_daemon(data), pid
                except RemoteProtocolError as error:
                    yield peer, error, pid

    def send(self, link: AgentLink, message: DeviceMessage) -> None:
        """Number a message and send it, or queue it behind what waits already."""
        numbered = msgspec.structs.replace(message, sequence=link.sent)
        link.sent += 1
        link.queue.append(codec.encode_device(numbered))
        self.flush(link)

    def send_raw(self, peer: Peer, message: DeviceMessage) -> None:
        """Answer a peer that is no agent (yet); dropped if it cannot be sent now."""
        try:
            peer.socket.send_multipart([peer.identity, codec.encode_device(message)], zmq.NOBLOCK)
        except zmq.ZMQError:
            return

    def flush(self, link: AgentLink) -> None:
        """Send what waits; a peer that is gone, or too far behind, is lost."""
        socket, identity, _ = link.peer
        while link.queue:
            try:
                socket.send(identity, _SEND_MORE)
                socket.send(link.queue[0], _NOBLOCK)
            except zmq.Again:
                if len(link.queue) > QUEUE_MESSAGES_MAX:
                    self.lose(link, f"{len(link.queue)} messages wait for it")
                return
            except zmq.ZMQError as error:
                self.lose(link, f"its connection is gone ({error.strerror})")
                return
            link.queue.popleft()

    def let_go(self, link: AgentLink) -> None:
        """Take an agent out that holds nothing and has been told that it may leave."""
        if self.links.pop(link.peer, None) is not None:
            link.close()

    def lose(self, link: AgentLink, why: str, *, kill: bool = True) -> None:
        """Take an agent out; what it may still hold is the caller's matter."""
        if self.links.pop(link.peer, None) is not None:
            if link.has_ended():
                why = "its process has ended"
            link.queue.clear()
            link.close(kill=kill)
            self.lost.append((link, why))
