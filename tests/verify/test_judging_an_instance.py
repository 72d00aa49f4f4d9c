"""One instance: what is found in it, which model that breaks, what its outcome is called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
import pytest
from tests.verify.record_builders import (
    ALL,
    COW_TWO_PAGES,
    FRAME,
    Recorder,
    column,
    deferred_two_pages,
    load,
    location,
    made,
    met,
    program,
    resident,
    run,
    store,
)

from shootdown_protocol.board import READ, WRITE, pack_limit
from shootdown_protocol.history import Access, Denied, Kind, Place, Returned, Stamped, Synced
from shootdown_protocol.words import make_order
from shootdown_verify.judge import Model, judge_instance

A, B = 0, 1
CHANGED = ", whose entry had changed since"
MESSAGE = program(
    column("CPU0", store(A, 1), store(B, 1)), column("DEV0", load(B, "r0"), load(A, "r1"))
)


@dataclass(frozen=True)
class Ends:
    """A condition: a register, or a location, ends with a value."""

    name: str
    value: int

    def evaluate(self, registers: Mapping[str, int], finals: Mapping[str, int], /) -> bool:
        """Look the name up."""
        return {**registers, **finals}.get(self.name) == self.value

    def __str__(self) -> str:
        """As a scenario writes it."""
        return f"{self.name}={self.value}"


def message(floor: int) -> list[Stamped]:
    """Message passing in which the device reads the new B and then the old A."""
    recorder = Recorder()
    recorder.add("CPU0", made(A, 1))
    recorder.add("CPU0", made(B, 1))
    recorder.add("DEV0", met(B, 1, register="r0"))
    recorder.add("DEV0", met(A, 0, floor=floor, hit=True, stale=True, register="r1"))
    return recorder.end(MESSAGE)


def test_the_founding_bug_breaks_real_time_and_nothing_weaker() -> None:
    """Six threads without order between them: only the clock tells that A came first."""
    verdict = judge_instance(deferred_two_pages(), COW_TWO_PAGES)

    assert [finding.check for finding in verdict.findings] == ["S2"]
    assert verdict.weakest_model == Model.REAL_TIME
    assert verdict.outcome == "DEV0:r0=0 DEV2:r1=1"


def test_the_founding_bug_is_explained_in_the_scenarios_words() -> None:
    """The finding says who read what, which store had ended, and what was not invalidated."""
    (finding,) = judge_instance(deferred_two_pages(), COW_TWO_PAGES).findings

    assert [*finding.edges] == [
        "DEV0 read A=0 (version 0), older than CPU2's store A=1 (version 1)",
        "CPU2's store A=1 (version 1) had ended before DEV0's read A=0 (version 0) began",
        f"DEV0 went through a translation cached before to frame {FRAME:#x}{CHANGED}",
        "no invalidation of A had completed at d0 before the access",
    ]


def test_an_invalidation_that_had_completed_is_said() -> None:
    """A stale read after the page's invalidation is the device's own fault, and is told apart."""
    stale = met(B, 0, floor=2, hit=True, register="r1")
    records = [
        msgspec.structs.replace(stamped, record=stale)
        if isinstance(stamped.record, Access) and stamped.task == "DEV2"
        else stamped
        for stamped in deferred_two_pages()
    ]

    findings = judge_instance(records, COW_TWO_PAGES).findings

    assert "an invalidation of B had completed at d0 before the access" in findings[0].edges


def test_an_access_after_a_return_names_the_operation() -> None:
    """Who reads of S4 wants to know what had returned."""
    both = program(column("CPU0", run("change_pte_range", A)), column("DEV0", store(A, 1)))
    limit = pack_limit(0, READ)
    recorder = Recorder()
    recorder.add("CPU0", Returned("change_pte_range", A, limit))
    recorder.add("DEV0", made(A, 1, limit=limit, hit=True, stale=True))

    verdict = judge_instance(recorder.end(both), both)

    assert (verdict.findings[0].check, verdict.weakest_model) == ("S4", None)
    assert "CPU0's change_pte_range A had returned before DEV0's store A=1 (version 1) began" in (
        verdict.findings[0].edges
    )


def test_what_one_finding_has_said_no_later_one_repeats() -> None:
    """A condition that holds by a stale read has the same cycle: it is shown once."""
    verdict = judge_instance(deferred_two_pages(), COW_TWO_PAGES, [Ends("DEV0:r0", 0)])

    assert [finding.check for finding in verdict.findings] == ["S2", "condition"]
    assert verdict.findings[0].edges
    assert not verdict.findings[1].edges


def test_message_passing_breaks_causality() -> None:
    """One writer and one reader: no clock is needed."""
    verdict = judge_instance(message(floor=2), MESSAGE)

    assert verdict.weakest_model == Model.CAUSAL
    assert [finding.check for finding in verdict.findings] == ["S2"]


def test_a_breach_of_causality_below_every_floor_is_found() -> None:
    """A store seen before its end was published has been seen all the same."""
    verdict = judge_instance(message(floor=0), MESSAGE)

    assert [(f.check, f.title) for f in verdict.findings] == [("S2", "order-broken")]
    assert verdict.weakest_model == Model.CAUSAL


def test_a_store_buffers_outcome_is_no_violation() -> None:
    """SC broken by two CPUs alone is the machine's model, and no fault of a page table."""
    both = program(column("CPU0", store(A, 1), load(B, "r0")), column("CPU1", store(B, 1)))
    recorder = Recorder()
    recorder.add("CPU0", made(A, 1))
    recorder.add("CPU1", made(B, 1))
    recorder.add("CPU0", met(B, 0, register="r0"))
    recorder.add("CPU1", met(A, 0))

    verdict = judge_instance(recorder.end(both), both)

    assert verdict.findings == ()
    assert verdict.weakest_model is None


