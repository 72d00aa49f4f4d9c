"""Faults on real processes: each is applied, counted and got over, or its victim is shut out."""

from typing import Any

import pytest
from tests.processes.ground import Ended, Ground, until

from shootdown_protocol.history import Injected
from shootdown_protocol.history_file import read_history

SHORT = """\
agents = {agents}
frames = 4096
instances_per_batch = 64
window = 32
heartbeat_ms = 100
heartbeat_limit_ms = 4000
completion_timeout_ms = 800
drain_timeout_ms = 6000
"""
ELSEWHERE = 'kind = "cpu.preempt"\nthread = "CPU2"\nat = "wp_page_copy.set_pte_at"'
"""A fault that is never applied: the scenario's third CPU does not take that step."""


def hasty(ground: Ground, agents: int) -> str:
    """A testbed that waits for a completion for a short time only."""
    path = ground.root / f"short{agents}.toml"
    path.write_text(SHORT.format(agents=agents))
    return str(path)


def plan(ground: Ground, *faults: str) -> str:
    """A plan of faults, each given as its lines."""
    path = ground.root / "plan.toml"
    path.write_text("".join(f"[[fault]]\n{fault}\n" for fault in faults))
    return str(path)


def injected(ground: Ground, process: str = "daemon") -> list[Injected]:
    """Records of faults in a process's history."""
    path = ground.out / "latest" / "history" / f"{process}.history"
    return [s.record for s in read_history(path) if isinstance(s.record, Injected)]


def run(ground: Ground, *words: str, agents: int = 2, instances: int = 400) -> Ended:
    """Race the seed scenario under the right discipline."""
    where = ("--testbed", hasty(ground, agents))
    return ground.run("cow-two-pages", *where, *words, instances=instances)


def test_whatever_heals_is_got_over(ground: Ground) -> None:
    """Losses are sent again, damage is noticed, holds end: the verdict is as without faults."""
    ended = run(ground, "--fault", "everything-that-heals", instances=1500)

    assert ended.status == 0, str(ended)
    assert all(fault["applied"] for fault in ended.told["faults"]), ended.told["faults"]
    assert ended.told["daemon"]["invalidations_resent"] >= 3
    assert {record.kind for record in injected(ground)} >= {"inv.drop", "cpu.preempt", "clock.jump"}


def test_a_device_that_does_not_answer_is_quarantined(ground: Ground) -> None:
    """It is asked twice; then nothing more is judged, and the run says so: it is inconclusive."""
    ended = run(ground, "--fault", plan(ground, 'kind = "completion.never"'), agents=1)

    assert ended.status == 3, str(ended)
    assert any("agent0 is quarantined" in reason for reason in ended.told["reasons"])
    assert ended.told["error"] is None


def test_an_agent_behind_a_long_partition_is_quarantined(ground: Ground) -> None:
    """Neither hears the other beyond the limit: it is the daemon that notices, and a verdict."""
    testbed = ground.testbed(heartbeat_limit_ms=500)
    faults = plan(ground, 'kind = "link.partition"\nms = 3000\ncount = 1')

    ended = ground.run("cow-two-pages", "--testbed", str(testbed), "--fault", faults, instances=400)

    assert ended.status == 3, str(ended)
    (why,) = [reason for reason in ended.told["reasons"] if "quarantined" in reason]
    assert "limit 500 ms" in why


@pytest.mark.parametrize("agents", [1, 2])
def test_after_a_fault_has_killed_an_agent_the_run_goes_on(ground: Ground, agents: int) -> None:
    """What it was in, if anything, is cut off; all else is judged with its next process."""
    ended = run(ground, "--fault", plan(ground, 'kind = "agent.kill"\ncount = 1'), agents=agents)

    lost = ended.told["counters"]["unfinished_instances"]
    assert ended.status == (3 if lost else 0), str(ended)
    assert ended.told["faults"][0]["applied"] == 1
    assert (ended.told["instances"] + lost, lost <= 64) == (400, True)
    said = "cut off (the first by agent.kill: agent" in str(ended.told["reasons"])
    assert said == bool(lost)


