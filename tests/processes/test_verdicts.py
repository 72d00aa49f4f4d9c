"""A run on real processes: verdict, exit status, and what it says and leaves for a reader."""

from __future__ import annotations

import json

from tests.processes.ground import Ground, is_alive
from tests.verify.trace_format import faults_of

from shootdown_protocol.history_file import read_history

KEYS = {
    "command",
    "scenario",
    "discipline",
    "verdict",
    "instances",
    "violations",
    "weakest_model",
    "seed",
    "histogram",
    "counters",
    "elapsed_s",
    "out",
}
COUNTERS = {
    "invalidations_sent",
    "invalidations_completed",
    "atc_hits",
    "atc_misses",
    "walks",
    "page_requests",
    "stale_eligible_hits",
    "overlapped_instances",
}


def test_deferring_the_notification_is_a_violation(ground: Ground) -> None:
    """The founding scenario under ``range_end``: violations, and exit status 1."""
    ended = ground.run("cow-two-pages", "--discipline", "range_end", "--seed", "7", instances=600)

    assert ended.status == 1, str(ended)
    told = ended.told
    assert told.keys() >= KEYS
    assert told["counters"].keys() >= COUNTERS
    assert (told["command"], told["scenario"], told["seed"]) == ("run", "cow-two-pages", 7)
    assert (told["verdict"], told["instances"]) == ("violation", 600)
    assert told["violations"] > 0
    assert told["weakest_model"] == "real-time"
    assert sum(told["histogram"].values()) == 600


def test_notifying_under_the_lock_is_ok(ground: Ground) -> None:
    """Under ``clear_flush`` the same scenario is ok, exit status 0, with evidence of the race."""
    ended = ground.run("cow-two-pages", instances=600)

    assert ended.status == 0, str(ended)
    told = ended.told
    assert (told["verdict"], told["discipline"], told["violations"]) == ("ok", "clear_flush", 0)
    counters = told["counters"]
    assert counters["invalidations_completed"] == counters["invalidations_sent"] >= 600
    assert min(counters["atc_hits"], counters["stale_eligible_hits"]) > 0
    assert counters["overlapped_instances"] > 0


def test_four_agents_give_the_same_verdicts(ground: Ground) -> None:
    """Where devices live does not matter: a violation stays one, and right stays right."""
    wrong = ground.run("zap-use-after-free", "--discipline", "range_end", "--testbed", four(ground))
    right = ground.run("zap-use-after-free", "--testbed", four(ground), instances=300)

    assert (wrong.status, wrong.told["verdict"]) == (1, "violation"), str(wrong)
    assert (right.status, right.told["verdict"]) == (0, "ok"), str(right)


def four(ground: Ground) -> str:
    """A testbed of four agents."""
    return str(ground.testbed(agents=4, frames=8192))


def test_the_run_directory_says_it_all(ground: Ground) -> None:
    """Verdict, report, command and histories lie in it, and ``latest`` points to it."""
    ended = ground.run("cow-two-pages", "--discipline", "none", "--option", "iotlb=on")

    out = ground.root / ended.told["out"]
    assert (ground.out / "latest").resolve() == out.resolve()
    assert json.loads((out / "verdict.json").read_text()) == ended.told
    again = (out / "command").read_text()
    assert "shootdown run cow-two-pages --discipline none --option iotlb=on" in again
    assert "cow-two-pages under none" in (out / "report.txt").read_text()
    assert "cow-two-pages under none" in (out / "report.html").read_text()
    assert faults_of(json.loads((out / "trace.json").read_text())) == []
    assert json.loads((out / "history" / "run.json").read_text())["seed"] == 1
    for name in ("daemon", "agent0"):
        assert any(True for _ in read_history(out / "history" / f"{name}.history"))
        first, *_ = (out / "logs" / f"{name}.log").read_text().splitlines()
        assert json.loads(first)["process"] == name
        assert (out / "logs" / f"{name}.stderr").read_text() == ""


def test_pids_are_there_while_the_processes_are(ground: Ground) -> None:
    """``pids.json`` names daemon and agents from the moment that they exist."""
    command = ground.start_run("cow-two-pages", "--testbed", four(ground), instances=200)

    pids = command.pids()

    assert sorted(pids) == ["agent0", "agent1", "agent2", "agent3", "daemon"]
    assert all(is_alive(pid) for pid in pids.values())
    assert command.end().status in (0, 3)


def test_a_person_sees_verdict_timeline_and_histogram(ground: Ground) -> None:
    """Without ``--json`` the report is for reading, and progress goes to standard error."""
    testbed = str(ground.testbed())
    ended = ground.do(
        *("run", "zap-use-after-free", "--discipline", "none", "--instances", "300"),
        *("--testbed", testbed),
    )

    assert ended.status == 1, str(ended)
    for said in ("VIOLATION", "first violation", "why", "Histogram", "Observation", "repeat"):
        assert said in ended.output
    assert "judging" in ended.errors
    assert "judging" not in ended.output


COLD = """\
SHOOTDOWN cold
"Nothing was cached before, so nothing can have been stale."
{
  A = 0 cow;
}
 CPU0           | CPU1                    | DEV0      ;
 wp_page_copy A | store A 1 when writable | load A r0 ;
forbidden DEV0:r0=1 /\\ A=0
weakest none
caught none : S2
"""


def test_a_run_without_a_race_is_inconclusive(ground: Ground) -> None:
    """When nothing wrong could have been seen, the verdict is not ok and says why."""
    scenario = ground.root / "cold.litmus"
    scenario.write_text(COLD)

    ended = ground.run(str(scenario), instances=100)

    assert ended.status == 3, str(ended)
    assert ended.told["verdict"] == "inconclusive"
    assert any("warm hit" in reason for reason in ended.told["reasons"])


HOPE = """\
SHOOTDOWN hope
"A store that waits for a page that nobody frees."
{
  A = 0 rw;
  atc DEV0 A;
}
 CPU0               | CPU1                 | DEV0      ;
 change_pte_range A | store A 1 when freed | load A r0 ;
forbidden DEV0:r0=1
weakest none
caught none : S2
"""


def test_a_hope_that_never_comes_true_is_no_deadlock(ground: Ground) -> None:
    """What the scenario waits for in vain leaves the run inconclusive, as it does the explorer."""
    scenario = ground.root / "hope.litmus"
    scenario.write_text(HOPE)

    ended = ground.run(str(scenario), instances=100)

    assert ended.status == 3, str(ended)
    assert ended.told["findings"] == []
    assert "nothing moves any more: CPU1" in ended.told["reasons"][0]


def test_a_deadlock_is_a_violation(ground: Ground) -> None:
    """Where nothing can ever move again the run ends at once, and says who waits for ever."""
    words = ("--device", "drain_waits_for_translation")

    ended = ground.run("drain-deadlock", *words, instances=200)

    assert ended.status == 1, str(ended)
    assert {finding["check"] for finding in ended.told["findings"]} == {"S5"}
    assert "nothing moves any more: CPU" in ended.told["reasons"][0]
