"""What a person reads: the verdict line, the histogram, the timeline, and their JSON."""

from __future__ import annotations

import json
import re

import pytest
from tests.verify.record_builders import (
    COW_TWO_PAGES,
    FRAME,
    Recorder,
    deferred_two_pages,
    met,
    resident,
)

from shootdown_protocol.history import (
    Denied,
    Fault,
    Kind,
    Place,
    Stamped,
    Stray,
    Synced,
    TableWalk,
)
from shootdown_verify.judge import Example, Model, OutcomeCount, RunVerdict, judge_instance
from shootdown_verify.judge.counters import Counters
from shootdown_verify.report import (
    RunFacts,
    render_histogram,
    render_timeline,
    verdict_line,
    verdict_object,
)

FACTS = RunFacts("run", "cow-two-pages", "range_end", 1, 2.5, "out/latest")
BROKEN = RunVerdict(
    verdict="violation",
    instances=20,
    violations=7,
    weakest_model=Model.REAL_TIME,
    histogram={
        "DEV0:r0=1 DEV2:r1=1": OutcomeCount(12),
        "DEV0:r0=0 DEV2:r1=0": OutcomeCount(3, violations=2),
        "DEV0:r0=0 DEV2:r1=1": OutcomeCount(5, violations=5, forbidden=True),
    },
    findings={("condition", "forbidden-outcome"): 5, ("S2", "stale-read"): 2},
)


def timeline(width: int = 120, *, color: bool = False) -> str:
    """The founding bug, shown."""
    records = deferred_two_pages()
    findings = judge_instance(records, COW_TWO_PAGES).findings
    return render_timeline(records, COW_TWO_PAGES, findings, width=width, color=color)


def shown(*records: Stamped) -> str:
    """Some records, shown without a finding."""
    return render_timeline(records, COW_TWO_PAGES)


def test_a_violations_line_says_what_which_order_and_where() -> None:
    """The kind of access that was wrong comes before the condition that noticed it."""
    assert verdict_line(BROKEN, FACTS) == (
        "VIOLATION  stale-read  real-time order broken      cow-two-pages under range_end"
    )


def test_an_inconclusive_line_gives_its_reasons() -> None:
    """Who reads only one line must not take a missing race for a proof."""
    verdict = RunVerdict(verdict="inconclusive", reasons=("no warm hit", "no overlap"))

    assert verdict_line(verdict, FACTS).startswith("INCONCLUSIVE  no warm hit; no overlap  ")


def test_an_ok_line_says_how_many_instances() -> None:
    """Ok is worth as much as what was tried."""
    verdict = RunVerdict(verdict="ok", instances=20_000)

    assert verdict_line(verdict, FACTS).startswith("OK  20,000 instances, no violation  ")


def test_the_json_object_is_plain_and_has_every_promised_key() -> None:
    """Programs that read the verdict find what issue and docs name."""
    plain = json.loads(json.dumps(verdict_object(BROKEN, FACTS)))

    assert plain["weakest_model"] == "real-time"
    assert plain["histogram"]["DEV0:r0=1 DEV2:r1=1"] == 12
    assert plain["counters"].keys() == Counters().as_dict().keys()
    promised = "command scenario discipline verdict instances violations seed elapsed_s out"
    assert plain.keys() >= set(promised.split())
    assert plain["findings"][0] == {"check": "S2", "title": "stale-read", "count": 2}


def test_the_json_object_explains_the_first_violation() -> None:
    """The edges that a person reads are there for programs too."""
    records = deferred_two_pages()
    verdict = judge_instance(records, COW_TWO_PAGES)
    run = RunVerdict(first=Example(3, tuple(records), verdict))

    plain = json.loads(json.dumps(verdict_object(run, FACTS)))

    assert plain["first_violation"]["instance"] == 3
    assert plain["first_violation"]["findings"][0]["edges"] == [*verdict.findings[0].edges]


def test_rounds_of_a_loop_are_told_once() -> None:
    """A device that faults for ever is read in a few lines, and the rest is counted."""
    recorder = Recorder()
    for _ in range(5):
        recorder.add("DEV0", Fault(0, True, "success", exhausted=False))
        recorder.add("CPU0", met(0))
    recorder.add("DEV0", Fault(0, True, "retried", exhausted=True))

    told = shown(*recorder.records)

    assert told.count("success") == 1
    assert "... the same, 4 times more" in told
    assert told.splitlines()[-1].startswith("[N+10]")


def test_a_histogram_marks_forbidden_and_violating_outcomes() -> None:
    """The commonest outcome is first, and every mark is litmus7's where that has one."""
    assert render_histogram("cow-two-pages", BROKEN).splitlines() == [
        "Histogram (3 states)",
        "12 :>DEV0:r0=1 DEV2:r1=1",
        "5  *>DEV0:r0=0 DEV2:r1=1",
        "3  !>DEV0:r0=0 DEV2:r1=0  (2 of them violations)",
        "Observation cow-two-pages Sometimes 7 13",
    ]


@pytest.mark.parametrize(
    ("count", "violations", "word"), [(4, 0, "Never 0 4"), (4, 4, "Always 4 0")]
)
def test_an_observation_is_in_litmus7s_words(count: int, violations: int, word: str) -> None:
    """Never, sometimes and always are about violations."""
    verdict = RunVerdict(
        instances=count, histogram={"A=1": OutcomeCount(count, violations=violations)}
    )

    assert render_histogram("x", verdict).endswith(f"Observation x {word}")


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_a_timeline_keeps_to_its_width(width: int) -> None:
    """No line is longer than the terminal."""
    assert max(map(len, timeline(width).splitlines())) <= width


