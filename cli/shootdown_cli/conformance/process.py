"""The agent under test as a process, and the socket that it takes for its daemon's."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec
import zmq

from shootdown_cli.programs import fill, start_program, words_of
from shootdown_cli.remote import ANY_PORT
from shootdown_protocol import codec, messages
from shootdown_protocol.device_message import DeviceMessage
from shootdown_protocol.errors import RemoteProtocolError, UsageError

TOKEN = "conformance"  # noqa: S105 - it guards nothing: who connects is under test
DEVICE = "DEV0"
NAME = "under-test"
HEARTBEAT_MS = 1000
LIMIT_MS = 60_000
HELLO_S = 10.0
"""How long a program may take to say hello."""
QUIET_S = 0.04
"""How long nothing comes until the agent is asked for a sign of life."""
QUIET_BEATS = 3
"""Signs of life, with nothing else between them, after which nothing more is awaited."""
SILENT_S = 10.0
"""How long an agent may give no sign of life at all."""
END_S = 3.0
Command = Callable[[Mapping[str, str]], list[str]]
"""Gives the words of an agent for what it is told."""


class Failed(Exception):  # noqa: N818 - a test's verdict, not an error of ours
    """The agent did not do what the test asks for; says what it did."""


class NoHello(Failed):
    """It has not said hello, so that nothing else can be asked of it."""


class Connection:
    """One process of the agent, from its hello to its end."""

    def __init__(self, command: Command, *, by_tcp: bool = False) -> None:
        """Bind a socket and start the process that ``command`` gives for what it is told.

        ``by_tcp``: over tcp with a CURVE key, as from another host.
        """
        self._folder = tempfile.TemporaryDirectory(prefix="sd-conf-")
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.socket = self._context.socket(zmq.ROUTER)
        server_key = _encrypt(self.socket) if by_tcp else ""
        self.socket.bind(ANY_PORT if by_tcp else f"ipc://{self._folder.name}/device")
        endpoint = self.socket.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0")
        self.sent = 0
        self.hello: messages.Hello | None = None
        self._identity = b""
        self._beats = self._answered = 0
        told = {
            "endpoint": endpoint,
            "token": TOKEN,
            "name": NAME,
            "device": DEVICE,
            "server_key": server_key,
        }
        self._said = Path(self._folder.name) / "said"
        try:
            with self._said.open("wb") as said:
                self.process = start_program(command(told), told, said)
        except UsageError:
            self._close()
            raise

    def __enter__(self) -> Self:
        """Use as a context: the process is ended whatever happens."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the process."""
        self.close()

    def close(self) -> None:
        """Say goodbye, kill what does not go, and let everything go."""
        if self._identity and self.process.poll() is None:
            self.send(messages.Goodbye(0, "the tests are over"))
        try:
            self.process.wait(END_S if self._identity else 0)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._close()

    def kill(self) -> None:
        """End the process at once: what it would still do is of no interest."""
        self.process.kill()
        self.close()

    def _close(self) -> None:
        self.socket.close(linger=0)
        self._context.term()
        self._folder.cleanup()

    def greet(self) -> messages.Hello:
        """Take the agent's hello in and welcome it."""
        deadline = time.monotonic() + HELLO_S
        while not self.socket.poll(50):
            if self.process.poll() is not None:
                status = self.process.returncode
                raise NoHello(f"it ended with status {status} before its Hello{self._last_words()}")
            if time.monotonic() > deadline:
                raise NoHello(f"no Hello within {HELLO_S:.0f} s{self._last_words()}")
        self._identity, data = self.socket.recv_multipart()
        hello = self._decode(data)
        if not isinstance(hello, messages.Hello):
            raise Failed(f"its first message is {type(hello).__name__}, not Hello")
        self.hello = hello
        self.send(
            messages.Welcome(
                sequence=0,
                protocol_version=messages.PROTOCOL_VERSION,
                agent=0,
                segment="",
                segment_generation=0,
                heartbeat_ms=HEARTBEAT_MS,
                heartbeat_limit_ms=LIMIT_MS,
                seed=1,
                iotlb=False,
                atc_entries=64,
                walk_by_level=False,
            )
        )
        return hello

    def send(self, message: DeviceMessage, sequence: int | None = None) -> None:
        """Send a message under the next number, or under one that is wrong."""
        number = self.sent if sequence is None else sequence
        self.sent = max(self.sent, number + 1)
        self.send_bytes(codec.encode_device(msgspec.structs.replace(message, sequence=number)))

    def send_bytes(self, data: bytes) -> None:
        """Send anything."""
        self.socket.send_multipart([self._identity, data])

    def receive(self) -> messages.DeviceToDaemon | None:
        """The next message that is no sign of life; None once nothing more is to be expected.

        That is when the agent, asked again and again for a sign of life, gives that and nothing
        else: then it waits for us, however slow it is.
        """
        answered = self._answered
        since = time.monotonic()
        while self._answered - answered < QUIET_BEATS:
            if self.socket.poll(int(QUIET_S * 1000)):
                message = self._decode(self.socket.recv_multipart()[1])
                if not isinstance(message, messages.HeartbeatReply):
                    return message
                self._answered += 1
                since = time.monotonic()
            elif self._beats <= self._answered:
                self._beats += 1
                self.send(messages.Heartbeat(0, self._beats))
            if self.process.poll() is not None and not self.socket.poll(0):
                raise Failed(f"it ended with status {self.process.returncode}{self._last_words()}")
            if time.monotonic() - since > SILENT_S:
                raise Failed(f"it gave no sign of life for {SILENT_S:.0f} s")
        return None

    def has_ended(self) -> int | None:
        """Its exit status once it has ended, within a while."""
        try:
            return self.process.wait(END_S)
        except subprocess.TimeoutExpired:
            return None

    def _last_words(self) -> str:
        lines = self._said.read_text(errors="replace").strip().splitlines()
        return f": {lines[-1]}" if lines else ""

    def _decode(self, data: bytes) -> messages.DeviceToDaemon:
        try:
            return codec.decode_device_to_daemon(data)
        except RemoteProtocolError as error:
            raise Failed(f"it sent what is no message: {error}") from error


def program_command(program: str) -> Command:
    """The words that start any program: ``{endpoint}``, ``{name}`` and ``{device}`` filled in."""
    words = words_of(program)
    return lambda told: fill(words, told)


def class_command(spec: str) -> Command:
    """The words that start an agent of a device class, without shared memory."""
    main = (sys.executable, "-m", "shootdown_device_agent")
    return lambda told: [*main, spec, told["endpoint"], "--messages"]


def _encrypt(socket: zmq.Socket[bytes]) -> str:
    """Make a socket a CURVE server (RFC 26); gives its public key."""
    public, secret = zmq.curve_keypair()
    socket.curve_server = True
    socket.curve_secretkey = secret
    return public.decode()
