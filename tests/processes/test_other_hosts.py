"""Agents of other hosts: over tcp, encrypted, and let in by a key file only."""

from __future__ import annotations

import json
import signal
import stat
from pathlib import Path

import pytest
import zmq
from tests.processes.ground import Command, Ground, until

from shootdown_protocol import codec, messages

LISTEN = ("--listen", "tcp://127.0.0.1:*")


def attach(ground: Ground, spec: str, key: Path) -> Command:
    """Serve the testbed's device over tcp; returns when the daemon has welcomed the agent."""
    command = ground.start("attach", spec, "--as", "DEV0", "--key", str(key), "--json")
    assert command.process.stdout is not None
    assert json.loads(command.process.stdout.readline())["device"] == "DEV0"
    return command


@pytest.mark.parametrize("insecure", [(), ("--insecure",)], ids=["curve", "insecure"])
def test_a_faulty_device_of_another_host_is_caught(
    ground: Ground, insecure: tuple[str, ...]
) -> None:
    """The key file is all that it takes, and the verdict is that of a device on this host."""
    told = ground.up("lab", "--load", "cow-two-pages", *LISTEN, *insecure)
    key = ground.root / "copied.key"
    key.write_text(Path(told["key"]).read_text())
    command = attach(ground, "ignores_invalidation", key)

    ended = ground.run("cow-two-pages", "--on", "lab", instances=300)

    assert ended.status == 1, str(ended)
    assert bool(json.loads(key.read_text())["server_key"]) is not bool(insecure)
    assert stat.S_IMODE(Path(told["key"]).stat().st_mode) == 0o600
    command.signal(signal.SIGINT)
    assert command.end().status == 0
    assert ground.do("down", "--on", "lab").status == 0


def test_without_the_server_s_key_nobody_is_heard(ground: Ground) -> None:
    """A peer that is not encrypted, token or not, gets no answer and disturbs nobody."""
    told = ground.up("lab", "--load", "cow-two-pages", *LISTEN)
    key = json.loads(Path(told["key"]).read_text())
    hello = messages.Hello(0, 1, key["token"], "stranger", 1, (), ("DEV0",))
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.setsockopt(zmq.LINGER, 0)
        socket.connect(key["endpoint"])
        socket.send(codec.encode_device(hello))

        answered = socket.poll(500)

    assert not answered
    assert [each.name for each in ground.status("lab").processes] == ["daemon", "agent0"]
    until(lambda: ground.counter("lab", "instances") > 0, "the load goes on")
    assert ground.do("down", "--on", "lab").status == 0


def test_plain_tcp_is_refused_anywhere_but_on_loopback(ground: Ground) -> None:
    """Nothing is started, and no agent connects in the clear to another host."""
    key = ground.root / "clear.key"
    key.write_text(json.dumps({"endpoint": "tcp://192.0.2.1:5", "server_key": "", "token": "t"}))

    started = ground.do("up", "one-agent", "--listen", "tcp://0.0.0.0:*", "--insecure")
    connected = ground.do("attach", "inserts_late", "--as", "DEV0", "--key", str(key))

    assert (started.status, connected.status) == (2, 2)
    assert "loopback" in started.errors
    assert "CURVE" in connected.errors
