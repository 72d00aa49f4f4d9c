"""Devices that come and go while a testbed runs: whoever serves one, the testbed goes on."""

from __future__ import annotations

import json
import signal

import pytest
from tests.processes.ground import Command, Ground, until

WRONG = "ignores_invalidation"


def attach(ground: Ground, spec: str, *words: str) -> Command:
    """Serve the only device of the testbed ``lab``; returns when the daemon has welcomed it."""
    command = ground.start("attach", spec, "--as", "DEV0", "--on", "lab", "--json", *words)
    assert command.process.stdout is not None
    told = json.loads(command.process.stdout.readline())
    assert told["device"] == "DEV0"
    return command


def agents(ground: Ground) -> int:
    """How many agents the testbed has now."""
    return len(ground.status("lab").processes) - 1


def test_an_attached_device_is_judged_and_a_detached_one_no_more(ground: Ground) -> None:
    """It serves its columns in runs on the testbed until Ctrl-C hands them back."""
    ground.up("lab", "--load", "cow-two-pages")
    wrong = attach(ground, WRONG)

    caught = ground.run("cow-two-pages", "--on", "lab", instances=500)
    wrong.signal(signal.SIGINT)
    left = wrong.end()
    right = ground.run("cow-two-pages", "--on", "lab", instances=500)

    assert (caught.status, left.status, right.status) == (1, 0, 0), f"{caught}{left}{right}"
    assert "detached" in left.errors
    assert ground.do("down", "--on", "lab").status == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda n: n.name)
def test_a_load_goes_on_when_an_attached_agent_goes(ground: Ground, number: signal.Signals) -> None:
    """In order or killed, its device is the testbed's own again and instances are made."""
    ground.up("lab", "--load", "cow-two-pages")
    command = attach(ground, WRONG)
    until(lambda: ground.counter("lab", "instances") > 0, "the load runs with it")

    command.signal(number)
    command.end()

    until(lambda: agents(ground) == 1, "it is no member any more")
    until(lambda: ground.counter("lab", "instances") > 0, "the load runs without it")
    assert ground.do("down", "--on", "lab").status == 0


def test_detaching_in_a_run_ends_it_in_order(ground: Ground) -> None:
    """The run under way ends after its batch, and does not pretend to be whole."""
    ground.up("lab", "--load", "cow-two-pages")
    command = attach(ground, "completes_before_drain")
    run = ground.start_run("zap-use-after-free", "--on", "lab")
    until(lambda: ground.status("lab").scenario == "zap-use-after-free", "the run has begun")

    command.signal(signal.SIGTERM)
    left, ended = command.end(), run.end()

    assert left.status == 0, str(left)
    assert ended.status in (1, 3), str(ended)
    assert ended.status == 1 or "detached" in " ".join(ended.told["reasons"])
    assert ground.do("down", "--on", "lab").status == 0


def test_a_device_that_cannot_be_served_is_refused_with_the_reason(ground: Ground) -> None:
    """No such device, one that is busy, and a testbed that runs nothing: each says so."""
    ground.up("idle")
    idle = ground.do("attach", WRONG, "--as", "DEV0", "--on", "idle")
    ground.do("down", "--on", "idle")
    ground.up("lab", "--load", "cow-two-pages")
    command = attach(ground, WRONG)

    nobody = ground.do("attach", WRONG, "--as", "DEV9", "--on", "lab")
    busy = ground.do("attach", WRONG, "--as", "d0", "--on", "lab")
    wrong = ground.do("attach", "ignores_invalidatoin", "--as", "DEV0", "--on", "lab")

    assert [each.status for each in (idle, nobody, busy, wrong)] == [2, 2, 2, 2]
    assert "runs no scenario" in idle.errors
    assert "did you mean DEV" in nobody.errors
    assert "serves device d0 already" in busy.errors
    assert "did you mean ignores_invalidation?" in wrong.errors
    command.signal(signal.SIGINT)
    assert command.end().status == 0
    assert ground.do("down", "--on", "lab").status == 0
