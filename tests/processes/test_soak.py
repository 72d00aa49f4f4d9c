"""A soak is repeated by its seed, counts what it did, and cannot overlook a broken promise."""

import json
import signal
from dataclasses import replace

import pytest
from tests.processes.ground import Ground, until

from shootdown_cli.faults import shipped_scenarios
from shootdown_cli.scenarios import load_scenario
from shootdown_cli.soak.drawing import LIVE, Round, draw_round
from shootdown_cli.soak.judging_rounds import Outcome
from shootdown_cli.soak.soaking import shrink
from shootdown_daemon.machine.disciplines import DISCIPLINES
from shootdown_protocol.faults import Fault, misfits

SCENARIOS = [load_scenario(str(path)) for path in shipped_scenarios()[:4]]


def test_a_round_is_repeated_by_its_seed(ground: Ground) -> None:
    """One round on real processes: it keeps what is promised, and bad messages are refused."""
    ended = ground.do("soak", "--seed", "3", "--rounds", "1", "--json", wait_s=60)

    assert ended.status == 0, str(ended)
    told = json.loads(ended.output)
    assert (told["rounds"], told["failed_seeds"], told["leaks"], told["hangs"]) == (1, [], 0, 0)
    assert told["bad_messages_refused"] > 0


def test_an_interrupted_soak_tells_what_it_did(ground: Ground) -> None:
    """Ctrl-C ends the round that runs, loses no count and leaves nothing."""
    command = ground.start("soak", "--seed", "3", "--minutes", "5")
    lines = command.process.stdout
    assert lines is not None
    until(lambda: "kept" in lines.readline(), "a round is over")

    command.signal(signal.SIGINT)
    ended = command.end()

    assert ended.status == 3, str(ended)
    assert "leaks 0, hangs 0, promises broken in 0 rounds" in ended.output
    assert "interrupted" in ended.errors


def test_a_seed_draws_one_round() -> None:
    """Faults and all; each of them makes sense, and no kind is left out."""
    drawn = [draw_round(seed, SCENARIOS, sorted(DISCIPLINES)) for seed in range(len(LIVE))]

    assert drawn == [draw_round(seed, SCENARIOS, sorted(DISCIPLINES)) for seed in range(len(LIVE))]
    faults = [fault for each in drawn for fault in each.faults]
    assert {fault.kind for fault in faults} == {kind.name for kind in LIVE}
    assert not [misfit for fault in faults for misfit in misfits(fault)]


def test_a_failing_plan_is_shrunk_to_the_fault_that_matters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is left out makes no difference; what breaks another promise does not count."""
    kinds = ("inv.drop", "agent.kill", "link.clog", "mem.pressure")
    drawn = draw_round(1, SCENARIOS, ["none"])
    drawn = replace(drawn, faults=tuple(Fault(kind) for kind in kinds))

    def run_round(round_: Round) -> Outcome:
        left = {fault.kind for fault in round_.faults}
        if "link.clog" not in left:
            return Outcome(broken=["another one"])
        return Outcome(broken=["exit status 4: hung"] if "agent.kill" in left else [])

    monkeypatch.setattr("shootdown_cli.soak.soaking.run_round", run_round)

    smaller = shrink(drawn, Outcome(broken=["exit status 4: hung"]))

    assert [fault.kind for fault in smaller.faults] == ["agent.kill", "link.clog"]
