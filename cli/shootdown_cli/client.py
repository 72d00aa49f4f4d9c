"""Talks to a daemon's control plane on behalf of a command."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

import zmq

from shootdown_cli.testbed import TestbedFailed
from shootdown_protocol import codec, messages
from shootdown_protocol.messages import PROTOCOL_VERSION

ANSWER_S = 10.0
"""How long a daemon may take to answer a short request."""
LOOK_S = 0.1
"""How often a person is asked meanwhile whether they are tired of waiting."""


class ControlClient:
    """One connection to a daemon's control plane."""

    def __init__(self, endpoint: str) -> None:
        """Connect; nothing is sent yet."""
        self.endpoint = endpoint
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.RECONNECT_IVL, 1)
        self._socket.connect(endpoint)
        self._requests = 0

    def __enter__(self) -> Self:
        """Use as a context, so that the socket is closed whatever happens."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close; what was sent last has a moment to leave."""
        self._socket.close(linger=200)
        self._context.term()

    def number(self) -> int:
        """A number for the next request."""
        self._requests += 1
        return self._requests

    def send(self, request: messages.ControlToDaemon) -> None:
        """Send a request; answers are taken by `receive`."""
        self._socket.send(codec.encode_control(request))

    def receive(self, wait_s: float) -> messages.ControlFromDaemon | None:
        """The next answer, or None when none came in time."""
        if not self._socket.poll(int(wait_s * 1000)):
            return None
        return codec.decode_control_from_daemon(self._socket.recv())

    def ask(
        self, request: messages.ControlToDaemon, given_up: Callable[[], bool] = lambda: False
    ) -> messages.ControlFromDaemon:
        """Send a request and wait for its answer, or until ``given_up``: then KeyboardInterrupt."""
        self.send(request)
        deadline = time.monotonic() + ANSWER_S
        while (left := deadline - time.monotonic()) > 0:
            answer = self.receive(min(left, LOOK_S))
            if given_up():
                raise KeyboardInterrupt
            if answer is not None and answer.request == request.request:
                return answer
        message = f"no answer from {self.endpoint} within {ANSWER_S:.0f} s"
        raise TestbedFailed(message)

    def status(self) -> messages.StatusReply:
        """Ask for every process of the testbed."""
        answer = self.ask(messages.Status(self.number(), PROTOCOL_VERSION))
        if not isinstance(answer, messages.StatusReply):
            message = f"saw {type(answer).__name__}; expected StatusReply"
            raise TestbedFailed(message)
        return answer

    def stop(self, reason: str) -> None:
        """Ask the testbed to end; it may do so before it has answered."""
        self.send(messages.Stop(self.number(), PROTOCOL_VERSION, reason))
