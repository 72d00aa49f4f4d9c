"""Faults on the command line: names are listed, completed and corrected, and explored."""

import json

import pytest
from tests.cli.conftest import Shootdown

STEP = "wp_page_copy.set_pte_at"


def test_steps_are_listed(shootdown: Shootdown) -> None:
    """Those of a scenario, by their full names, and of all shipped ones if none is named."""
    told = json.loads(shootdown("steps", "cow-two-pages", "--json").output)

    assert STEP in told["steps"]
    assert "zap_pte_range.put_page" not in told["steps"]
    assert "zap_pte_range.put_page" in shootdown("steps").output.split()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("add", "inv.dorp"), "did you mean inv.drop"),
        (("add", "cpu.preempt", "--at", "wp_page_copy.set_pte"), f"did you mean {STEP}"),
        (("add", "inv.drop", "--ms", "5"), "--ms with inv.drop"),
        (("add", "inv.delay", "--for", "5"), "5s"),
        (("at", STEP, "pause"), "THREAD:STEP"),
        (("at", "CPU0:", "die"), "THREAD:STEP"),
        (("at", f":{STEP}", "die"), "THREAD:STEP"),
        (("at", f"CPU9:{STEP}", "crash_before"), "did you mean CPU3"),
        (("at", f"CPU9:{STEP}", "crash_after"), "did you mean CPU3"),
        (("at", f"CPU0:{STEP}", "pose"), "did you mean pause"),
    ],
)
def test_a_wrong_word_is_given_the_nearest_right_one(
    shootdown: Shootdown, words: tuple[str, ...], said: str
) -> None:
    """Before any testbed is asked."""
    ended = shootdown("fault", *words)

    assert ended.status == 2
    assert said in ended.errors


def test_help_says_what_is_taken_when_nothing_is_said(shootdown: Shootdown) -> None:
    """A length of 0 means nothing, and is refused."""
    told = shootdown("fault", "add", "--help").output

    of_ms = told.partition("--ms")[2].partition("--jitter")[0]
    assert "50 if not said" in " ".join(of_ms.replace("│", "").split())
    assert "default" not in of_ms
    assert shootdown("fault", "add", "inv.delay", "--ms", "0").status == 2


def test_exploring_with_faults_says_which(shootdown: Shootdown) -> None:
    """A counterexample names those it has; a plan that was survived is proved with its budget."""
    words = ("explore", "zap-use-after-free", "--faults", "1", "--json", "--fault-kinds")

    caught = json.loads(shootdown(*words, "agent.stale").output)
    survived = json.loads(shootdown(*words, "inv.drop,completion.drop").output)

    assert (caught["verdict"], caught["faults_applied"]) == ("violation", ["agent.stale.d0"])
    assert (survived["verdict"], survived["faults"]) == ("ok", 1)


def test_an_invalidation_that_drops_nothing_is_shown_as_one(shootdown: Shootdown) -> None:
    """A device under ``agent.stale`` obeys what it was sent, by its name, and nothing is gone."""
    words = ("explore", "zap-use-after-free", "--faults", "1", "--fault-kinds")

    stale = " ".join(shootdown(*words, "agent.stale").output.split())
    early = shootdown("explore", "completion-before-drain", *words[2:], "completion.early").output

    assert "d0.invalidate {invalidation of A at d0, ITag 0: applied" in stale
    assert ("atc d0 A: dropped" in stale, "atc d0 A: dropped" in early) == (False, True)


def test_more_faults_than_any_order_applies_cost_nothing(shootdown: Shootdown) -> None:
    """However many may happen, the search ends where no order applies them all, and says so."""
    words = ("explore", "zap-use-after-free", "--fault-kinds", "completion.drop", "--faults")

    some, many = (shootdown(*words, number).output for number in ("20", "1000000"))

    said = "no order applies more than "
    assert said in some
    assert many.partition(said)[2] == some.partition(said)[2]
    assert f"proved with at most {10**6} of completion.drop" in many


def test_no_fault_is_in_vain(shootdown: Shootdown) -> None:
    """What goes wrong without one is shown without one, and happens again from its file."""
    words = ("explore", "zap-use-after-free", "--discipline", "range_end", "--json")
    told = json.loads(shootdown(*words, "--faults", "2").output)

    assert told["faults_applied"] == []
    again = shootdown("replay", told["replay"])
    assert again.output.startswith("10/10")
