"""S1 to S5 on single records: each planted wrong is found, and what is legal is not."""

from __future__ import annotations

import pytest
from tests.verify.record_builders import ALL, FRAME, location, made, met, program, resident

from shootdown_protocol.board import READ, WRITE, pack_limit
from shootdown_protocol.history import AnyRecord, Fault, Kind, Place, Stray, TableWalk
from shootdown_protocol.words import make_order
from shootdown_verify.check.finding import Finding
from shootdown_verify.judge import Model, check_record

A, B, CHILD, RACY = range(4)
PROGRAM = program(
    locations=(
        location("A"),
        location("B"),
        location("C", parent=A),
        location("R", racy=True),
    )
)
READ_ONLY = pack_limit(0, READ)
UNMAPPED = pack_limit(make_order(1, 0), 0)
SECOND_EPOCH = pack_limit(make_order(1, 0), READ | WRITE)
PASSED_ON = pack_limit(0, READ | WRITE, ceiling=4)


def found(record: AnyRecord) -> Finding:
    """The finding in a record, which must have one."""
    finding = check_record(record, PROGRAM)
    assert finding is not None
    return finding


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("place", [place for place in Place if place is not Place.OK])
def test_an_access_outside_its_own_live_frame_is_s1(place: Place, kind: Kind) -> None:
    """Poison, foreign words, old generations and missing frames are all places gone wrong."""
    finding = found(met(place=place, order=-1, kind=kind))

    assert (finding.check, finding.model) == ("S1", None)


def test_a_broken_poison_is_s1() -> None:
    """A store into a freed frame is found when the frame is handed out again."""
    finding = found(Stray(FRAME, 3, 0x5A))

    assert (finding.check, finding.title) == ("S1", "stray-store")


@pytest.mark.parametrize(
    ("place", "said"), [(Place.POISON, "its poison"), (Place.GENERATION, "its next owner")]
)
def test_a_walk_through_a_freed_table_is_s1(place: Place, said: str) -> None:
    """A table page that was freed is a place gone wrong like any other frame."""
    finding = found(TableWalk(1, FRAME, place))

    assert (finding.check, finding.title) == ("S1", "table-use-after-free")
    assert said in finding.why


def test_a_load_below_its_floor_is_s2() -> None:
    """Version 0 is stale once version 1 has been stored in full."""
    finding = found(met(A, 0, floor=2))

    assert (finding.check, finding.model) == ("S2", Model.REAL_TIME)
    assert finding.why == (
        "read A=0 (version 0) although version 1 had been stored in full before the read began"
    )


@pytest.mark.parametrize(
    "record",
    [
        met(A, 1, floor=2),
        met(A, 5, floor=2),
        met(A, 0, floor=0),
        met(A, 9, floor=make_order(1, 0) + 1),
        met(A, make_order(1, 0), floor=10),
        met(RACY, 0, floor=2),
        made(A, 1, floor=9),
    ],
    ids=["newest", "newer", "none stored", "old epoch", "new epoch", "racy", "a store"],
)
def test_a_load_that_met_what_it_had_to_is_not_s2(record: AnyRecord) -> None:
    """Only loads of an older version of the same epoch are stale."""
    assert check_record(record, PROGRAM) is None


def test_a_child_that_misses_its_parents_store_is_s2() -> None:
    """The version that fork passed on is the least that its child may meet."""
    assert found(met(CHILD, 3, source=A, limit=PASSED_ON)).check == "S2"
    assert check_record(met(CHILD, 4, source=A, limit=PASSED_ON), PROGRAM) is None


def test_a_child_that_misses_its_own_store_is_s2() -> None:
    """No version of the parent is new enough once the child has stored."""
    finding = found(met(CHILD, 4, source=A, floor=2, limit=PASSED_ON))

    assert finding.check == "S2"
    assert "version 1 of C itself" in finding.why


@pytest.mark.parametrize("final", [False, True])
def test_a_mapped_frame_without_the_newest_store_is_s3(*, final: bool) -> None:
    """An ended store that is not in the frame is lost, whenever that is seen."""
    finding = found(resident(A, 0, floor=2, final=final))

    assert (finding.check, finding.title) == ("S3", "lost-store")


def test_a_mapped_frame_without_any_version_is_s3() -> None:
    """A frame of poison has lost the store as well."""
    assert found(resident(A, -1, floor=2, source=-1)).check == "S3"


def test_a_child_mapped_to_its_parents_version_has_lost_its_own() -> None:
    """A version of the parent is never newer than one of the child."""
    assert found(resident(CHILD, 9, floor=2, source=A)).check == "S3"
    assert check_record(resident(CHILD, 0, floor=0, source=A), PROGRAM) is None


@pytest.mark.parametrize(
    "record",
    [
        resident(A, 1, floor=2),
        resident(A, -1, floor=0, source=-1),
        resident(A, make_order(1, 0), floor=2),
        resident(A, 5, floor=make_order(1, 1) + 1),
        resident(A, -1, floor=2, pfn=-1),
        resident(RACY, 0, floor=2),
    ],
    ids=["newest", "none stored", "new epoch", "old epoch", "nothing mapped", "racy"],
)
def test_a_mapped_frame_with_what_it_should_hold_is_not_s3(record: AnyRecord) -> None:
    """Nothing is lost where the newest store is there, or none is owed."""
    assert check_record(record, PROGRAM) is None


@pytest.mark.parametrize(
    ("record", "title"),
    [
        (met(A, 0, limit=UNMAPPED), "permission-after-return"),
        (made(A, 1, limit=READ_ONLY), "permission-after-return"),
        (met(A, 0, limit=SECOND_EPOCH), "old-epoch-after-return"),
        (made(A, 1, limit=SECOND_EPOCH), "old-epoch-after-return"),
        (met(CHILD, 5, source=A, limit=PASSED_ON), "parent-store-after-fork"),
    ],
    ids=["unmapped", "read-only", "old epoch read", "old epoch stored", "above the ceiling"],
)
def test_an_access_that_a_returned_operation_ruled_out_is_s4(record: AnyRecord, title: str) -> None:
    """Permission, epoch and ceiling bind every access begun after the return."""
    finding = found(record)

    assert (finding.check, finding.title) == ("S4", title)


@pytest.mark.parametrize(
    "record",
    [
        met(A, 0, limit=READ_ONLY),
        met(A, make_order(1, 0), limit=SECOND_EPOCH),
        met(A, make_order(2, 0), limit=SECOND_EPOCH),
        made(A, 1, limit=ALL),
    ],
    ids=["a read of read-only", "the epoch", "a later epoch", "no limit"],
)
def test_an_access_within_its_limit_is_not_s4(record: AnyRecord) -> None:
    """What a returned operation still allows is allowed."""
    assert check_record(record, PROGRAM) is None


def test_a_device_that_gives_up_is_s5() -> None:
    """Page requests that never help are a lack of progress, one that helps is not."""
    assert found(Fault(A, write=True, answer="success", exhausted=True)).check == "S5"
    assert check_record(Fault(A, write=True, answer="success", exhausted=False), PROGRAM) is None
