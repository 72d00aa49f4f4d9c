"""A whole run: violation, ok only with all the evidence, inconclusive with the reason."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import msgspec
import pytest
from tests.verify.record_builders import COW_TWO_PAGES, FRAME, deferred_two_pages, program

from shootdown_protocol.history import (
    Access,
    AnyRecord,
    Ended,
    Fault,
    Invalidation,
    Stamped,
    Step,
    Stray,
)
from shootdown_protocol.program import Program
from shootdown_verify.judge import Condition, Model, RunVerdict, judge_run


@dataclass(frozen=True)
class Scenario:
    """What the judge asks of one."""

    program: Program = COW_TWO_PAGES
    conditions: Sequence[Condition] = ()


def right_two_pages(instance: int = 0) -> list[Stamped]:
    """The same instance with a read that began before any store had ended."""
    return [
        with_record(stamped, floor=0) if isinstance(stamped.record, Access) else stamped
        for stamped in deferred_two_pages(instance)
    ]


def with_record(stamped: Stamped, **changes: object) -> Stamped:
    """The same record with some fields changed."""
    record = msgspec.structs.replace(stamped.record, **changes)
    return msgspec.structs.replace(stamped, record=record)


def streams(records: Iterable[Stamped]) -> list[list[Stamped]]:
    """Records as the daemon and one agent would have written them."""
    by_agent: list[Stamped] = []
    by_daemon: list[Stamped] = []
    for stamped in records:
        (by_agent if stamped.task.startswith(("DEV", "d0")) else by_daemon).append(stamped)
    return [by_daemon, by_agent]


def judged(records: Iterable[Stamped], **options: object) -> RunVerdict:
    """The verdict on a run of one batch."""
    usual: dict[str, object] = {
        "instances_per_batch": 4,
        "ended_batches": range(100),
        "discipline": "clear_flush",
    }
    return judge_run(streams(records), Scenario(), **{**usual, **options})  # type: ignore[arg-type]


def test_a_run_with_one_wrong_instance_is_a_violation() -> None:
    """One bad instance among good ones is counted, named and kept."""
    records = [*right_two_pages(0), *deferred_two_pages(1), *right_two_pages(2)]

    verdict = judged(records)

    assert (verdict.verdict, verdict.instances, verdict.violations) == ("violation", 3, 1)
    assert verdict.weakest_model == Model.REAL_TIME
    assert verdict.first is not None
    assert (verdict.first.instance, len(verdict.first.records)) == (1, len(records) // 3)
    assert verdict.first.verdict.findings[0].edges
    assert verdict.sample is not None
    assert (verdict.sample.instance, verdict.sample.verdict.findings) == (0, ())


def test_a_run_with_all_the_evidence_is_ok() -> None:
    """Right instances whose counters show the race are ok."""
    verdict = judged([*right_two_pages(0), *right_two_pages(1)])

    assert (verdict.verdict, verdict.reasons) == ("ok", ())
    assert verdict.histogram["DEV0:r0=0 DEV2:r1=1"].count == 2


def without(kind: type[AnyRecord], **fields: object) -> list[Stamped]:
    """A right instance without the records that have these fields."""
    return [
        stamped
        for stamped in right_two_pages()
        if not isinstance(stamped.record, kind)
        or any(getattr(stamped.record, name) != value for name, value in fields.items())
    ]


@pytest.mark.parametrize(
    ("records", "reason"),
    [
        ([], "no instance was judged"),
        ([with_record(s, hit=False) if hasattr(s.record, "hit") else s for s in right_two_pages()],
         "no warm hit"),
        ([with_record(s, stale=False) if hasattr(s.record, "hit") else s
          for s in right_two_pages()], "could have been stale"),
        (without(Invalidation), "no invalidation was completed"),
        (without(Step, operation="wp_page_copy"), "no overlap"),
    ],
)  # fmt: skip
def test_a_run_without_evidence_is_inconclusive(records: list[Stamped], reason: str) -> None:
    """A race that could not have happened proves nothing, and the reason is said."""
    verdict = judged(records)

    assert verdict.verdict == "inconclusive"
    assert reason in " ".join(verdict.reasons)


def test_no_invalidation_is_owed_under_no_discipline() -> None:
    """Under ``none`` nobody notifies, so the lack of completions is no reason."""
    verdict = judged(without(Invalidation), discipline="none")

    assert (verdict.verdict, verdict.reasons) == ("ok", ())


def test_unfinished_instances_make_a_run_inconclusive() -> None:
    """What was cut short is not judged as a whole, and not passed over."""
    verdict = judged([*right_two_pages(0), *deferred_two_pages(4)[:30]], ended_batches={0})

    assert (verdict.verdict, verdict.instances) == ("inconclusive", 1)
    assert verdict.reasons == ("1 instances did not finish",)


def test_a_wrong_record_of_an_unfinished_instance_is_a_violation() -> None:
    """A device whose completion nobody asked for may keep its instance from ever ending."""
    cut_short = deferred_two_pages(4)[:30]
    wrong = next(s for s in cut_short if isinstance(s.record, Invalidation))

    records = [*right_two_pages(0), *cut_short, with_record(wrong, state="unexpected")]
    verdict = judged(records, ended_batches={0})

    assert (verdict.verdict, verdict.instances, verdict.violations) == ("violation", 1, 1)
    assert verdict.findings == {("protocol", "unexpected-completion"): 1}


def test_the_testbeds_doubts_make_a_run_inconclusive() -> None:
    """A testbed that says it lost something is believed, unless there is a violation anyway."""
    assert judged(right_two_pages(), doubts=["a gap in d0's sequence"]).verdict == "inconclusive"
    assert judged(deferred_two_pages(), doubts=["a gap in d0's sequence"]).verdict == "violation"


def test_a_column_without_an_end_in_an_ended_batch_is_a_violation() -> None:
    """A deadlock is found when the daemon says that all is quiet."""
    verdict = judged(without(Ended, column=4))

    assert verdict.verdict == "violation"
    assert verdict.findings == {("S5", "deadlock"): 1}
    assert verdict.weakest_model is None


def test_a_late_record_is_judged_by_itself_and_counted() -> None:
    """A record that comes after its batch is a doubt, and a violation if it is wrong."""
    late = Stamped(0, 1, 0, 0, "DEV0", Fault(0, write=False, answer="success", exhausted=False))
    wrong = with_record(late, exhausted=True)

    records = [*right_two_pages(4), late]
    assert judged(records).reasons == ("1 records came after their batch had been judged",)
    assert judged([*records, wrong]).violations == 1


def test_a_record_of_no_instance_is_no_doubt() -> None:
    """What is done between batches belongs to none of them, and is judged all the same."""
    between = Stamped(0, 1, 0, -1, "d0.invalidate", Step("", "invalidate_completion", -1, ""))
    wrong = msgspec.structs.replace(between, record=Stray(FRAME, 1, 7))

    assert judged([between, *right_two_pages()]).verdict == "ok"
    assert judged([wrong, *right_two_pages()]).findings == {("S1", "stray-store"): 1}


def test_the_weakest_model_of_a_run_is_that_of_its_worst_instance() -> None:
    """Coherence is named although other instances break only real time."""
    worst = [
        with_record(stamped, order=1, value=1)
        if isinstance(stamped.record, Access) and stamped.task == "DEV0"
        else stamped
        for stamped in right_two_pages(1)
    ]
    again = next(
        s for s in deferred_two_pages(1) if isinstance(s.record, Access) and s.record.stale
    )
    verdict = judged([*deferred_two_pages(0), *worst, again])

    assert verdict.violations == 2
    assert verdict.weakest_model == Model.COHERENCE


def test_agents_and_instances_may_interleave_within_a_batch() -> None:
    """The verdict does not depend on the order of instances within a batch."""
    good, bad = right_two_pages(0), deferred_two_pages(1)
    mixed = [stamped for pair in zip(good, bad, strict=True) for stamped in pair]

    assert judged(mixed).violations == judged([*good, *bad]).violations == 1


def test_a_run_is_judged_in_the_memory_of_one_batch() -> None:
    """Ten times the batches do not need ten times the memory."""

    def run(instances: int) -> Iterator[Stamped]:
        for instance in range(instances):
            yield from right_two_pages(instance)

    def peak(instances: int) -> int:
        tracemalloc.start()
        judge_run(
            [run(instances)],
            Scenario(),
            instances_per_batch=4,
            ended_batches=range(1000),
            discipline="clear_flush",
        )
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    assert peak(160) < 1.5 * peak(16)


def test_an_empty_program_owes_no_evidence_but_instances() -> None:
    """Without instances only that is said, not everything that follows from it."""
    verdict = judge_run(
        [[], []],
        Scenario(program()),
        instances_per_batch=4,
        ended_batches=(),
        discipline="clear_flush",
    )

    assert verdict.reasons == ("no instance was judged",)
