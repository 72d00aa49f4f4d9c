"""Testbeds that stay: ``up``, ``status``, ``run --on``, ``down``; loads; several at once."""

from __future__ import annotations

import json
import os
import signal

import pytest
from tests.processes.ground import Ended, Ground, is_alive, until

from shootdown_cli import client, staying

HEAVY = {
    "asyncio",
    "dataclasses",
    "difflib",
    "inspect",
    "rich",
    "shutil",
    "structlog",
    "subprocess",
    "tempfile",
    "typer",
    "shootdown_cli.run",
    "shootdown_daemon.machine",
    "shootdown_daemon.shell.running",
    "shootdown_device_agent.machine",
    "shootdown_device_agent.shell.batches",
    "shootdown_protocol.refusal",
    "shootdown_protocol.registry",
    "shootdown_verify.explore",
    "shootdown_verify.judge",
    "shootdown_verify.litmus",
}
"""What a command that races, explores or explains may take its time to import."""


def state(ground: Ground, name: str) -> str:
    """What the daemon of a testbed is doing."""
    return ground.status(name).processes[0].state.value


def test_a_testbed_stays_until_it_is_told_to_end(ground: Ground) -> None:
    """It outlives ``up``, tells of every process, runs what it is given, and ends whole."""
    told = ground.up("stays", agents=2)
    status = ground.do("status", "--json")
    first = ground.run("cow-two-pages", "--on", "stays")
    again = ground.run("zap-use-after-free", "--on", "stays", "--discipline", "range_end")
    down = ground.do("down")

    pids = {"daemon": told["daemon"], **told["agents"]}
    assert {p["name"]: p["pid"] for p in status.told["processes"]} == pids
    assert {p["state"] for p in status.told["processes"]} == {"idle"}
    assert (first.status, again.status) == (0, 1), f"{first}{again}"
    written = json.loads((ground.root / first.told["out"] / "pids.json").read_text())
    assert {"daemon": written["daemon"], **written["agents"]} == pids
    assert (down.status, down.output) == (0, f"{ground.name('stays')} is down\n")
    until(lambda: not any(is_alive(pid) for pid in pids.values()), "all have ended")


def test_up_imports_only_what_a_testbed_needs_to_be_ready(ground: Ground) -> None:
    """The way from command to ready is mostly imports: none of these is on it."""
    ground.env["PYTHONPROFILEIMPORTTIME"] = "1"

    ended = ground.do("up", str(ground.testbed()), "--name", ground.name("lean"))

    imported = {line.rpartition("|")[2].strip() for line in ended.errors.splitlines()}
    assert {"zmq", "shootdown_device_agent.shell.agent"} <= imported
    assert HEAVY & imported == set()
    assert ground.do("down").status == 0


def test_status_is_for_reading_too(ground: Ground) -> None:
    """Without ``--json`` it is a line a process."""
    ground.up("read")

    ended = ground.do("status")

    first, *rest = ended.output.splitlines()
    assert first == f"{ground.name('read')}: idle"
    assert [line.split()[0] for line in rest] == ["daemon", "agent0"]
    assert ground.do("down").status == 0


def test_top_looks_on_until_the_testbed_ends(ground: Ground) -> None:
    """It says how fast all goes and what is published meanwhile, and ends with the testbed."""
    ground.up("watched", "--load", "cow-two-pages")
    looking = ground.start("top", "--on", ground.name("watched"))
    lines = looking.process.stdout
    assert lines is not None
    assert any("/s)" in line for line in lines)

    assert ground.do("fault", "add", "agent.kill", "--agent", "agent0").status == 0
    assert any("agent_restarted: agent agent0" in line for line in lines)
    assert ground.do("down").status == 0

    assert any(line == f"{ground.name('watched')} has ended\n" for line in lines)
    assert looking.end().status == 0


def test_a_load_makes_way_for_a_run(ground: Ground) -> None:
    """A load goes on until ``down``; a run takes its place for a while, and it goes on again."""
    ground.up("loaded", "--load", "cow-two-pages")
    until(lambda: ground.counter("loaded", "instances") > 0, "the load runs")

    ended = ground.run("zap-use-after-free", "--on", "loaded", "--discipline", "none")

    assert ended.status == 1, str(ended)
    assert (ended.told["scenario"], ended.told["instances"]) == ("zap-use-after-free", 300)
    until(lambda: ground.status("loaded").scenario == "cow-two-pages", "the load goes on")
    assert ground.do("down").status == 0


