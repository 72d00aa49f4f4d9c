"""Every shipped scenario under every discipline that it claims something of, scheduled at random.

What is claimed caught is caught, by the checks and in the memory model named; what is claimed
safe stays so. A schedule is repeatable by its seed.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from tests.machine.machines import Bench
from tests.machine.schedules import Schedule

from shootdown_daemon.machine.disciplines import DISCIPLINES
from shootdown_daemon.machine.operations import OPERATIONS
from shootdown_verify.judge import InstanceJudge, InstanceVerdict
from shootdown_verify.litmus import Expectation, Scenario, load

SCENARIOS = sorted((Path(__file__).parents[2] / "configs" / "scenarios").glob("*.litmus"))
SAFE_SCHEDULES = 100
"""`tests/explore` looks at every order of these; here it is how orders are drawn."""
CAUGHT_SCHEDULES_MAX = 3000


def read(path: Path) -> Scenario:
    """A scenario with the names that this kernel knows."""
    return load(path, operations=OPERATIONS, disciplines=DISCIPLINES)


def claims() -> Iterator[tuple[Scenario, Expectation]]:
    """Every claim about a discipline."""
    for path in SCENARIOS:
        scenario = read(path)
        for expectation in scenario.expectations:
            if not expectation.kind:
                yield scenario, expectation


def name_of(claim: object) -> str:
    """A claim in test reports."""
    return claim.name if isinstance(claim, Scenario) else getattr(claim, "subject", "")


def judged(scenario: Scenario, discipline: str, **config: Any) -> Iterator[InstanceVerdict]:  # noqa: ANN401
    """Verdicts on schedules, seed by seed."""
    judge = InstanceJudge(scenario.program, scenario.conditions)
    for seed in range(CAUGHT_SCHEDULES_MAX):
        records = Schedule(Bench(scenario.program, discipline, **config), seed).run()
        yield judge.judge(records, complete=True, explain=False)


CLAIMS = list(claims())
CAUGHT = [claim for claim in CLAIMS if claim[1].caught]
SAFE = [claim for claim in CLAIMS if not claim[1].caught]


@pytest.mark.parametrize(("scenario", "claim"), CAUGHT, ids=name_of)
def test_what_is_claimed_caught_is_caught(scenario: Scenario, claim: Expectation) -> None:
    """A violation comes up, the forbidden outcome if that is claimed, and breaks what is named."""
    verdicts = judged(scenario, claim.subject, iotlb=True)
    condition = "condition" in claim.by

    found = next((v for v in verdicts if (v.forbidden if condition else v.findings)), None)

    assert found is not None
    assert {finding.check for finding in found.findings} <= set(claim.by)
    assert found.weakest_model == scenario.weakest or not condition


@pytest.mark.parametrize(("scenario", "claim"), SAFE, ids=name_of)
def test_what_is_claimed_safe_stays_so(scenario: Scenario, claim: Expectation) -> None:
    """No schedule violates, and none ends with a task that waits for ever."""
    verdicts = list(islice(judged(scenario, claim.subject, iotlb=True), SAFE_SCHEDULES))

    assert [f.sentence for verdict in verdicts for f in verdict.findings] == []
    assert not any(verdict.unfinished for verdict in verdicts)


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_a_device_that_walks_level_by_level_is_no_worse(path: Path) -> None:
    """The right discipline is right too when each table load is a step of its own."""
    verdicts = islice(judged(read(path), "clear_flush", walk_by_level=True), SAFE_SCHEDULES)

    assert [f.sentence for verdict in verdicts for f in verdict.findings] == []


def test_a_schedule_repeats_by_its_seed() -> None:
    """Two benches scheduled by one seed report the same, to the last record."""
    program = read(SCENARIOS[0]).program

    once, again = (Schedule(Bench(program, "range_end"), 5).run() for _ in range(2))

    assert once == again