@pytest.mark.parametrize(("value", "forbidden"), [(1, True), (2, False)])
def test_a_forbidden_outcome_is_a_violation_by_itself(*, value: int, forbidden: bool) -> None:
    """The condition decides, even where every access is right."""
    one = program(column("CPU0", store(A, 1)))
    recorder = Recorder()
    recorder.add("CPU0", made(A, 1))
    recorder.add("daemon", resident(A, 1, floor=2))

    verdict = judge_instance(recorder.end(one), one, [Ends("A", value)])

    assert forbidden == verdict.forbidden
    assert [f.check for f in verdict.findings] == ["condition"] * forbidden
    assert verdict.weakest_model is None


def test_a_forbidden_outcome_is_named_by_the_model_it_breaks() -> None:
    """A condition that holds by a stale read, unseen by any floor, is given its model."""
    two = program(column("CPU0", store(A, 1)), column("DEV0", load(A, "r0")))
    recorder = Recorder()
    recorder.add("CPU0", made(A, 1))
    recorder.add("DEV0", met(A, 0, register="r0"))

    verdict = judge_instance(recorder.end(two), two, [Ends("DEV0:r0", 0)])

    assert verdict.weakest_model == Model.REAL_TIME
    assert "CPU0's store A=1 (version 1) had ended" in " ".join(verdict.findings[0].edges)


def test_an_access_begins_with_its_look_up() -> None:
    """A load that looked up before the store ended overlaps it, however late it took effect."""
    two = program(column("CPU0", store(A, 1)), column("DEV0", load(A, "r0")))
    recorder = Recorder()
    recorder.step("DEV0", "device", "atc_lookup")
    recorder.add("CPU0", made(A, 1))
    recorder.add("DEV0", met(A, 0, register="r0"))

    verdict = judge_instance(recorder.end(two), two, [Ends("DEV0:r0", 0)])

    assert verdict.weakest_model is None


def test_a_denied_load_shows_in_the_outcome() -> None:
    """A register whose load was refused holds no value, and says so."""
    one = program(column("DEV0", load(A, "r0")))
    recorder = Recorder()
    recorder.add("DEV0", Denied(Kind.LOAD, A, 0, "no mapping", "r0"))

    verdict = judge_instance(recorder.end(one), one, [Ends("DEV0:r0", 0)])

    assert verdict.outcome == "DEV0:r0=denied"
    assert (verdict.findings, verdict.counters.denied) == ((), 1)


def test_locations_show_in_the_outcome_where_the_condition_names_them() -> None:
    """What a condition looks at is what a histogram must tell apart."""
    one = program(column("CPU0", store(B, 1)), column("DEV0", load(A, "r0")))
    recorder = Recorder()
    recorder.add("DEV0", met(A, 0, register="r0"))
    recorder.add("daemon", resident(A, 0), resident(B, 1))

    verdict = judge_instance(recorder.end(one), one, [Ends("B", 7)])

    assert verdict.outcome == "DEV0:r0=0 B=1"


def test_a_column_that_waits_for_ever_is_s5_only_in_an_ended_batch() -> None:
    """A missing end is a deadlock when all is quiet, and unfinished before."""
    records = Recorder()
    records.add("CPU0", made(A, 1))

    ended = judge_instance(records.records, MESSAGE, complete=True)
    cut_short = judge_instance(records.records, MESSAGE, complete=False)

    assert [finding.task for finding in ended.findings] == ["CPU0", "DEV0"]
    assert {finding.check for finding in ended.findings} == {"S5"}
    assert (cut_short.findings, cut_short.unfinished) == ((), True)
    assert cut_short.counters.unfinished_instances == 1


