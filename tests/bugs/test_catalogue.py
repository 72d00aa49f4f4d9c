"""The catalogue of bugs: what it claims holds, and what does not hold is said."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from tests.explore.shipped import MUTANT_CLAIMS, NEED_A_FAULT

from shootdown_cli.bugs import find_parts, load_bugs
from shootdown_daemon.machine.mutants import MUTANTS
from shootdown_verify.catalogue import Bug, Verified, bug_of, verify, verify_bug
from shootdown_verify.litmus import Expectation
from shootdown_verify.litmus.vocabulary import BUG_CLASSES

FOLDER = Path(__file__).parents[2] / "configs" / "scenarios" / "bugs"
BUGS = load_bugs(FOLDER)
SIDE_SECONDS = 50.0


@cache
def verified() -> dict[str, Verified]:
    """Both sides of every bug, explored once."""
    workers = len(os.sched_getaffinity(0))
    found = verify(list(BUGS.values()), find_parts, workers=workers, seconds=SIDE_SECONDS)
    return {each.id: each for each in found}


@pytest.mark.parametrize("name", BUGS)
def test_wrong_side_is_caught_and_right_side_is_proved(name: str) -> None:
    """Every claim of a bug's scenario is what all its orders show."""
    found = verified()[name]

    assert [side for side in (*found.wrong, *found.right) if not side.held] == []
    assert found.caught
    assert found.fixed_safe


def test_every_mutant_is_in_a_bug() -> None:
    """A mutant that no bug names, as wrong or as what a hardware needs, would test nothing."""
    claims = [claim for bug in BUGS.values() for claim in bug.scenario.expectations]
    named = {claim.configuration.mutant for claim in claims} - {""}

    claimed = {mutant for _, mutant, _ in MUTANT_CLAIMS}
    assert named | claimed | set(NEED_A_FAULT) == set(MUTANTS)


def test_every_scenario_of_the_catalogue_states_facts() -> None:
    """A file without facts would silently be no bug."""
    assert sorted(BUGS) == sorted(path.stem for path in FOLDER.glob("*.litmus"))


def test_every_plan_widens_the_window_of_a_bug() -> None:
    """A plan that is named for no bug would be offered by nobody."""
    plans = [path.stem for path in (FOLDER.parents[1] / "faults" / "bugs").glob("*.toml")]

    assert set(plans) <= set(BUGS)
    assert {BUGS[plan].facts.class_ for plan in plans} == set(BUG_CLASSES)


def with_claims(bug: Bug, *claims: Expectation) -> Bug:
    """A bug whose scenario claims something else."""
    scenario = replace(bug.scenario, expectations=claims)
    return bug_of(scenario)


def test_a_bug_that_nothing_fails_is_not_caught() -> None:
    """A right kernel where the wrong one should be is seen: not caught, and decided."""
    bug = BUGS["vtd-devtlb-without-pasid"]
    planted = with_claims(bug, Expectation("clear_flush", ("S1",)), *bug.right)

    found = verify_bug(planted, find_parts, SIDE_SECONDS, both=True)

    assert (found.caught, found.fixed_safe, found.undecided) == (False, True, False)


def test_a_fix_that_is_wrong_is_not_safe() -> None:
    """A wrong kernel where the right one should be is seen."""
    bug = BUGS["vtd-devtlb-without-pasid"]
    wrong = bug.wrong[0]
    planted = with_claims(bug, wrong, replace(wrong, by=()))

    found = verify_bug(planted, find_parts, SIDE_SECONDS, both=True)

    assert (found.caught, found.fixed_safe, found.undecided) == (True, False, False)


def test_a_bug_caught_by_another_check_is_not_caught() -> None:
    """What is found must be what the scenario says is wrong."""
    bug = BUGS["vtd-devtlb-without-pasid"]
    planted = with_claims(bug, replace(bug.wrong[0], by=("S5",)), *bug.right)

    assert not verify_bug(planted, find_parts, SIDE_SECONDS, both=True).caught


def test_too_little_time_is_undecided() -> None:
    """A side that ran out of its budget is neither caught nor proved, and not wrong either."""
    bug = BUGS["vtd-devtlb-without-pasid"]

    found = verify_bug(bug, find_parts, 0.0, both=True)

    assert (found.caught, found.fixed_safe, found.undecided) == (False, False, True)