def test_a_load_that_has_ended_is_told_with_its_reason(ground: Ground) -> None:
    """When an agent is lost, ``status`` says so, and so does whoever wants to run."""
    lost = ground.up("broken", "--load", "cow-two-pages", agents=2)["agents"]["agent1"]
    until(lambda: ground.counter("broken", "instances") > 0, "the load runs")
    assert ground.status("broken").load_ended == ""

    os.kill(lost, signal.SIGKILL)
    until(lambda: state(ground, "broken") == "idle", "the load has ended")
    told = ground.do("status", "--json").told
    refused = ground.run("cow-two-pages", "--on", "broken")

    assert told["load_ended"] == "agent agent1 is lost: its process has ended"
    assert f"  the load has ended: {told['load_ended']}\n" in ground.do("status").output
    assert refused.told["error"].endswith(f"; the load has ended: {told['load_ended']}")
    assert ground.do("down").status == 0


def test_a_testbed_runs_one_scenario_at_a_time(ground: Ground) -> None:
    """A second asker is told that it is busy, and the first is not disturbed."""
    ground.up("busy")
    first = ground.start_run("cow-two-pages", "--on", "busy")
    until(lambda: state(ground, "busy") == "running", "the first run has begun")

    second = ground.run("cow-two-pages", "--on", "busy")
    first.signal(signal.SIGINT)

    assert (second.status, second.output) == (2, ""), str(second)
    assert "busy with cow-two-pages; expected a testbed that is free: wait" in second.errors
    assert first.end().status == 3
    (folder,) = (path for path in ground.out.glob("2*") if path.name.endswith("-cow-two-pages"))
    assert (ground.out / "latest").resolve() == folder.resolve()
    assert ground.do("down").status == 0


def test_a_run_whose_command_was_killed_is_dropped(ground: Ground) -> None:
    """A testbed that stays does not finish what nobody waits for: it is soon free again."""
    ground.up("dropped")
    asker = ground.start_run("cow-two-pages", "--on", "dropped")
    until(lambda: state(ground, "dropped") == "running", "the run has begun")

    asker.signal(signal.SIGKILL)
    asker.process.wait()

    until(lambda: state(ground, "dropped") == "idle", "the testbed is free again")
    assert ground.run("cow-two-pages", "--on", "dropped", instances=50).status in (0, 3)
    assert ground.do("down").status == 0


def test_ending_a_testbed_ends_its_run(ground: Ground) -> None:
    """``down`` in the middle of a run: the run is judged as far as it went, and says why."""
    ground.up("ended")
    run = ground.start_run("cow-two-pages", "--on", "ended")
    until(lambda: ground.counter("ended", "instances") > 0, "a batch is over")

    down = ground.do("down")

    assert down.status == 0, str(down)
    ended = run.end()
    assert ended.status == 3, str(ended)
    assert any("shootdown down" in reason for reason in ended.told["reasons"])


@pytest.mark.parametrize(
    ("victim", "said"), [("daemon", "has ended"), ("agent0", "agent0 is lost")]
)
def test_a_death_under_a_run_is_told_to_its_asker(ground: Ground, victim: str, said: str) -> None:
    """Who runs on another's testbed is told too when a process of it is killed."""
    told = ground.up("dies")
    run = ground.start_run("cow-two-pages", "--on", "dies")
    until(lambda: ground.counter("dies", "instances") > 0, "a batch is over")

    os.kill({"daemon": told["daemon"], **told["agents"]}[victim], signal.SIGKILL)
    ended = run.end()

    assert ended.status == 4, str(ended)
    assert said in ended.told["error"]
    clean(ground, daemon_lives=victim != "daemon")


def clean(ground: Ground, *, daemon_lives: bool) -> None:
    """End what is left, or let the next start sweep it."""
    if daemon_lives:
        assert ground.do("down").status == 0
    else:
        ground.wait_for_silence()
        assert ground.run("cow-two-pages", instances=20).status in (0, 3)


def test_a_testbed_that_lost_an_agent_says_so(ground: Ground) -> None:
    """It lives on, its status shows who is left, and it refuses to run until somebody joins."""
    told = ground.up("lame", agents=2)
    os.kill(told["agents"]["agent1"], signal.SIGKILL)
    until(lambda: len(ground.status("lame").processes) == 2, "the loss is noticed")

    ended = ground.run("cow-two-pages", "--on", "lame")

    assert ended.status == 4, str(ended)
    assert "1 of 2 agents have joined" in ended.told["error"]
    assert ground.do("down").status == 0