def test_a_timeline_tells_the_founding_bug_in_order() -> None:
    """Both copies, both stores, one invalidation, the new B, the old A: in that order."""
    text = " ".join(timeline(200).split())

    told = [
        "CPU0 {wp_page_copy A: alloc_page",
        "CPU1 {wp_page_copy B: alloc_page",
        "CPU2 {stored A=1 (version 1,",
        "CPU3 {stored B=1 (version 1,",
        "invalidation of B at d0, ITag 0: sent",
        "invalidation of B at d0, ITag 0: applied, drained",
        "invalidation of B at d0, ITag 0: completed",
        "read B=1 (version 1,",
        "DEV0 {! read A=0 (version 0, frame 0x100003, cached translation, stale)}",
        "invalidation of A at d0, ITag 0: sent",
        "why DEV0 read A=0 (version 0) although version 1 had been stored",
    ]
    assert [text.index(part) for part in told] == sorted(text.index(part) for part in told)


def test_a_timeline_says_what_changed() -> None:
    """Where the entry points now, and what a device still holds, follow the row."""
    lines = [line.strip() for line in timeline().splitlines()]

    assert f"= entry A: frame {FRAME:#x} -> frame {FRAME + 8:#x}, version 0" in lines
    assert f"= atc DEV0 A: still frame {FRAME:#x}" in lines
    assert "= atc d0 B: dropped" in lines


def test_steps_that_commute_share_a_row() -> None:
    """Two CPUs that take turns on two pages are one row of two cells."""
    turns = Recorder()
    for name in ("alloc_page", "copy_user_page"):
        turns.step("CPU0", "wp_page_copy", name, 0)
        turns.step("CPU1", "wp_page_copy", name, 1)

    text = shown(*turns.records)

    assert text.count("[N") == 1
    assert "CPU0 {wp_page_copy A: alloc_page, copy_user_page}" in text
    assert "CPU1 {wp_page_copy B: alloc_page, copy_user_page}" in text


@pytest.mark.parametrize(("other", "rows"), [("CPU0", 1), ("CPU1", 2)])
def test_steps_of_two_threads_on_one_page_have_rows_of_their_own(other: str, rows: int) -> None:
    """The order of two threads' steps on one page is what a timeline is for."""
    turns = Recorder()
    turns.step("CPU0", "wp_page_copy", "ptep_clear_flush", 0)
    turns.step(other, "wp_page_copy", "pte_offset_map_lock", 0)

    assert shown(*turns.records).count("[N") == rows


def test_accesses_of_two_threads_never_share_a_row() -> None:
    """Which of two accesses came first decides about real time."""
    both = Recorder()
    both.add("DEV0", met(0, 0))
    both.add("DEV2", met(1, 0))

    assert shown(*both.records).count("[N") == 2


def test_every_kind_of_record_has_its_words() -> None:
    """Denials, faults, strays, syncs and what is resident at the end are told."""
    rest = Recorder()
    rest.add("CPU0", Denied(Kind.STORE, 0, 0, "no permission", ""))
    rest.add("DEV0", Fault(1, write=True, answer="success", exhausted=True))
    rest.add("CPU1", Stray(FRAME, 2, 7))
    rest.add("DEV2", Synced(0))
    rest.step("CPU1", "change_pte_range", "ptep_set_wrprotect", 1)
    rest.add("daemon", resident(0, 1))

    text = " ".join(shown(*rest.records).split())

    assert "CPU0 {store A denied: no permission}" in text
    assert "DEV0 {page request to write B: success, given up}" in text
    assert f"found the poison of frame {FRAME:#x} broken" in text
    assert "DEV2 {sync CPU0}" in text
    assert "= entry B: write-protected" in text
    assert text.endswith(f"end = A: in frame {FRAME:#x}, version 1")


def test_a_walk_through_a_freed_table_has_its_words() -> None:
    """It says which page it was, and whose table it had been."""
    walk = Recorder()
    walk.add("DEV0", TableWalk(1, FRAME, Place.POISON))

    text = " ".join(shown(*walk.records).split())

    assert f"DEV0 {{walked through frame {FRAME:#x}, freed, as a level 1 table}}" in text


def test_a_sentence_is_told_once() -> None:
    """Two loads that are wrong in the same way are one why."""
    twice = Recorder()
    twice.add("DEV0", met(0, 0, floor=2), met(0, 0, floor=2))
    findings = judge_instance(twice.end(COW_TWO_PAGES), COW_TWO_PAGES).findings

    text = render_timeline(twice.records, COW_TWO_PAGES, findings)

    assert len(findings) == 2
    assert text.count("why") == 1


def test_colours_change_nothing_but_colours() -> None:
    """Stripped of its colours, a timeline is the same text."""
    painted = timeline(color=True)

    assert "\x1b[1;31m" in painted
    assert re.sub(r"\x1b\[[\d;]*m", "", painted) == timeline()
    assert "\x1b" not in timeline()


def test_a_timeline_of_nothing_is_empty() -> None:
    """No records, no rows."""
    assert shown() == ""
