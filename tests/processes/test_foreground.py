"""``shootdown daemon`` and ``shootdown agent``: one process each, in the foreground."""

from __future__ import annotations

import json
import signal

from tests.processes.ground import Command, Ground, until


def daemon(ground: Ground, *, agents: int = 1) -> Command:
    """A daemon in the foreground, which knows by its pidfd that an agent has ended, not by silence.

    On a busy machine an agent that ends may be silent for long, and would be killed for it.
    """
    ground.name("fore")
    testbed = ground.testbed(agents=agents, heartbeat_limit_ms=10_000)
    command = ground.start("daemon", str(testbed), "--name", "fore")
    until((ground.folder("fore") / "control").exists, "the daemon is there")
    ground.status("fore")
    return command


def agent(ground: Ground, name: str) -> Command:
    """An agent in the foreground, when it is welcome."""
    command = ground.start("agent", "--name", name)
    until(lambda: name in members(ground), f"{name} has joined")
    return command


def members(ground: Ground) -> list[str]:
    """Agents of the testbed."""
    return [process.name for process in ground.status("fore").processes[1:]]


def answers(ground: Ground, name: str) -> bool:
    """Whether an agent has answered a heartbeat, and so knows that it is welcome."""
    agents = ground.status("fore").processes[1:]
    return any(agent.name == name and agent.counters for agent in agents)


def test_processes_started_one_by_one_make_a_testbed(ground: Ground) -> None:
    """Daemon and agents find each other by name, run a scenario, and end together."""
    first = daemon(ground, agents=2)
    agents = [agent(ground, "one"), agent(ground, "two")]

    ended = ground.run("zap-use-after-free", "--on", "fore", "--discipline", "none")
    first.signal(signal.SIGINT)

    assert ended.status == 1, str(ended)
    assert sorted(path.name for path in (ground.out / "latest" / "history").glob("*.history")) == [
        "daemon.history",
        "one.history",
        "two.history",
    ]
    assert first.end().status == 0
    for command in agents:
        left = command.end()
        assert (left.status, "goodbye" in left.output) == (0, True), str(left)


def test_a_daemon_begins_its_load_by_itself(ground: Ground) -> None:
    """The scenario is looped from when the last agent has joined; a wrong one starts nothing."""
    wrong = ground.do("daemon", "one-agent", "--load", "cow-two-page")
    ground.name("fore")
    first = ground.start("daemon", "one-agent", "--name", "fore", "--load", "cow-two-pages")
    until((ground.folder("fore") / "control").exists, "the daemon is there")
    left = agent(ground, "one")

    until(lambda: ground.counter("fore", "instances") > 0, "the load goes on")

    assert (wrong.status, "cow-two-pages" in wrong.errors) == (2, True), str(wrong)
    first.signal(signal.SIGINT)
    assert (first.end().status, left.end().status) == (0, 0)


def test_a_second_agent_of_one_name_is_refused(ground: Ground) -> None:
    """It says why, exits with 4, and the first is not disturbed."""
    daemon(ground)
    agent(ground, "one")

    second = ground.do("agent", "--name", "one")

    assert second.status == 4, str(second)
    assert "an agent named one is here already" in second.errors
    assert members(ground) == ["one"]
    assert ground.do("down").status == 0
    assert [command.end().status for command in ground.commands[:2]] == [0, 0]


def test_an_agent_with_a_wrong_token_is_refused(ground: Ground) -> None:
    """The token in the testbed's folder is what lets an agent in."""
    daemon(ground)
    record = ground.folder("fore") / "testbed.json"
    right = record.read_text()
    record.write_text(json.dumps({**json.loads(right), "token": "guessed"}))

    refused = ground.do("agent", "--name", "one")

    record.write_text(right)
    assert refused.status == 4, str(refused)
    assert "the token is not this testbed's" in refused.errors
    assert ground.do("down").status == 0
    assert ground.commands[0].end().status == 0


def test_an_agent_can_leave_and_another_take_its_place(ground: Ground) -> None:
    """Ctrl-C ends an agent; the testbed waits for another one, and then runs."""
    first = daemon(ground)
    gone = agent(ground, "one")
    until(lambda: answers(ground, "one"), "it knows that it is welcome")
    gone.signal(signal.SIGINT)
    assert gone.end().status == 4
    until(lambda: members(ground) == [], "the loss is noticed")
    assert "0 of 1 agents" in ground.run("cow-two-pages", "--on", "fore").told["error"]

    second = agent(ground, "one")

    assert ground.run("cow-two-pages", "--on", "fore").status == 0
    assert ground.do("down").status == 0
    assert (first.end().status, second.end().status) == (0, 0)


def test_an_agent_ends_when_its_daemon_is_killed(ground: Ground) -> None:
    """It notices, says so, and exits with 4."""
    first = daemon(ground)
    left = agent(ground, "one")
    until(lambda: answers(ground, "one"), "it knows that it is welcome")

    first.signal(signal.SIGKILL)
    first.process.wait()
    ended = left.end()

    assert ended.status == 4, str(ended)
    assert "the daemon's process has ended" in ended.errors
    assert ground.run("cow-two-pages", instances=20).status in (0, 3)
