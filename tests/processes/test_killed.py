"""Kill anything at any moment: the others notice, say so, exit with 4, and nothing is left."""

from __future__ import annotations

import os
import signal
import time

import pytest
from tests.processes.ground import Command, Ended, Ground, is_alive, until

from shootdown_protocol.history_file import read_history

NOTICE_S = 2.0 + 4.0
"""The testbeds' heartbeat limit, and what it takes to judge and to end on two busy cores."""


def racing(ground: Ground, *words: str) -> Command:
    """A run that goes on until something happens; some of its instances are over."""
    command = ground.start_run("cow-two-pages", *words)
    command.pids()
    until(lambda: counter(ground, command, "instances") > 0, "a batch is over")
    return command


def counter(ground: Ground, command: Command, name: str) -> int:
    """A counter of the daemon of a run's own testbed; 0 before it is there."""
    control = ground.folder(command.testbed) / "control"
    return ground.counter(command.testbed, name) if control.exists() else 0


def assert_failed(ended: Ended, *said: str) -> None:
    """The testbed failed: exit status 4, and the error names who and why."""
    assert ended.status == 4, str(ended)
    for words in said:
        assert words in ended.told["error"], str(ended)
    assert ended.told["verdict"] == "inconclusive"
    assert any("the testbed failed" in reason for reason in ended.told["reasons"])


def records(ground: Ground, name: str) -> int:
    """How many records of a process can be read."""
    return sum(1 for _ in read_history(ground.out / "latest" / "history" / f"{name}.history"))


def test_an_agent_killed_in_the_middle_of_an_invalidation(ground: Ground) -> None:
    """With an invalidation sent and not completed, the agent dies: noticed, said, and ended."""
    command = racing(ground)
    agent = command.pids()["agent0"]
    os.kill(agent, signal.SIGSTOP)
    until(lambda: counter(ground, command, "invalidations_outstanding"), "one is outstanding")

    os.kill(agent, signal.SIGKILL)
    killed = time.monotonic()
    ended = command.end()

    assert time.monotonic() - killed < NOTICE_S
    assert_failed(ended, "agent0 is lost", "killed by SIGKILL")
    assert ended.told["counters"]["unfinished_instances"] > 0
    assert records(ground, "daemon") > 0
    assert records(ground, "agent0") > 0


@pytest.mark.parametrize("victim", ["agent0", "daemon"])
def test_a_process_killed_as_it_starts(ground: Ground, victim: str) -> None:
    """Killed at the very first moment, it is not waited for."""
    command = ground.start_run("cow-two-pages")

    os.kill(command.pids()[victim], signal.SIGKILL)
    killed = time.monotonic()
    ended = command.end()

    assert time.monotonic() - killed < NOTICE_S
    assert ended.status == 4, str(ended)
    assert f"{victim} was killed by SIGKILL" in ended.output + ended.errors


def test_a_daemon_killed_in_the_middle(ground: Ground) -> None:
    """The agents end by themselves, the command says what happened, histories can be read."""
    command = racing(ground)
    pids = command.pids()

    os.kill(pids["daemon"], signal.SIGKILL)
    killed = time.monotonic()
    ended = command.end()

    assert time.monotonic() - killed < NOTICE_S
    assert_failed(ended, "daemon was killed by SIGKILL")
    assert ended.told["instances"] > 0
    assert records(ground, "agent0") > 0
    assert not is_alive(pids["agent0"])


def test_one_of_four_agents_killed(ground: Ground) -> None:
    """The agent that died is the one that is named, and the other three end in order."""
    testbed = str(ground.testbed(agents=4, frames=8192))
    command = racing(ground, "--testbed", testbed)

    os.kill(command.pids()["agent2"], signal.SIGKILL)

    assert_failed(command.end(), "agent2 is lost", "agent3 ended with status 0")


def test_an_agent_that_hangs_is_quarantined(ground: Ground) -> None:
    """A stopped agent shows no sign of life: it is shut out within the limit, and killed."""
    command = racing(ground, "--testbed", str(ground.testbed(heartbeat_limit_ms=800)))

    os.kill(command.pids()["agent0"], signal.SIGSTOP)
    stopped = time.monotonic()
    ended = command.end()

    assert time.monotonic() - stopped < NOTICE_S
    assert ended.status == 3, str(ended)
    (why,) = [reason for reason in ended.told["reasons"] if "quarantined" in reason]
    assert "agent agent0" in why
    assert "limit 800 ms" in why


def test_a_daemon_that_hangs_is_given_up(ground: Ground) -> None:
    """A stopped daemon is noticed by its agents, and by the command through them."""
    command = racing(ground, "--testbed", str(ground.testbed(heartbeat_limit_ms=800)))

    os.kill(command.pids()["daemon"], signal.SIGSTOP)
    stopped = time.monotonic()
    ended = command.end()

    assert time.monotonic() - stopped < 2 * NOTICE_S
    assert_failed(ended, "the daemon has said nothing")
    assert any("silent" in line for line in ended.told["last_words"])


