"""A daemon that speaks the wire by hand: folder, lock, memory and a ROUTER, and no kernel."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import msgspec
import pytest
import zmq

from shootdown_cli import places
from shootdown_cli.places import TestbedRecord
from shootdown_protocol import codec, messages
from shootdown_protocol.device_message import DeviceMessage
from shootdown_protocol.layout import Layout
from shootdown_protocol.segment import Segment

M = TypeVar("M", bound=DeviceMessage)

ANSWER_MS = 15_000
LIMIT_MS = 600


class RawDaemon:
    """One ROUTER where an agent expects its daemon."""

    def __init__(self, socket: zmq.Socket[bytes], segment: Segment) -> None:
        """Use a bound socket and memory that was made."""
        self.socket = socket
        self.segment = segment
        self.agent = b""
        self.sent = 0

    def hear(self, kind: type[M]) -> M:
        """The agent's next message of a kind; others are passed over."""
        while self.socket.poll(ANSWER_MS):
            self.agent, data = self.socket.recv_multipart()
            message = codec.decode_device_to_daemon(data)
            if isinstance(message, kind):
                return message
        raise AssertionError(f"no {kind.__name__} within {ANSWER_MS} ms")

    def send(self, message: DeviceMessage, sequence: int | None = None) -> None:
        """Send a message under the next number, or under one that is wrong."""
        number = self.sent if sequence is None else sequence
        self.sent = number + 1
        self.send_bytes(codec.encode_device(msgspec.structs.replace(message, sequence=number)))

    def send_bytes(self, data: bytes) -> None:
        """Send anything."""
        self.socket.send_multipart([self.agent, data])

    def welcome(self, *, generation: int = 0, after: type[DeviceMessage] = messages.Hello) -> None:
        """Wait for an agent and welcome it."""
        self.hear(after)
        self.send(
            messages.Welcome(
                sequence=0,
                protocol_version=messages.PROTOCOL_VERSION,
                agent=0,
                segment=self.segment.name,
                segment_generation=generation or self.segment.generation,
                heartbeat_ms=100,
                heartbeat_limit_ms=LIMIT_MS,
                seed=1,
                iotlb=True,
                atc_entries=0,
                walk_by_level=False,
            )
        )


@contextmanager
def raw_daemon(name: str, runtime: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RawDaemon]:
    """Be the daemon of a testbed in a runtime folder."""
    monkeypatch.setenv("SHOOTDOWN_RUNTIME_DIR", str(runtime))
    folder = places.new_folder(name)
    record = TestbedRecord(name, str(folder), f"shootdown-{name}-0", "token", 1)
    record.save()
    lock = places.hold_lock(folder)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.ROUTER)
    socket.bind(record.endpoint("device"))
    with Segment.create(record.segment, Layout(256, 4096, 77), generation=5) as segment:
        try:
            yield RawDaemon(socket, segment)
        finally:
            socket.close(linger=0)
            context.term()
            places.remove(folder)
            os.close(lock)
