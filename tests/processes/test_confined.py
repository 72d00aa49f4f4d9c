"""Agents without shared memory: the same verdicts, and nothing that they say is believed."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest
from tests.processes.ground import Ground
from tests.processes.raw_agent import RawAgent
from tests.processes.test_attach import attach

from shootdown_protocol import codec, messages
from shootdown_protocol import remote_messages as remote
from shootdown_protocol.device_message import DeviceMessage
from shootdown_protocol.errors import ErrorCode, RemoteProtocolError
from shootdown_protocol.limits import (
    COLUMNS_MAX,
    PAGE_NUMBER_MAX,
    PAGE_REQUESTS_PER_MESSAGE_MAX,
    SLOTS_MAX,
)
from shootdown_protocol.memory import PAGE_SIZE

TWO_DEVICES = """\
SHOOTDOWN two-devices
"Two devices of two agents read what a CPU unmaps."

{
  A = 0 rw; B = 1 rw;
  atc DEV1 A;
}

 CPU0            | DEV0@d0   | DEV1@d1   ;
 zap_pte_range A | load B r0 | load A r1 ;
                 | load A r2 |           ;

forbidden DEV0:r0=0
weakest none
caught none : S1
safe clear_flush
"""
MINE, OTHERS = 1, 2
"""Columns of the two devices."""
A, B = 0, 1
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


def lies(slot: int, pasid: int, va: int, page: int) -> dict[str, DeviceMessage]:
    """What only a liar says who serves d0 in a slot, and was answered a page for an address."""
    access, thread = remote.AccessRequest, remote.ThreadAccessRequest

    def translate(device: int, pasid: int) -> DeviceMessage:
        asked = remote.TranslationRequest(1, device, pasid, va, write=True)
        return remote.TranslationRequests(0, (asked,))

    def reach(slot: int, column: int, line: int, page: int) -> DeviceMessage:
        return remote.AccessRequests(0, (access(2, slot, column, line, page, hit=False),))

    def own(device: int, location: int, page: int) -> DeviceMessage:
        asked = thread(3, slot, device, "own", location, True, 9, page, hit=False)
        return remote.ThreadAccessRequests(0, (asked,))

    return {
        "a PASID of nobody": translate(0, pasid + 4096),
        "a device of another": translate(1, pasid),
        "a page that was not answered": reach(slot, MINE, 0, page + 1),
        "a page outside memory": reach(slot, MINE, 0, PAGE_NUMBER_MAX),
        "a slot that is not there": reach(SLOTS_MAX - 1, MINE, 0, page),
        "a column that is not there": reach(slot, COLUMNS_MAX - 1, 0, page),
        "a CPU's column": reach(slot, 0, 0, page),
        "a column of another": reach(slot, OTHERS, 0, page),
        "an instruction that is not there": reach(slot, MINE, 9, page),
        "a page answered for another location": own(0, A, page),
        "a location that is not there": own(0, 40, page),
        "a thread of another's device": own(1, A, page),
        "the end of a CPU's column": remote.ColumnsEnded(0, (remote.ColumnEnd(slot, 0),)),
        "the end of another's column": remote.ColumnsEnded(0, (remote.ColumnEnd(slot, OTHERS),)),
        "a wait of another": remote.ColumnWaits(0, (remote.ColumnWait(4, slot, OTHERS, 0),)),
        "what another gave up": remote.AccessGivenUp(0, slot, OTHERS, 0, retried=False),
        "a thread that another gave up": remote.ThreadAccessGivenUp(
            0, slot, 1, "own", A, write=False, retried=False
        ),
        "a register that is not there": remote.RegisterStatuses(
            0, (remote.RegisterStatus(slot, 0, 1),)
        ),
        "a batch that has not ended": remote.BatchDone(0, 1),
    }


def test_the_daemon_believes_nothing_that_is_not_the_agent_s(ground: Ground) -> None:
    """Every lie is reported as such, none is obeyed, and what is true goes on."""
    with two_devices(ground) as raw:
        va = raw.hear(messages.LoadProgram).program.locations[B].va & -PAGE_SIZE
        granted = raw.hear(messages.BatchBegin).slots[0]
        slot, pasid = granted.slot, granted.pasids[0]
        asked = remote.TranslationRequest(0, 0, pasid, va, write=False)
        honest = remote.AccessRequest(5, slot, MINE, 0, 0, hit=False)
        raw.send(remote.AccessRequests(0, (honest,)))
        early = raw.hear(messages.ErrorReport).code
        raw.send(messages.PageRequests(0, (page_request(pasid, va),)))
        assert raw.hear(messages.ErrorReport).code is ErrorCode.PASID_NOT_GRANTED
        raw.send(remote.BatchWarm(0, 2))
        raw.hear(remote.SlotsStarted)
        raw.send(remote.TranslationRequests(0, (asked,)))
        page = raw.hear(remote.TranslationCompletions).completions[0].page

        heard = {}
        for lie, message in lies(slot, pasid, va, page).items():
            raw.send(message)
            heard[lie] = raw.hear(messages.ErrorReport).code
        raw.send(remote.AccessRequests(0, (msgspec.structs.replace(honest, page=page),)))

        assert {early, *heard.values()} == {ErrorCode.NOT_GRANTED}
        answers = iter(lambda: raw.hear(remote.AccessAnswers).answers[0], None)
        assert next(answer.made for answer in answers if answer.tag == honest.tag)
    assert ground.do("down", "--on", "lab").status == 0


def test_a_flood_of_page_requests_is_held_off(ground: Ground) -> None:
    """More than a device has indices for do not wait; the rest is refused, and the daemon lives."""
    with two_devices(ground) as raw:
        va = raw.hear(messages.LoadProgram).program.locations[B].va & -PAGE_SIZE
        pasid = raw.hear(messages.BatchBegin).slots[0].pasids[0]
        raw.send(remote.BatchWarm(0, 2))
        raw.hear(remote.SlotsStarted)

        for _ in range(3):
            many = (page_request(pasid, va),) * PAGE_REQUESTS_PER_MESSAGE_MAX
            raw.send(messages.PageRequests(0, many))

        assert raw.hear(messages.ErrorReport).code is ErrorCode.NOT_GRANTED
    assert ground.do("down", "--on", "lab").status == 0


def page_request(pasid: int, va: int) -> messages.PageRequest:
    """A request for one page, which closes its group."""
    return messages.PageRequest(0, pasid, va, 0, last=True, read=True, write=False)


@pytest.mark.parametrize(
    "fields",
    [
        [32, 1, [[1, 0, 5, 0x7000_0000_0123, False]]],
        [32, 1, [[1, 0, 5, 1 << 63, False]]],
        [32, 1, [[1, 0, 1 << 20, 0, False]]],
        [32, 1, [[tag, 0, 5, 0, False] for tag in range(1025)]],
        [34, 1, [[1, -1, 0, 0, 1, False]]],
        [34, 1, [[1, 0, 0, 0, 1 << 34, False]]],
        [44, 1, [[1, 0, 0, "../DEV1", 0, False, 0, 1, False]]],
        [44, 1, [[1, 0, 0, "own", 0, True, 1024, 1, False]]],
        [18, 1, [[0, 5, 0, 512, True, True, False]]],
        [17, 1, [[0, 0, 1]]],
    ],
    ids=lambda fields: f"tag {fields[0]}",
)
def test_numbers_out_of_range_never_reach_the_run(fields: list[Any]) -> None:
    """Addresses, PASIDs, lengths and names are refused where the bytes are read."""
    with pytest.raises(RemoteProtocolError):
        codec.decode_device_to_daemon(msgspec.msgpack.encode(fields))


def test_what_is_not_mapped_is_no_translation(ground: Ground) -> None:
    """An address of the agent's own PASID where nothing lies is answered, and is no error."""
    with two_devices(ground) as raw:
        pasid = raw.hear(messages.BatchBegin).slots[0].pasids[0]
        asked = remote.TranslationRequest(6, 0, pasid, 0x1000, write=True)

        raw.send(remote.TranslationRequests(0, (asked,)))

        found = raw.hear(remote.TranslationCompletions).completions[0]
        assert (found.tag, found.read, found.write, found.page) == (6, False, False, 0)
    assert ground.do("down", "--on", "lab").status == 0


@contextmanager
def two_devices(ground: Ground) -> Iterator[RawAgent]:
    """An agent that serves d0 of two devices, by messages, on a testbed that loops a scenario."""
    scenario = ground.root / "two-devices.litmus"
    scenario.write_text(TWO_DEVICES)
    ground.name("lab")
    patient = str(ground.testbed(heartbeat_limit_ms=20_000))
    up = ground.do("up", patient, "--name", "lab", "--load", str(scenario))
    assert up.status == 0, str(up)
    with RawAgent(ground.folder("lab")) as raw:
        raw.hello("liar", serves=("d0",))
        assert raw.hear(messages.Welcome).segment == ""
        yield raw
