"""Peers that break the protocol: each is refused or lost by name, and the daemon goes on."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest
import zmq
from tests.processes.ground import Command, Ground, until
from tests.processes.raw_agent import RawAgent

from shootdown_protocol import codec, messages
from shootdown_protocol.errors import ErrorCode
from shootdown_protocol.fault_messages import RESENDS, Resend
from shootdown_protocol.limits import DEVICE_MESSAGE_BYTES_MAX
from shootdown_protocol.memory import PAGE_SIZE

GARBAGE = [
    b"",
    b"\xc1",
    b"\xff" * 3,
    b"\x93\x01",
    b"\x82\xa4type\xa6status",
    bytes(range(256)) * 20,
    msgspec.msgpack.encode([99, 0]),
    msgspec.msgpack.encode([1, 0, "not a version", "t", "n", 1, []]),
    msgspec.msgpack.encode([24, 0, 1]),
    msgspec.msgpack.encode({"type": "run", "request": -1}),
    msgspec.msgpack.encode({"type": "status", "request": 1, "protocol_version": 77}),
    b"\x91" * 5000,
    bytes(DEVICE_MESSAGE_BYTES_MAX + 1),
]


def alone(ground: Ground, name: str = "raw", agents: int = 1) -> Command:
    """A daemon in the foreground that no agent has joined yet."""
    ground.name(name)
    command = ground.start("daemon", str(ground.testbed(agents=agents)), "--name", name)
    until((ground.folder(name) / "control").exists, "the daemon is there")
    ground.status(name)
    return command


def names(ground: Ground, name: str = "raw") -> list[str]:
    """Members of a testbed."""
    return [process.name for process in ground.status(name).processes[1:]]


def log(ground: Ground) -> str:
    """What the daemon has logged of what went wrong."""
    return (ground.out / "logs" / "daemon.log").read_text()


def end(ground: Ground) -> None:
    """The daemon still obeys, and ends in order."""
    assert ground.do("down").status == 0
    assert ground.commands[0].end().status == 0


@pytest.mark.parametrize("plane", ["device", "control"])
def test_garbage_never_ends_the_daemon(ground: Ground, plane: str) -> None:
    """Whatever bytes come, in however many frames, the daemon answers and goes on."""
    alone(ground)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    dealer = context.socket(zmq.DEALER)
    dealer.connect(f"ipc://{ground.folder('raw') / plane}")

    for data in GARBAGE:
        dealer.send(data)
        dealer.send_multipart([data, data])

    answered = 0
    while answered < 2 * len(GARBAGE) and dealer.poll(10_000):
        dealer.recv()
        answered += 1
    dealer.close(linger=0)
    context.term()
    assert answered == 2 * len(GARBAGE)
    end(ground)


@pytest.mark.parametrize("plane", ["device", "control"])
def test_a_peer_that_does_not_speak_zeromq_is_dropped(ground: Ground, plane: str) -> None:
    """Bytes that are not even ZeroMQ's close that connection, and nothing else."""
    alone(ground)
    with socket.socket(socket.AF_UNIX) as raw:
        raw.connect(str(ground.folder("raw") / plane))
        raw.sendall(b"GET / HTTP/1.1\r\n\r\n" * 100)

        assert names(ground) == []

    end(ground)


def test_a_wrong_token_is_refused(ground: Ground) -> None:
    """Who does not know the testbed's token is told so and is no member."""
    alone(ground)
    with RawAgent(ground.folder("raw")) as agent:
        agent.hello(token="guessed")  # noqa: S106 - a wrong one

        assert agent.hear(messages.Refused).code == ErrorCode.WRONG_TOKEN
        assert names(ground) == []
    end(ground)


@pytest.mark.parametrize("plane", ["device", "control"])
def test_a_flood_starves_nobody(ground: Ground, plane: str) -> None:
    """While a peer sends nonsense as fast as it can, others join, are answered, and end it all."""
    alone(ground)
    over = threading.Event()
    flood = threading.Thread(target=flooding, args=(ground.folder("raw") / plane, over))
    flood.start()

    try:
        with RawAgent(ground.folder("raw")) as agent:
            agent.join("among-the-noise")
            assert names(ground) == ["among-the-noise"]
            assert ground.do("down").status == 0
    finally:
        over.set()
        flood.join()
    assert ground.commands[0].end().status == 0


