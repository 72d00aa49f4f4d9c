"""`top`: what is shown of a testbed, how fast it goes, and which events were missed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from shootdown_cli.top import Events, picture, totals
from shootdown_protocol import codec
from shootdown_protocol.messages import Event, StatusReply
from shootdown_protocol.process_status import ProcessRole, ProcessState, ProcessStatus


def reply(**counters: int) -> StatusReply:
    """A testbed whose daemon has some counters."""
    role, state = ProcessRole.DAEMON, ProcessState.RUNNING
    daemon = ProcessStatus("daemon", 7, role, state, (), counters)
    return StatusReply(1, "lab", 1, "cow-two-pages", 0, (daemon,))


@pytest.fixture
def events() -> Iterator[Events]:
    """A subscriber to whom nobody publishes."""
    with Events("inproc://nobody") as made:
        yield made


def test_a_counter_is_shown_with_its_growth(events: Events) -> None:
    """Since the last look, a second; what was counted anew from 0 shows none."""
    before = totals(reply(instances=100, steps=9_000))

    lines = picture(reply(instances=1_300, steps=50), before, 2.0, events)

    assert lines[0] == "lab: running cow-two-pages"
    assert lines[1].endswith("running  instances 1,300 (+600/s), steps 50")
    assert len(lines) == 2


def test_events_that_did_not_come_are_counted(events: Events) -> None:
    """A gap in their numbers says how many, and so does what is no event; progress is not shown."""
    for number, name in ((3, "agent_attached"), (4, "run_progress"), (9, "agent_lost")):
        events.hear(codec.encode_event(Event(number, "daemon", name, {"agent": "agent0"})))
    events.hear(b"\xc1")

    shown = picture(reply(), {}, 0.0, events)[2:]

    assert shown[0] == "events, 5 missed"
    assert [line.split(maxsplit=1)[1] for line in shown[1:]] == [
        "agent_attached: agent agent0",
        "agent_lost: agent agent0",
    ]
