"""``shootdown explain``: the nearest passing run and the race between it and a counterexample."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.cli.conftest import Shootdown

LOOKUP = ("DEV0", "device.atc_lookup")
APPLY = ("d0.invalidate", "atc_invalidate")


def found_by(shootdown: Shootdown, *words: str) -> str:
    """Explore, and give the counterexample's file."""
    assert shootdown("explore", *words).status == 1
    (path,) = Path("out").glob("latest/*.replay")
    return str(path)


def test_the_founding_bug_is_a_race_of_look_up_and_invalidation(shootdown: Shootdown) -> None:
    """Had the device looked A up after the invalidation, it would have read the new page."""
    path = found_by(shootdown, "cow-two-pages", "--discipline", "range_end")

    told = json.loads(shootdown("explain", path, "--json").output)

    race = told["race"]
    assert (race["earlier"]["task"], race["earlier"]["step"]) == LOOKUP
    assert (race["later"]["task"], race["later"]["step"]) == APPLY
    assert race["over"] == ["atc d0 A"]
    assert told["passing_outcome"] == "DEV0:r0=1 DEV2:r1=0"


def test_the_passing_run_shares_all_before_the_race(shootdown: Shootdown) -> None:
    """The same steps of each task lead up to it, and the pair is in the other order."""
    path = found_by(shootdown, "cow-two-pages", "--discipline", "range_end")

    told = json.loads(shootdown("explain", path, "--json").output)

    passing = [(step["task"], step["step"]) for step in told["passing"]]
    failing = [(step["task"], step["step"]) for step in told["failing"]]
    shared = failing[: told["race"]["earlier"]["number"] - 1]
    assert len(shared) == 19
    assert set(shared) <= set(passing)
    assert passing.index(APPLY) < passing.index(LOOKUP)


def test_it_is_told_in_words_with_both_timelines(shootdown: Shootdown) -> None:
    """Failing run, passing run, and the pair in both orders."""
    path = found_by(shootdown, "cow-two-pages", "--discipline", "range_end")

    told = shootdown("explain", path)

    assert told.status == 0
    assert told.output.index("FAILS") < told.output.index("PASSES  DEV0:r0=1")
    assert "fails   DEV0 {device.atc_lookup A}  before  d0.invalidate" in told.output


@pytest.mark.parametrize(
    ("scenario", "device", "earlier"),
    [
        ("completion-before-drain", "completes_before_drain", "zap_pte_range.put_page"),
        ("drain-deadlock", "drain_waits_for_translation", "wp_page_copy.ptep_clear_flush"),
    ],
)
def test_a_faulty_device_is_explained_too(
    shootdown: Shootdown, scenario: str, device: str, earlier: str
) -> None:
    """The race is between what the kernel did and what the device still had to do."""
    path = found_by(shootdown, scenario, "--device", device)

    told = json.loads(shootdown("explain", path, "--json").output)

    assert told["race"]["earlier"]["step"] == earlier


def test_where_no_single_race_matters_it_says_so(shootdown: Shootdown) -> None:
    """Without any notification no order of these steps is right."""
    path = found_by(shootdown, "mprotect-deferred", "--discipline", "none")

    told = shootdown("explain", path)

    assert told.status == 3
    assert "no reversal of a single race makes it pass" in told.output


def test_what_is_no_counterexample_is_refused(shootdown: Shootdown) -> None:
    """A schedule that does not happen under the named discipline is a usage error."""
    path = Path(found_by(shootdown, "cow-two-pages", "--discipline", "range_end"))
    path.write_text(path.read_text().replace("\ndiscipline range_end", "\ndiscipline clear_flush"))

    told = shootdown("explain", str(path))

    assert told.status == 2
    assert "expected" in told.errors