def flooding(path: Path, over: threading.Event) -> None:
    """Send until told to stop; never read an answer."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    with context.socket(zmq.DEALER) as dealer:
        dealer.setsockopt(zmq.LINGER, 0)
        dealer.setsockopt(zmq.SNDTIMEO, 100)
        dealer.connect(f"ipc://{path}")
        while not over.is_set():
            with suppress(zmq.Again):
                dealer.send(b"\xc1" * 64)
    context.term()


def test_a_name_is_taken_once(ground: Ground) -> None:
    """A second agent of one name is refused, and the first stays a member."""
    alone(ground)
    with RawAgent(ground.folder("raw")) as first, RawAgent(ground.folder("raw")) as second:
        first.join("twin")
        second.hello("twin")

        assert second.hear(messages.Refused).code == ErrorCode.NAME_TAKEN
        assert names(ground) == ["twin"]
    end(ground)


def test_an_agent_must_be_welcomed_before_it_speaks(ground: Ground) -> None:
    """A message of a peer that never said hello is refused."""
    alone(ground)
    with RawAgent(ground.folder("raw")) as agent:
        agent.send(messages.Goodbye(0, "never here"))

        assert agent.hear(messages.Refused).code == ErrorCode.NOT_WELCOMED
    end(ground)


def test_a_gap_in_an_agents_numbers_is_its_end(ground: Ground) -> None:
    """What the missing messages said is unknown, so the agent is a member no more."""
    alone(ground)
    with RawAgent(ground.folder("raw")) as agent:
        agent.join()
        agent.send(messages.HeartbeatReply(0, 1, {}), sequence=7)

        until(lambda: names(ground) == [], "it is taken out")

        why = "messages before its number 7 are missing"
        until(lambda: why in log(ground), "the log says why")
        agent.send(messages.HeartbeatReply(0, 1, {}))
        assert agent.hear(messages.Refused).code == ErrorCode.NOT_WELCOMED
    end(ground)


def test_what_an_agent_resends_is_obeyed_in_order(ground: Ground) -> None:
    """A daemon asks for what is missing, and obeys nothing that comes behind it before."""
    alone(ground)
    with RawAgent(ground.folder("raw")) as agent:
        agent.hello(can=(RESENDS,))
        agent.hear(messages.Welcome)
        agent.send(messages.Detach(0, (), "it would leave"), sequence=2)

        assert agent.hear(Resend).first == 1
        agent.send(messages.HeartbeatReply(0, 1, {"steps": 5}), sequence=1)
        until(lambda: ground.status("raw").processes[-1].counters == {"steps": 5}, "it is heard")
        assert names(ground) == ["raw"]
        agent.send(messages.Detach(0, (), "it leaves"))
        until(lambda: names(ground) == [], "it is let go")
    end(ground)


def test_a_repeated_message_is_not_obeyed(ground: Ground) -> None:
    """A number that was seen before is passed over; here it would have ended the membership."""
    alone(ground)
    with RawAgent(ground.folder("raw")) as agent:
        agent.join()
        agent.send(messages.Goodbye(0, "a repetition"), sequence=0)
        agent.send(messages.HeartbeatReply(0, 1, {"steps": 5}))

        until(lambda: ground.status("raw").processes[-1].counters == {"steps": 5}, "it is heard")

        assert names(ground) == ["raw"]
    end(ground)


def test_an_agent_without_a_sign_of_life_is_lost_and_not_killed(ground: Ground) -> None:
    """A process that did not say that it is its own to be killed lives on: it is this test's."""
    alone(ground)
    with RawAgent(ground.folder("raw")) as agent:
        welcome = agent.join()

        until(lambda: names(ground) == [], "it is taken out")

        assert welcome.heartbeat_limit_ms == 2 * 2000  # it waits longer than it is waited for
    end(ground)


def test_memory_is_not_used_again_while_its_holder_lives(ground: Ground) -> None:
    """An agent that was shut out and must not be killed keeps the testbed from its next run."""
    alone(ground)
    with RawAgent(ground.folder("raw")) as agent, RawAgent(ground.folder("raw")) as other:
        agent.join()
        until(lambda: names(ground) == [], "it is taken out")
        other.join("other")

        run = ground.start_run("cow-two-pages", "--on", "raw").end()

        assert run.status == 4, str(run)
        assert "raw was shut out and still lives" in run.told["error"]
    end(ground)


