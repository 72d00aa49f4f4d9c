"""``shootdown explore``: its verdict, its JSON, and what it says when its budget runs out."""

import errno
import json
from pathlib import Path

import pytest
from tests.cli.conftest import Shootdown

from shootdown_verify.explore.breadth_first import BreadthFirst

KEYS = {
    "command",
    "scenario",
    "discipline",
    "strategy",
    "verdict",
    "complete",
    "states",
    "traces",
    "blocked",
    "steps",
    "preemptions",
    "shortest_steps",
    "weakest_model",
    "elapsed_s",
    "counterexample",
    "replay",
}


def test_a_violation_comes_with_its_shortest_schedule(shootdown: Shootdown) -> None:
    """Status 1, one JSON object with every key, and a replay file that is there."""
    ended = shootdown("explore", "cow-two-pages", "--discipline", "range_end", "--json")
    told = json.loads(ended.output)

    assert ended.status == 1
    assert told.keys() >= KEYS
    assert (told["verdict"], told["weakest_model"]) == ("violation", "real-time")
    assert len(told["counterexample"]) == told["shortest_steps"]
    assert Path(told["replay"]).is_file()


def test_a_violation_is_shrunk_if_asked(shootdown: Shootdown) -> None:
    """One page is left, in a replay file of its own that says what is missing; ten times of ten."""
    ended = shootdown("explore", "cow-two-pages", "--discipline", "range_end", "--shrink", "--json")
    shrunk = json.loads(ended.output)["shrunk"]
    text = Path(shrunk["replay"]).read_text()

    assert ended.status == 1
    assert (shrunk["locations"], shrunk["threads"]) == (["A"], ["CPU0", "CPU2", "DEV0"])
    assert (shrunk["same"], shrunk["times"]) == (10, 10)
    assert f"digest {shrunk['digest']}" in text
    assert "shrunk without thread DEV2, thread CPU3, thread CPU1, location B" in text


def test_a_proof_is_complete(shootdown: Shootdown) -> None:
    """The right discipline is proved: status 0, every order looked at."""
    ended = shootdown("explore", "cow-two-pages", "--json")
    told = json.loads(ended.output)

    assert ended.status == 0
    assert (told["verdict"], told["complete"]) == ("ok", True)
    assert told["hazards"]["stale_hits"] > 0


def test_an_exhaustive_search_over_its_budget_says_what_else_was_tried(
    shootdown: Shootdown,
) -> None:
    """Never ok: preemption bounds, then PCT with its honest bound, then POS, and status 3."""
    ended = shootdown("explore", "first-touch", "--budget-seconds", "2", "--json")
    told = json.loads(ended.output)

    assert ended.status == 3
    assert (told["verdict"], told["complete"]) == ("inconclusive", False)
    assert [each["strategy"] for each in told["further"]] == ["preemptions", "pct", "pos"]
    assert all(0 < bound["miss_probability"] <= 1 for bound in told["further"][1]["bounds"])


def test_nothing_put_to_the_test_is_not_ok(shootdown: Shootdown) -> None:
    """A complete search in which no translation could be stale is inconclusive, with the reason."""
    ended = shootdown("explore", "cow-two-pages", "--discipline", "range_start", "--json")
    told = json.loads(ended.output)

    assert ended.status == 3
    assert told["complete"]
    assert "no translation could have been stale" in told["reason"]


def test_ctrl_c_says_how_far_it_came(shootdown: Shootdown, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inconclusive, with the states seen by then; no other strategy or scenario is begun."""
    look = BreadthFirst._expand

    def expand(search: BreadthFirst, states: list[int]) -> None:
        look(search, states)
        if len(search.parent) > 1000:
            raise KeyboardInterrupt

    monkeypatch.setattr(BreadthFirst, "_expand", expand)

    ended = shootdown(
        "explore", "first-touch", "cow-two-pages", "--strategy", "breadth-first", "--json"
    )
    told = json.loads(ended.output)

    assert ended.status == 3
    assert (told["verdict"], told["reason"]) == ("inconclusive", "stopped by Ctrl-C")
    assert told["states"] > 1000


@pytest.mark.parametrize("more", [(), ("--shrink",)])
def test_a_full_disk_hides_no_violation(
    shootdown: Shootdown, monkeypatch: pytest.MonkeyPatch, more: tuple[str, ...]
) -> None:
    """The verdict is told, and that no replay file could be kept."""

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)

    ended = shootdown("explore", "cow-two-pages", "--discipline", "range_end", "--json", *more)
    told = json.loads(ended.output)

    assert ended.status == 1
    assert (told["verdict"], told["replay"], told["shrunk"]) == ("violation", None, None)
    assert "No space left on device" in ended.errors


def test_a_page_that_cannot_be_written_is_refused_first(shootdown: Shootdown) -> None:
    """Nobody waits for a matrix whose page then has no place."""
    ended = shootdown("matrix", "--html", "nowhere/matrix.html")

    assert ended.status == 2
    assert "--html" in ended.errors


def test_a_scenario_says_what_may_go_wrong(shootdown: Shootdown) -> None:
    """Its statement is as good as the options, and those have the last word."""
    said = []
    for words in ((), ("--faults", "0"), ("--faults", "1", "--fault-kinds", "inv.reorder")):
        ended = shootdown("explore", "lost-invalidation", *words, "--json")
        told = json.loads(ended.output)
        said.append((ended.status, told["faults"], told["fault_kinds"]))

    assert said == [(0, 1, ["inv.drop", "completion.drop"]), (0, 0, []), (0, 1, ["inv.reorder"])]
