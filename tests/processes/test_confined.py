"""Agents without shared memory: the same verdicts, and nothing that they say is believed."""

from __future__ import annotations

import signal

import pytest
from tests.processes.ground import Ground
from tests.processes.raw_agent import RawAgent
from tests.processes.test_attach import attach

from shootdown_protocol import messages
from shootdown_protocol import remote_messages as remote
from shootdown_protocol.errors import ErrorCode

RIGHT = """
from shootdown_device_agent.machine.device import Device


class Right(Device):
    pass
"""


@pytest.mark.parametrize(("device", "status"), [("right.py", 0), ("caches_not_present", 1)])
def test_a_device_by_messages_gets_the_verdict_of_one_with_memory(
    ground: Ground, device: str, status: int
) -> None:
    """Walks and accesses of its columns are made by the daemon, and judged as any others."""
    (ground.root / "right.py").write_text(RIGHT)
    ground.up("lab", "--load", "cow-two-pages")
    command = attach(ground, device, "--messages")

    ended = ground.run("cow-two-pages", "--on", "lab", instances=500)

    assert ended.status == status, str(ended)
    assert ended.told["counters"]["atc_hits"] > 0
    command.signal(signal.SIGINT)
    assert command.end().status == 0
    assert ground.do("down", "--on", "lab").status == 0


def test_the_daemon_believes_no_pasid_and_no_page(ground: Ground) -> None:
    """What was not granted is not translated, not accessed, and reported; the testbed goes on."""
    ground.up("lab", "--load", "cow-two-pages")
    with RawAgent(ground.folder("lab")) as raw:
        raw.hello("liar", serves=("DEV0",))
        welcome = raw.hear(messages.Welcome)
        batch = raw.hear(messages.BatchBegin)
        slot, column = batch.slots[0].slot, 4

        raw.send(remote.TranslationRequests(0, (remote.TranslationRequest(1, 0, 7, 0, True),)))
        strange = raw.hear(remote.TranslationCompletions).completions[0]
        raw.send(remote.AccessRequests(0, (remote.AccessRequest(2, slot, column, 0, 99, False),)))
        access = raw.hear(remote.AccessAnswers).answers[0]
        raw.send(remote.ColumnsEnded(0, (remote.ColumnEnd(slot, 0),)))
        report = raw.hear(messages.ErrorReport)

        assert welcome.segment == ""
        assert (strange.read, strange.write, strange.page) == (False, False, 0)
        assert not access.made
        assert report.code is ErrorCode.NOT_GRANTED
    assert ground.do("down", "--on", "lab").status == 0