def test_a_run_waits_for_an_agent_that_is_started_anew(ground: Ground) -> None:
    """The agent is killed in the only batch of a run; the next run is asked for meanwhile."""
    hold = 'kind = "cpu.preempt"\nat = "wp_page_copy.set_pte_at"\nms = 600\ncount = 1'
    ground.up("one", "--fault", plan(ground, hold, 'kind = "agent.kill"\ncount = 1'))
    assert ground.do("fault", "add", "agent.late_join", "--ms", "2500").status == 0
    first = ground.run("cow-two-pages", "--on", ground.name("one"), instances=20)
    assert first.told["counters"]["unfinished_instances"] == 20, str(first)

    second = ground.run("cow-two-pages", "--on", ground.name("one"), instances=20)

    assert second.status in {0, 3}, str(second)
    assert (second.told["instances"], second.told["error"]) == (20, None)
    assert ground.do("down").status == 0


def test_an_agent_is_started_anew(ground: Ground) -> None:
    """It is killed, its next process goes on; no instance is lost, and all histories are read."""
    faults = (f'kind = "agent.restart{how}"\ncount = 1' for how in ("", "_warm"))

    ended = run(ground, "--fault", plan(ground, *faults), agents=1, instances=300)

    assert ended.status == 0, str(ended)
    assert (ended.told["instances"], ended.told["counters"]["unfinished_instances"]) == (300, 0)
    assert {each.kind for each in injected(ground)} == {"agent.restart", "agent.restart_warm"}
    folder = ground.out / "latest" / "history"
    kept = [len(list(read_history(folder / f"agent0{n}.history"))) for n in ("", "_r001", "_r002")]
    assert any(kept[1:]), "one of those that took its place has made a step"


def test_a_dead_thread_holds_nobody_up(ground: Ground) -> None:
    """Its locks are broken, its instance is not judged, and all others are."""
    ended = run(ground, "--fault", plan(ground, 'kind = "cpu.die"\ncount = 3'))

    assert ended.status == 3, str(ended)
    assert ended.told["instances"] == 397
    assert ended.told["counters"]["unfinished_instances"] == 3
    assert sum(record.cut_off for record in injected(ground)) == 3
    (reason,) = ended.told["reasons"]
    assert "3 instances were cut off (the first by cpu.die: CPU" in reason
    assert ", holding " in reason


def test_what_a_dead_thread_left_undone_holds_nobody_up(ground: Ground) -> None:
    """A device asks for a page that is migrated for ever, and is answered all the same."""
    fault = 'kind = "cpu.die"\nat = "remove_migration_pte.pte_offset_map_lock"\ncount = 20'
    words = ("--fault", str(plan(ground, fault)))

    ended = ground.run("device-migration", *words, instances=200)

    assert ended.status == 3, str(ended)
    assert ended.told["counters"]["unfinished_instances"] == 20
    assert "20 instances were cut off" in ended.told["reasons"][0]


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_crash_at_a_commit_point_leaves_a_history(ground: Ground, when: str) -> None:
    """The testbed has failed, and what was recorded until then can be read to its last record."""
    fault = f'kind = "daemon.crash_{when}"\nthread = "CPU1"\nat = "wp_page_copy.set_pte_at"'

    ended = run(ground, "--fault", plan(ground, fault), agents=1)

    assert ended.status == 4, str(ended)
    (record,) = injected(ground)
    assert record.kind == f"daemon.crash_{when}"


def test_a_faulty_device_is_caught(ground: Ground) -> None:
    """One that completes and keeps what it should drop shows in the values that it reads."""
    ended = run(ground, "--fault", plan(ground, 'kind = "agent.stale"\nprob = 0.5'))

    assert ended.status == 1, str(ended)
    assert any(finding["check"] in {"S1", "S2"} for finding in ended.told["findings"])


def test_a_fault_that_never_fired_is_said_aloud(ground: Ground) -> None:
    """A run that was to show something and did not is not ok."""
    ended = run(ground, "--fault", plan(ground, ELSEWHERE), instances=100)

    assert ended.status == 3, str(ended)
    assert "fault 1 was never applied: cpu.preempt --thread CPU2" in ended.errors
    assert ended.told["faults"][0]["applied"] == 0


