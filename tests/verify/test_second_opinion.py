"""Whole histories by the checker and by a naive second one: no model, no choice tells them apart.

``SHOOTDOWN_HISTORIES`` says how many are compared; the default takes a few seconds.
"""

from __future__ import annotations

import io
import os
from collections import Counter
from random import Random

import pytest
from tests.verify.naive_models import verdicts
from tests.verify.random_histories import NO_END, NO_START, Timed, as_lines, random_history

from shootdown_verify.foreign.jsonl import read_stream
from shootdown_verify.foreign.report import models_object
from shootdown_verify.foreign.verdict import judge

HISTORIES = int(os.environ.get("SHOOTDOWN_HISTORIES", "6000"))
BLOCKS = 6
PARTLY_TIMED = 1000


def checked(timed: Timed, random: Random) -> dict[str, str]:
    """What the checker says of each model."""
    return models_object(judge(read_stream(io.BytesIO(as_lines(timed, random)), "history")))


def test_a_violation_of_real_time_needs_no_event_with_both_times() -> None:
    """Where each time may be missing, both say the same of what the others show by themselves."""
    seen: Counter[str] = Counter()
    for number in range(PARTLY_TIMED):
        random = Random(number)
        timed = partly_timed(random_history(random), random)
        if timed.spans is None:
            continue
        found, allowed = checked(timed, random), verdicts(*timed)
        if allowed["sc"]:
            word = found["realtime"]
            assert (word == "violation") == (not allowed["realtime"]), number
            seen[word] += 1

    assert min(seen["violation"], seen["not judged"]) > 10, seen


def partly_timed(timed: Timed, random: Random) -> Timed:
    """The same history without some of its times: at each event one, both or neither is known."""
    if timed.spans is None:
        return timed
    dropped = [
        [
            (random.choice((start, NO_START)), random.choice((end, NO_END, NO_END)))
            for start, end in spans
        ]
        for spans in timed.spans
    ]
    return timed._replace(spans=dropped)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("block", range(BLOCKS))
def test_the_checker_agrees_with_running_all_interleavings(block: int) -> None:
    """Of every model both say the same, whatever orders and times were recorded."""
    seen: Counter[tuple[str, str]] = Counter()
    for number in range(HISTORIES // BLOCKS):
        random = Random(block * 10**9 + number)
        timed = random_history(random)
        found = checked(timed, random)
        for model, allowed in verdicts(*timed).items():
            assert found[model] == ("ok" if allowed else "violation"), (block, number, model)
            seen[model, found[model]] += 1

    assert len(seen) == 2 * len({model for model, _ in seen}), "both verdicts of every model"