def test_a_command_killed_takes_its_testbed_with_it(ground: Ground) -> None:
    """Daemon and agents notice that nobody waits for them; the next start says what it removed."""
    command = racing(ground)
    command.signal(signal.SIGKILL)
    command.process.wait()

    ground.wait_for_silence()
    assert ground.segments() == []
    assert ground.leftovers() == [command.testbed]

    after = ground.run("cow-two-pages", instances=50)
    assert f"removed what a dead testbed had left: folder {ground.folder(command.testbed)}" in (
        after.errors
    )
    assert ground.leftovers() == []


def test_a_command_killed_as_it_starts_takes_its_testbed_with_it(ground: Ground) -> None:
    """Agents that were not welcomed yet do not wait for a daemon that has ended."""
    command = ground.start_run("cow-two-pages", "--testbed", str(ground.testbed(agents=3)))
    command.pids()

    command.signal(signal.SIGKILL)
    command.process.wait()

    until(lambda: not ground.processes(), "no process is left", NOTICE_S)
    assert ground.run("cow-two-pages", instances=20).status in (0, 3)


def test_a_testbed_killed_whole_is_swept_by_the_next_start(ground: Ground) -> None:
    """Killed all at once, it leaves memory, sockets and folder; the next start removes them."""
    told = ground.up("doomed")
    for pid in (told["daemon"], *told["agents"].values()):
        os.kill(pid, signal.SIGKILL)
    ground.wait_for_silence()
    (segment,) = ground.segments()

    again = ground.do("up", str(ground.testbed()), "--name", "doomed")

    assert again.status == 0, str(again)
    assert f"removed what a dead testbed had left: shared memory {segment}" in again.errors
    assert segment not in ground.segments()
    assert ground.do("down").status == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_in_order_and_judges(ground: Ground, number: signal.Signals) -> None:
    """An interrupted run is judged as far as it went: no violation is inconclusive, never ok."""
    command = racing(ground)

    command.signal(number)
    ended = command.end()

    assert ended.status == 3, str(ended)
    told = ended.told
    assert told["instances"] > 0
    assert told["error"] is None
    assert any("ended early" in reason for reason in told["reasons"])


SLOW = """
import time
from pathlib import Path
from shootdown_daemon.machine.disciplines import ClearFlush as Slow

if Path("loaded").exists():  # The command has looked at it; this is the daemon.
    Path("waiting").touch()
    while not Path("go").exists():
        time.sleep(0.01)
Path("loaded").touch()
"""


def test_a_daemon_told_to_end_while_a_run_is_made(ground: Ground) -> None:
    """A signal that comes in the middle is not forgotten, and the run ends at its next batch."""
    (ground.root / "slow.py").write_text(SLOW)
    command = ground.start_run("cow-two-pages", "--discipline", "slow.py:Slow")
    until((ground.root / "waiting").exists, "the daemon makes the run")

    os.kill(command.pids()["daemon"], signal.SIGTERM)
    (ground.root / "go").touch()
    ended = command.end()

    assert ended.status == 3, str(ended)
    assert any("SIGTERM" in reason for reason in ended.told["reasons"])


def test_ctrl_c_keeps_the_violations_found(ground: Ground) -> None:
    """What was found before the interrupt stays a violation."""
    command = ground.start_run("cow-two-pages", "--discipline", "range_end")
    command.pids()
    until(lambda: counter(ground, command, "instances") > 200, "some batches are over")

    command.signal(signal.SIGINT)

    ended = command.end()
    assert (ended.status, ended.told["verdict"]) == (1, "violation"), str(ended)


def test_ctrl_c_twice_gives_the_run_up(ground: Ground) -> None:
    """A second interrupt does not wait for the batch, and still leaves nothing behind."""
    words = ("--instances", "1000000", "--testbed", str(ground.testbed()))
    command = ground.start("run", "cow-two-pages", *words)
    until(lambda: counter(ground, command, "instances") > 0, "a batch is over")
    os.kill(command.pids()["agent0"], signal.SIGSTOP)
    command.signal(signal.SIGINT)
    errors = command.process.stderr
    assert errors is not None
    until(lambda: "once more" in errors.readline(), "it says what it waits for")

    command.signal(signal.SIGINT)
    ended = command.end()

    assert ended.status == 4, str(ended)
    assert "interrupted twice" in ended.output


def test_ctrl_c_at_the_start_leaves_nothing(ground: Ground) -> None:
    """An interrupt before anything has raced ends what was started and judges nothing."""
    command = ground.start_run("cow-two-pages")
    command.pids()

    command.signal(signal.SIGINT)

    assert command.end().status in (3, 4)