def test_a_run_is_judged_by_its_own_faults_only(ground: Ground) -> None:
    """On a testbed that stays, what another run's plan did or did not is not this run's."""
    ground.up("one")
    run_on = ("cow-two-pages", "--on", "one")
    never = ground.run(*run_on, "--fault", plan(ground, ELSEWHERE))
    assert never.status == 3, str(never)

    plain = ground.run(*run_on)
    assert ground.do("fault", "add", "inv.delay", "--ms", "1").status == 0
    counts = [ground.run(*run_on).told["faults"][0]["applied"] for _ in range(2)]

    assert (plain.status, plain.told["faults"]) == (0, []), str(plain)
    assert all(counts)
    assert [fault["applied"] for fault in faults(ground)] == [0, sum(counts)]
    assert ground.do("down").status == 0


def test_agents_do_not_exceed_a_count_together(ground: Ground) -> None:
    """Of a fault that each of them applies to its own devices, each has a share."""
    slow = 'kind = "agent.slow_walk"\nms = 1\ncount = 3'

    ended = run(ground, "--fault", plan(ground, slow))

    assert [fault["applied"] for fault in ended.told["faults"]] == [3], str(ended)
    assert [len(injected(ground, f"agent{number}")) for number in range(2)] in ([2, 1], [1, 2])


def test_a_thread_is_paused_at_a_step_until_it_is_healed(ground: Ground) -> None:
    """The fault is listed with how often it was applied; healing clears it and lets all go on."""
    ground.up("one", "--load", "cow-two-pages")

    added = ground.do("fault", "at", "CPU0:wp_page_copy.set_pte_at", "pause", "--json")
    assert added.status == 0, str(added)
    until(lambda: faults(ground)[0]["applied"], "it was applied")
    before = ground.counter("one", "instances")
    assert not faults(ground)[0]["healed"], "a thread is held"
    assert "1 fault has ended, and it still holds" in ground.do("fault", "clear").output
    healed = ground.do("fault", "heal", "--json")

    assert (healed.status, healed.told["faults"][0]["number"]) == (0, 1), str(healed)
    assert faults(ground)[0]["healed"]
    assert ground.do("heal").output == "nothing to heal: 1 fault has ended and nothing is held\n"
    until(lambda: ground.counter("one", "instances") > before, "the load goes on")
    assert ground.do("down").status == 0


def test_a_batch_that_does_not_end_says_who_waits(ground: Ground) -> None:
    """The limit is named, and so are a thread, its instance and the step that it waits at."""
    hold = 'kind = "cpu.preempt"\nat = "wp_page_copy.put_page"\nms = 60000\ncount = 1'

    ended = run(ground, "--fault", plan(ground, hold), agents=1, instances=64)

    assert ended.status == 4, str(ended)
    assert "still running after 6000 ms" in ended.told["error"]
    assert "waits at wp_page_copy.put_page" in ended.told["error"]


def test_a_fault_that_is_cleared_unapplied_is_an_error(ground: Ground) -> None:
    """It is said aloud, and so is a number, an agent or a step that there is not."""
    ground.up("one")
    assert ground.do("fault", "clear").output == "nothing to clear: no fault has been added\n"
    assert ground.do("fault", "add", "inv.drop", "--agent", "0", "--count", "3").status == 0

    cleared = ground.do("fault", "clear")
    again = ground.do("fault", "clear", "--number", "1")
    absent = ground.do("fault", "clear", "--number", "99")
    nobody = ground.do("fault", "add", "inv.drop", "--agent", "agent7")
    wrong = ground.do("fault", "at", "CPU0:wp_page_copy.set_pte", "pause")

    assert (cleared.status, "was never applied" in cleared.errors) == (3, True), str(cleared)
    assert again.output == "nothing to clear: fault 1 has ended and nothing is held\n"
    assert "saw 99; expected a fault's number (1)" in absent.errors
    assert (absent.status, nobody.status, wrong.status) == (2, 2, 2)
    assert "did you mean agent0" in nobody.errors
    assert "did you mean wp_page_copy.set_pte_at" in wrong.errors
    assert ground.do("down").status == 0


def faults(ground: Ground) -> list[dict[str, Any]]:
    """What ``fault list`` tells of the only testbed."""
    listed: list[dict[str, Any]] = ground.do("fault", "list", "--json").told["faults"]
    return listed