def test_the_old_epoch_is_legal_before_the_return() -> None:
    """While a zap is under way its old content may be read: no model speaks of it."""
    zap = program(column("CPU0", run("zap_pte_range", A)), column("DEV0", load(A, "r0")))
    recorder = Recorder()
    recorder.add("DEV0", met(A, make_order(1, 0), register="r0"))
    recorder.add("DEV0", met(A, 3, hit=True, stale=True, register="r0"))
    limit = pack_limit(make_order(1, 0), READ | WRITE)
    recorder.add("CPU0", Returned("zap_pte_range", A, limit))

    verdict = judge_instance(recorder.end(zap), zap)

    assert verdict.findings == ()
    assert verdict.counters.legal_window_reads == 1


def test_accesses_wrong_by_place_take_no_part_in_a_models_verdict() -> None:
    """A word of poison has no version that could be out of order."""
    one = program(column("DEV0", load(A, "r0"), load(A, "r1")))
    recorder = Recorder()
    recorder.add("DEV0", met(A, 1, register="r0"))
    recorder.add("DEV0", met(A, -1, place=Place.POISON, register="r1"))

    verdict = judge_instance(recorder.end(one), one, [Ends("DEV0:r0", 1)])

    assert [finding.check for finding in verdict.findings] == ["S1", "condition"]
    assert verdict.weakest_model is None


def test_racy_locations_are_counted_and_not_judged() -> None:
    """Without one writer there is no order of versions to hold a load against."""
    racy = program(column("DEV0", load(A, "r0")), locations=(location("A", racy=True),))
    recorder = Recorder()
    recorder.add("DEV0", met(A, 5, register="r0"), met(A, 0, floor=9, register="r0"))
    recorder.add("daemon", resident(A, 0, floor=9))

    verdict = judge_instance(recorder.end(racy), racy)

    assert (verdict.findings, verdict.counters.unjudged_racy) == ((), 3)


@pytest.mark.parametrize(("step", "overlapped"), [(0, False), (1, True), (2, False)])
def test_overlap_means_a_device_access_within_an_operation(*, step: int, overlapped: bool) -> None:
    """An access before the first step, or after the return, proves nothing."""
    two = program(column("CPU0", run("wp_page_copy", A)), column("DEV0", load(A, "r0")))
    recorder = Recorder()
    for number in range(3):
        if number == step:
            recorder.add("DEV0", met(A, 0, register="r0"))
        if number < 2:
            recorder.step("CPU0", "wp_page_copy", ("alloc_page", "put_page")[number])

    assert overlapped == judge_instance(recorder.end(two), two).overlapped


def test_an_operation_goes_on_until_it_has_returned() -> None:
    """The return is the last step of an operation, and a second run of it is another."""
    two = program(column("CPU0", run("wp_page_copy", A)), column("DEV0", load(A, "r0")))
    recorder = Recorder()
    recorder.step("CPU0", "wp_page_copy", "put_page")
    recorder.add("CPU0", Returned("wp_page_copy", A, ALL))
    recorder.add("DEV0", met(A, 0, register="r0"))
    recorder.step("CPU0", "wp_page_copy", "alloc_page")

    assert not judge_instance(recorder.end(two), two).overlapped


def test_a_sync_is_causal() -> None:
    """A device that waited by ``sync`` for the writer's end has its store behind it."""
    two = program(column("CPU0", store(A, 1)), column("DEV0", load(A, "r0")))
    recorder = Recorder()
    recorder.add("CPU0", made(A, 1))
    recorder.add("DEV0", Synced(0))
    recorder.add("DEV0", met(A, 0, floor=2, register="r0"))

    verdict = judge_instance(recorder.end(two), two)

    assert verdict.weakest_model == Model.CAUSAL
    assert "CPU0 stored A=1 (version 1) before its end, which DEV0 waited for" in (
        verdict.findings[0].edges
    )


def test_the_counters_are_the_evidence_of_a_race() -> None:
    """Hits, misses, walks, invalidations and overlap are counted where they happened."""
    counts = judge_instance(deferred_two_pages(), COW_TWO_PAGES).counters.as_dict()

    assert {name: count for name, count in counts.items() if count} == {
        "invalidations_sent": 2,
        "invalidations_completed": 2,
        "atc_hits": 1,
        "atc_misses": 1,
        "walks": 1,
        "stale_eligible_hits": 1,
        "overlapped_instances": 1,
    }