def test_an_agent_cannot_reach_past_what_it_was_granted(ground: Ground) -> None:
    """Neither PASIDs nor ITags nor devices of others: each is an error that names it."""
    alone(ground)
    with RawAgent(ground.folder("raw")) as agent:
        agent.join()
        run = ground.start_run("cow-two-pages", "--on", "raw")
        begin = agent.hear(messages.BatchBegin)
        pasid = begin.slots[0].pasids[0]
        requests = [
            (9999, 0, ErrorCode.PASID_NOT_GRANTED),
            (pasid, 63, ErrorCode.PASID_NOT_GRANTED),
        ]
        for granted, device, code in requests:
            asked = messages.PageRequest(device, granted, 0x1000, 0, True, True, False)
            agent.send(messages.PageRequests(0, (asked,)))
            assert agent.hear(messages.ErrorReport).code == code
        for device in (0, 63):
            done = messages.ItagCompletion(device, 1 << 31, 1)
            agent.send(messages.InvalidateCompletion(0, (done,)))
            assert agent.hear(messages.ErrorReport).code == ErrorCode.UNEXPECTED_COMPLETION

        agent.send(messages.Goodbye(0, "enough"))

        ended = run.end()
        assert (ended.status, "it said goodbye: enough" in ended.told["error"]) == (4, True), str(
            ended
        )
    end(ground)


def test_an_agent_cannot_speak_for_another(ground: Ground) -> None:
    """It can neither complete what another was sent, nor ask for pages of what another plays."""
    alone(ground, agents=2)
    with RawAgent(ground.folder("raw")) as liar, RawAgent(ground.folder("raw")) as other:
        welcomes = [(liar, liar.join("liar")), (other, other.join("other"))]
        run = ground.start_run("cow-message-passing", "--on", "raw", "--discipline", "range_start")
        program = other.hear(messages.LoadProgram).program
        granted = other.hear(messages.BatchBegin).slots[0].pasids[0]
        for agent, welcome in welcomes:
            agent.say_warm(welcome, 2)
        (sent, *_) = other.hear(messages.Invalidate).requests

        address = program.locations[0].va & -PAGE_SIZE
        asked = messages.PageRequest(0, granted, address, 0, True, True, False)
        liar.send(messages.PageRequests(0, (asked,)))
        assert liar.hear(messages.ErrorReport).code == ErrorCode.PASID_NOT_GRANTED
        # Counted on from its own devices, the other's first device is its second.
        done = messages.ItagCompletion(1, 1 << sent.itag, 1)
        liar.send(messages.InvalidateCompletion(0, (done,)))
        assert liar.hear(messages.ErrorReport).code == ErrorCode.UNEXPECTED_COMPLETION

        liar.send(messages.Goodbye(0, "found out"))
        other.send(messages.Goodbye(0, "me too"))
        assert run.end().status == 4
    end(ground)


def test_an_agent_that_complains_ends_the_run(ground: Ground) -> None:
    """When an agent reports that messages to it were lost, the run cannot be judged: it fails."""
    alone(ground)
    with RawAgent(ground.folder("raw")) as agent:
        agent.join()
        run = ground.start_run("cow-two-pages", "--on", "raw")
        number = agent.hear(messages.LoadProgram).program_number
        agent.send(messages.ErrorReport(0, ErrorCode.SEQUENCE_GAP, "message 3 is missing"))
        agent.hear(messages.UnloadProgram)
        agent.send(messages.ProgramUnloaded(0, number, 0, {}))

        ended = run.end()

        assert ended.status == 4, str(ended)
        assert "agent raw reports: message 3 is missing" in ended.told["error"]
        assert names(ground) == ["raw"]
    end(ground)


def test_an_asker_that_is_gone_harms_nobody(ground: Ground) -> None:
    """A control client that leaves before its answer costs the daemon nothing."""
    alone(ground)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    for _ in range(20):
        dealer = context.socket(zmq.DEALER)
        dealer.connect(f"ipc://{ground.folder('raw') / 'control'}")
        dealer.send(codec.encode_control(messages.Status(1, messages.PROTOCOL_VERSION)))
        dealer.close(linger=50)
    context.term()

    assert names(ground) == []
    end(ground)
