"""The classic shapes as histories: each gets exactly the verdicts of the published tables."""

from __future__ import annotations

from pathlib import Path

import pytest

from shootdown_verify.foreign.jsonl import read_jsonl
from shootdown_verify.foreign.report import finding_objects, models_object
from shootdown_verify.foreign.verdict import judge

HISTORIES = Path(__file__).parent / "histories"

# Allowed (A) and forbidden (F) by coherence, release/acquire (RC11), TSO and SC.
TABLE = {
    "CoRR": "FFFF",
    "CoWW": "FFFF",
    "CoWR": "FFFF",
    "MP": "AFFF",
    "S": "AFFF",
    "WRC": "AFFF",
    "LB": "AFFF",
    "2+2W": "AAFF",
    "IRIW": "AAFF",
    "SB": "AAAF",
    "R": "AAAF",
    "RWC": "AAAF",
}
WITH_FENCES = {name: row[0] + "FFF" for name, row in TABLE.items()}
"""A full fence between all accesses of each thread: forbidden by RC11 and TSO, too."""

CYCLES = {
    "CoRR": 3,
    "CoWW": 2,
    "CoWR": 2,
    "MP": 4,
    "S": 4,
    "WRC": 5,
    "LB": 4,
    "2+2W": 4,
    "IRIW": 6,
    "SB": 4,
    "R": 4,
    "RWC": 5,
}
"""Events of the shortest cycle; CoRR's has the store between its two loads."""

MODELS = ("coherence", "causal", "tso", "sc")


def verdicts(name: str) -> dict[str, str]:
    """What each model says of a history."""
    return models_object(judge(read_jsonl(HISTORIES / f"{name}.jsonl")))


@pytest.mark.parametrize("name", TABLE)
def test_a_classic_shape_gets_the_verdicts_of_the_table(name: str) -> None:
    """Coherence, release/acquire, TSO and SC forbid what the literature says, and no more."""
    expected = {"A": "ok", "F": "violation"}

    assert [expected[cell] for cell in TABLE[name]] == [verdicts(name)[model] for model in MODELS]


@pytest.mark.parametrize("name", WITH_FENCES)
def test_full_fences_forbid_every_shape_but_to_coherence(name: str) -> None:
    """With a fence between all accesses TSO and RC11 allow none of the outcomes."""
    expected = {"A": "ok", "F": "violation"}
    found = verdicts(f"{name}+fences")

    assert [expected[cell] for cell in WITH_FENCES[name]] == [found[model] for model in MODELS]


@pytest.mark.parametrize("name", TABLE)
def test_the_cycle_is_the_shape_and_nothing_else(name: str) -> None:
    """The finding has the events of the shortest cycle."""
    verdict = judge(read_jsonl(HISTORIES / f"{name}.jsonl"))

    (finding,) = finding_objects(verdict)

    assert isinstance(finding["events"], list)
    assert len(finding["events"]) == CYCLES[name]
    assert str(finding["why"]).count("; ") == CYCLES[name] - 1


def test_every_history_of_the_folder_is_in_the_table() -> None:
    """A file that no table names would be judged by nobody."""
    names = {path.stem.removesuffix("+fences") for path in HISTORIES.glob("*.jsonl")}

    assert names == set(TABLE)


def test_without_times_nothing_is_said_of_real_time() -> None:
    """The shapes have no clock."""
    assert {verdicts(name)["realtime"] for name in TABLE} == {"not judged"}
