"""An agent that speaks the wire by hand, and says what no right agent says."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import msgspec
import zmq

from shootdown_protocol import board, codec, messages
from shootdown_protocol.device_message import DeviceMessage
from shootdown_protocol.segment import Segment

M = TypeVar("M", bound=DeviceMessage)

ANSWER_MS = 10_000


class RawAgent:
    """One DEALER on a testbed's device plane; it does nothing by itself."""

    def __init__(self, folder: Path) -> None:
        """Connect to the testbed of a runtime folder."""
        self.token = json.loads((folder / "testbed.json").read_text())["token"]
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.socket = self.context.socket(zmq.DEALER)
        self.socket.connect(f"ipc://{folder / 'device'}")
        self.sent = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.socket.close(linger=0)
        self.context.term()

    def send(self, message: DeviceMessage, sequence: int | None = None) -> None:
        """Send a message under the next number, or under one that is wrong."""
        number = self.sent if sequence is None else sequence
        self.sent = number + 1
        self.socket.send(codec.encode_device(msgspec.structs.replace(message, sequence=number)))

    def hear(self, kind: type[M]) -> M:
        """The next message of a kind; others are passed over."""
        while self.socket.poll(ANSWER_MS):
            message = codec.decode_device_from_daemon(self.socket.recv())
            if isinstance(message, kind):
                return message
        raise AssertionError(f"no {kind.__name__} within {ANSWER_MS} ms")

    def hello(
        self,
        name: str = "raw",
        token: str | None = None,
        serves: tuple[str, ...] = (),
        can: tuple[str, ...] = (),
    ) -> None:
        """Say hello; the answer is to be heard. One that serves a device has no shared memory."""
        hello = messages.Hello(
            0,
            messages.PROTOCOL_VERSION,
            self.token if token is None else token,
            name,
            os.getpid(),
            can if serves else (messages.SHARED_MEMORY, *can),
            serves,
        )
        self.send(hello)

    def join(self, name: str = "raw") -> messages.Welcome:
        """Become a member."""
        self.hello(name)
        return self.hear(messages.Welcome)

    def say_warm(self, welcome: messages.Welcome, batch: int) -> None:
        """Say on the board that the caches are warm for a batch, which may then run."""
        with Segment.attach(welcome.segment) as segment:
            word = board.agent_word(welcome.agent, board.A_WARM)
            segment.words[segment.layout.board + word] = batch
