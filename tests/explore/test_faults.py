"""Faults as steps of an environment: what is survived is proved, what is not is caught."""

import pytest
from tests.explore.shipped import ALL

from shootdown_cli.soak.judging_rounds import lies
from shootdown_daemon.machine.disciplines import DISCIPLINES
from shootdown_daemon.machine.host_faults import NEVER
from shootdown_protocol.errors import UsageError
from shootdown_verify.explore import Result, Strategy, Verdict, explore
from shootdown_verify.fault_tasks import (
    EXPLORED,
    SURVIVED,
    Environment,
    environment,
    read_environment,
)
from shootdown_verify.replay_file import count_occurrences
from shootdown_verify.replaying import in_known_order, replay_schedule

CAUGHT = {
    "inv.duplicate": "protocol",
    "inv.wrong_itag": "protocol",
    "completion.duplicate": "protocol",
    "completion.wrong_itag": "protocol",
    "agent.stale": "S1",
    "completion.early": "S1",
    "agent.hoard": "S2",
}
"""Kinds that a right kernel cannot survive, and the check that catches each."""
SCENARIO_OF = {"agent.hoard": "late-insertion", "completion.early": "completion-before-drain"}
"""Where a kind is caught, if not in `USUAL`."""
USUAL = "zap-use-after-free"
ITAG_IN_USE = "duplicate-completion"
"""Where an ITag is used again at once: a completion that is not the request's own may be its."""


def explored(
    name: str,
    kinds: tuple[str, ...],
    strategy: Strategy = Strategy.EXHAUSTIVE,
    budget: int = 1,
    *,
    every: bool = False,
) -> Result:
    """A shipped scenario under the right discipline, with faults."""
    scenario = ALL[name]
    return explore(
        scenario.program,
        DISCIPLINES["clear_flush"],
        conditions=scenario.conditions,
        strategy=strategy,
        faults=Environment(kinds, budget),
        every=every,
    )


def test_every_kind_is_survived_or_caught() -> None:
    """None that has a step is left out; one ends in a quarantine, and is not judged."""
    assert {*SURVIVED, *CAUGHT, NEVER} == set(EXPLORED)


@pytest.mark.parametrize("name", [USUAL, "cow-message-passing"])
def test_what_is_lost_is_made_good(name: str) -> None:
    """Any one of the faults that a right kernel survives, at any moment: proved."""
    result = explored(name, SURVIVED)

    assert (result.verdict, result.complete) == (Verdict.OK, True)
    assert result.states > explored(name, ()).states


@pytest.mark.parametrize("kind", CAUGHT)
def test_what_cannot_be_survived_is_caught(kind: str) -> None:
    """One application is found, by the check that is for it, and happens again step by step."""
    scenario = ALL[SCENARIO_OF.get(kind, USUAL)]

    result = explored(scenario.name, (kind,))

    assert result.verdict is Verdict.VIOLATION
    found = result.counterexamples[0]
    assert [step.step for step in found.steps].count(kind) == 1
    assert found.findings[0].check == CAUGHT[kind]
    replayed = replay_schedule(
        in_known_order(scenario.program),
        DISCIPLINES["clear_flush"],
        count_occurrences((step.task, step.step) for step in found.steps),
        faults=Environment((kind,), 1),
    )
    assert replayed.verdict.split()[0] == CAUGHT[kind], replayed.diverged


@pytest.mark.parametrize("kind", EXPLORED)
def test_a_soak_judges_whatever_a_right_kernel_survives(kind: str) -> None:
    """It leaves S1 to S5 alone under just those kinds that break them in some order."""
    scenario = ALL[SCENARIO_OF.get(kind, ITAG_IN_USE)]

    result = explored(scenario.name, (kind,), every=True)

    found = {finding.check for told in result.counterexamples for finding in told.findings}
    assert (result.complete, bool(found - {"protocol"})) == (True, lies(kind)), found


@pytest.mark.parametrize("kind", EXPLORED)
def test_reduced_and_plain_search_agree(kind: str) -> None:
    """The reduction loses no fault."""
    name = SCENARIO_OF.get(kind, USUAL)

    reduced = explored(name, (kind,))
    plain = explored(name, (kind,), Strategy.BREADTH_FIRST)

    assert reduced.verdict == plain.verdict
    assert [each.check for each in reduced.findings] == [each.check for each in plain.findings]


def test_two_losses_are_survived_where_one_is() -> None:
    """A second request is not lost as well: that is a device to be quarantined."""
    assert explored(USUAL, ("inv.drop", "completion.drop"), budget=2).verdict is Verdict.OK


def test_a_device_that_completes_nothing_is_given_up() -> None:
    """It is asked twice; what comes then is not judged, and no wait of it is a deadlock."""
    assert explored(USUAL, (NEVER,)).verdict is Verdict.OK


def test_a_loss_alone_needs_the_time_out() -> None:
    """Without the host's second request the same fault is a deadlock."""
    scenario = ALL[USUAL]
    lost = Environment(("inv.drop",), 1)

    def no_time_out(*_: object) -> None:
        return None

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("shootdown_daemon.machine.host_faults.overdue", no_time_out)
        result = explore(scenario.program, DISCIPLINES["clear_flush"], faults=lost)

    assert result.findings[0].check == "S5"


def test_an_environment_survives_a_replay_file() -> None:
    """What is written is what is read; what makes no sense is refused with the nearest word."""
    wanted = environment("inv.drop,agent.stale", 2)

    assert read_environment(str(wanted)) == wanted
    assert not read_environment("")
    for text in ("inv.drop", "x of inv.drop", "1 of inv.delay"):
        with pytest.raises(UsageError):
            read_environment(text)
    with pytest.raises(UsageError, match=r"did you mean inv\.drop"):
        environment("inv.dorp", 1)