def test_a_daemon_that_hangs_is_ended_by_down(
    ground: Ground, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """``down`` kills a daemon that does not answer, and removes what it leaves."""
    told = ground.up("hung")
    os.kill(told["daemon"], signal.SIGSTOP)
    monkeypatch.setenv("SHOOTDOWN_RUNTIME_DIR", str(ground.runtime))
    monkeypatch.setattr(client, "ANSWER_S", 1.0)

    assert staying.down(ground.name("hung")) == 0

    assert "hung and was killed" in capsys.readouterr().out


def test_two_testbeds_do_not_meet(ground: Ground) -> None:
    """Side by side each runs its own scenario; a command that names none must choose."""
    ground.up("left")
    ground.up("right")
    left = ground.start_run("cow-two-pages", "--on", "left", instances=300)
    right = ground.start_run(
        *("zap-use-after-free", "--on", "right", "--discipline", "none"), instances=300
    )
    own = ground.start_run("mprotect-deferred", instances=300)

    verdicts = [command.end().told["verdict"] for command in (left, right, own)]

    assert verdicts == ["ok", "violation", "ok"]
    vague = ground.do("status")
    both = f"{ground.name('left')}, {ground.name('right')}"
    assert (vague.status, both in vague.errors) == (2, True)
    assert [ground.do("down", "--on", name).status for name in ("left", "right")] == [0, 0]


def test_a_name_can_be_had_once(ground: Ground) -> None:
    """A second testbed of one name is refused and the first goes on."""
    ground.up("mine")

    again = ground.do("up", "one-agent", "--name", "mine")

    assert again.status == 2, str(again)
    assert ground.name("mine") in again.errors
    assert state(ground, "mine") == "idle"
    assert ground.do("down").status == 0


BREAKS = '''
from shootdown_daemon.machine.disciplines import Discipline


class Breaks(Discipline):
    """Works a few times, then does not."""

    times = 0

    async def clear_flush(self, cpu, span):
        Breaks.times += 1
        if Breaks.times > 40:
            raise ZeroDivisionError("planted")
        await cpu.arch_invalidate_secondary_tlbs(span)
'''


def broken(ground: Ground) -> str:
    """A discipline that raises after a while."""
    (ground.root / "breaks.py").write_text(BREAKS)
    return "breaks.py:Breaks"


def says_what_broke(ended: Ended) -> bool:
    """Whether a run failed and names the user's error and its line."""
    told = ended.told
    return (
        ended.status == 4
        and "ZeroDivisionError: planted (breaks.py, line 13" in told["error"]
        and told["verdict"] == "inconclusive"
    )


def test_an_error_in_a_discipline_ends_the_run_only(ground: Ground) -> None:
    """What a user's hook raises is shown with its place, and the daemon goes on."""
    ground.up("robust")

    ended = ground.run("cow-two-pages", "--on", "robust", "--discipline", broken(ground))

    assert says_what_broke(ended), str(ended)
    assert ground.run("cow-two-pages", "--on", "robust", instances=100).status in (0, 3)
    assert ground.do("down").status == 0


def test_a_load_that_breaks_is_not_tried_again(ground: Ground) -> None:
    """A load whose discipline raises ends, and the testbed is idle."""
    ground.up("loaded", "--load", "cow-two-pages", "--discipline", broken(ground))

    log = ground.out / "latest" / "logs" / "daemon.log"
    until(lambda: "ZeroDivisionError" in log.read_text(), "the load has ended, and the log says so")

    assert state(ground, "loaded") == "idle"
    assert log.read_text().count("run_started") == 1
    assert ground.do("down").status == 0


LATE = '''
from shootdown_daemon.machine.disciplines import Discipline


class Late(Discipline):
    """Notifies at range_end: too late for COW."""

    async def range_end(self, cpu, span):
        await cpu.arch_invalidate_secondary_tlbs(span)
'''


def test_a_discipline_of_ones_own_is_judged(ground: Ground) -> None:
    """``FILE.py:Class`` is found from where the command runs, also by a testbed elsewhere."""
    (ground.root / "late.py").write_text(LATE)
    ground.up("own")

    ended = ground.run(
        *("cow-message-passing", "--on", "own", "--discipline", "late.py:Late"), instances=1000
    )

    assert ended.status == 1, str(ended)
    assert ended.told["discipline"] == "late.py:Late"
    assert ground.do("down").status == 0
