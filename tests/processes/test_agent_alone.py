"""An agent before a daemon that is played by hand: losses, repetitions, nonsense, silence."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from tests.litmus.texts import minimal, read
from tests.processes.ground import Command, Ground
from tests.processes.raw_daemon import RawDaemon, raw_daemon

from shootdown_device_agent.machine.atc import Cached, atc_cell
from shootdown_device_agent.machine.device import Device
from shootdown_device_agent.shell.agent import Agent
from shootdown_device_agent.shell.batches import AgentRun
from shootdown_protocol import board, codec, messages
from shootdown_protocol.errors import ErrorCode
from shootdown_protocol.fault_messages import Resend
from shootdown_protocol.layout import Layout
from shootdown_protocol.plain_segment import PlainSegment
from shootdown_protocol.sequence import SequenceCheck

NAME = "fake"
PROGRAM = msgspec.structs.replace(read(minimal()).program, warm=())
"""Nothing is mapped in the memory of a daemon that is played by hand."""


@pytest.fixture
def fake(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> Iterator[RawDaemon]:
    """A daemon that says what the test says."""
    with raw_daemon(ground.name(NAME), ground.runtime, monkeypatch) as made:
        yield made


def welcomed(ground: Ground, fake: RawDaemon) -> Command:
    """An agent that the fake daemon has welcomed."""
    command = ground.start("agent", "--name", "one", "--on", NAME)
    fake.welcome()
    return command


def load(path: Path | str) -> messages.LoadProgram:
    """A program to load, with a history at a path."""
    return messages.LoadProgram(
        sequence=0,
        program_number=1,
        program=PROGRAM,
        slot_base=300,
        slots=2,
        devices=(0,),
        history=str(path),
    )


def test_a_heartbeat_is_answered(ground: Ground, fake: RawDaemon) -> None:
    """The answer names the beat; after a goodbye the agent ends in order."""
    command = welcomed(ground, fake)
    fake.send(messages.Heartbeat(0, 41))

    assert fake.hear(messages.HeartbeatReply).beat == 41
    fake.send(messages.Goodbye(0, "that was all"))
    ended = command.end()

    assert (ended.status, "that was all" in ended.output) == (0, True)


def test_a_message_that_came_before_is_reported(ground: Ground, fake: RawDaemon) -> None:
    """It is not obeyed again, and a goodbye is, whatever was lost before it."""
    command = welcomed(ground, fake)

    fake.send(messages.Heartbeat(0, 1), sequence=0)

    assert fake.hear(messages.ErrorReport).code == ErrorCode.SEQUENCE_REPEATED
    fake.send(messages.Goodbye(0, ""), sequence=9)
    assert command.end().status == 0


def test_what_was_lost_is_asked_for(ground: Ground, fake: RawDaemon) -> None:
    """So is the message that showed the loss, for what it says may rest on what was lost."""
    command = welcomed(ground, fake)

    fake.send(messages.Heartbeat(0, 1), sequence=5)

    asked = fake.hear(Resend)
    assert asked.first == 1
    fake.send(messages.Goodbye(0, ""), sequence=9)
    assert command.end().status == 0


def test_nothing_overtakes_what_was_lost(ground: Ground, fake: RawDaemon) -> None:
    """A batch is never made ready before the one whose announcement was lost."""
    command = welcomed(ground, fake)
    fake.send(load(""))
    announced = fake.sent
    fake.send(messages.Heartbeat(0, 1), sequence=announced + 1)
    fake.send(begin(2))
    fake.send(messages.Heartbeat(0, 3))

    assert fake.hear(Resend).first == announced
    assert fake.hear(Resend).first == announced, "each sign of life asks again"
    assert warm_for(fake) == 0
    fake.send(begin(1), sequence=announced)
    for message in (messages.Heartbeat(0, 1), begin(2), messages.Heartbeat(0, 3)):
        fake.send(message)
    assert [fake.hear(messages.HeartbeatReply).beat for _ in range(2)] == [1, 3]
    assert warm_for(fake) == 2
    fake.send(messages.Goodbye(0, ""))
    assert command.end().status == 0


def test_a_batch_that_runs_is_not_made_warm(ground: Ground, fake: RawDaemon) -> None:
    """Its pages may be unmapped by now: an agent that has no part in it says so as it goes."""
    command = welcomed(ground, fake)
    fake.send(load(""))
    fake.segment.words[fake.segment.layout.board + board.GO] = 1

    fake.send(begin(1))

    assert "saw 1, which runs already" in fake.hear(messages.Goodbye).reason
    assert command.end().status == 4


def test_a_lost_welcome_is_asked_for(ground: Ground, fake: RawDaemon) -> None:
    """The next message shows that it was lost; what comes with it is obeyed in its order."""
    command = ground.start("agent", "--name", "one", "--on", NAME)
    fake.hear(messages.Hello)
    fake.send(messages.Heartbeat(0, 1), sequence=1)

    fake.sent = 0
    fake.welcome(after=Resend)
    fake.send(messages.Heartbeat(0, 1))

    assert fake.hear(messages.HeartbeatReply).beat == 1
    fake.send(messages.Goodbye(0, ""))
    assert command.end().status == 0


def begin(batch: int) -> messages.BatchBegin:
    """A batch of one instance."""
    slot = messages.BatchSlot(batch % 2, batch, (0,), (0x100 + batch % 2,))
    return messages.BatchBegin(0, 1, batch, 1, 2, (slot,))


def warm_for(fake: RawDaemon) -> int:
    """The batch that the agent says on the board to be warm for."""
    words, first = fake.segment.words, fake.segment.layout.board
    return words[first + board.agent_word(0, board.A_WARM)]


def test_after_a_loss_nothing_cached_is_kept() -> None:
    """What the lost messages said to drop may still be held, so all of it is dropped."""
    load = messages.LoadProgram(0, 1, PROGRAM, 300, 2, (0,), "")
    welcome = messages.Welcome(0, 1, 0, "", 0, 100, 200, 1, True, 0, False)
    segment = PlainSegment(Layout(64, 4096, 5))
    run = AgentRun(
        segment,
        load,
        welcome,
        (Device,),
        now=lambda: 0,
        fence=lambda: None,
        log=lambda *_: None,
    )
    slot = run._slot(messages.BatchSlot(0, 0, (0,), (0x100,)))
    run.devices[0].bind(slot, ())
    site = slot.sites[0]
    run.devices[0].insert(run.store, site.pasid, site.vpn, Cached(7, True, 0, 0, 0))
    cell = atc_cell(0, site.pasid, site.vpn)
    assert run.store.get(cell) is not None

    after_a_loss(run)._hear(codec.encode_device(messages.Heartbeat(5, 1)))

    assert run.store.get(cell) is None


class Silent:
    """A log that nobody reads."""

    def info(self, event: str, **fields: object) -> None:
        """Say nothing."""

    def flush(self) -> None:
        """Write nothing."""


def after_a_loss(run: AgentRun) -> Agent:
    """An agent, but for its sockets, that has heard nothing yet and has a program loaded."""
    agent = Agent.__new__(Agent)
    agent.incoming, agent.log, agent.run = SequenceCheck(), Silent(), run
    agent._ask_again = lambda: None  # type: ignore[method-assign]
    return agent


def test_nonsense_is_reported_and_survived(ground: Ground, fake: RawDaemon) -> None:
    """Bytes that are no message cost the agent nothing."""
    command = welcomed(ground, fake)
    for data in (b"", b"\xc1", b"\x93\x63\x00\x00", bytes(1 << 21)):
        fake.send_bytes(data)
        assert fake.hear(messages.ErrorReport).why

    fake.send(messages.Goodbye(0, ""))

    assert command.end().status == 0


def test_a_silent_daemon_is_given_up(ground: Ground, fake: RawDaemon) -> None:
    """After the heartbeat limit the agent takes its daemon for dead, and exits with 4."""
    command = welcomed(ground, fake)

    ended = command.end()

    assert ended.status == 4, str(ended)
    assert "the daemon was silent for" in ended.errors


def test_a_refusal_later_on_ends_the_agent(ground: Ground, fake: RawDaemon) -> None:
    """An agent that was taken out ends when it hears so, which no number in sequence tells it."""
    command = welcomed(ground, fake)

    fake.send(messages.Refused(0, ErrorCode.NOT_WELCOMED, "you were lost"), sequence=0)

    ended = command.end()
    assert (ended.status, "you were lost" in ended.errors) == (4, True), str(ended)


def test_memory_of_an_earlier_start_is_refused(ground: Ground, fake: RawDaemon) -> None:
    """An agent does not map a segment of another generation than it was told."""
    command = ground.start("agent", "--name", "one", "--on", NAME)
    fake.welcome(generation=4)

    ended = command.end()

    assert (ended.status, "segment-generation" in ended.errors) == (4, True), str(ended)


def test_a_history_that_cannot_be_written_is_said(ground: Ground, fake: RawDaemon) -> None:
    """An agent that cannot do what it is told says why as it goes."""
    command = welcomed(ground, fake)

    fake.send(load("/dev/null/no.history"))

    assert "history-refused" in fake.hear(messages.Goodbye).reason
    assert command.end().status == 4


def test_what_was_not_asked_for_is_passed_over(ground: Ground, fake: RawDaemon) -> None:
    """Batches, invalidations and unloading without a program change nothing."""
    command = welcomed(ground, fake)
    request = messages.InvalidateRequest(0, 3, 0x100, 0x5000, 0, 0)
    fake.send(messages.Invalidate(0, (request,)))
    fake.send(messages.UnloadProgram(0, 1))
    fake.send(messages.BatchGo(0, 1))
    fake.send(messages.Heartbeat(0, 2))

    assert fake.hear(messages.HeartbeatReply).beat == 2
    fake.send(messages.Goodbye(0, ""))
    assert command.end().status == 0


def test_an_invalidation_of_nothing_is_completed(ground: Ground, fake: RawDaemon) -> None:
    """A device that holds nothing of a range has nothing to drain: it completes."""
    command = welcomed(ground, fake)
    fake.send(load(""))
    request = messages.InvalidateRequest(0, 3, 0x100, 0x5000, 0, 0)

    fake.send(messages.Invalidate(0, (request,)))

    (completion,) = fake.hear(messages.InvalidateCompletion).completions
    assert (completion.device, completion.itags) == (0, 1 << 3)
    fake.send(messages.Goodbye(0, ""))
    assert command.end().status == 0
