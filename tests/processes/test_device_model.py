"""Options of devices on real processes: the host's queue, its caches, and faulty devices."""

from __future__ import annotations

from typing import Any

import pytest
from tests.processes.ground import Ended, Ground

PRI = ("page_groups=on", "page_request_queue=1", "page_requests=2", "stop_markers=on")
ATS = ("vector=on", "completions=3", "queue_depth=2", "atc_entries=1024", "replacement=lru")


def told(ended: Ended) -> dict[str, Any]:
    """What a run said, which must be all."""
    said: dict[str, Any] = ended.told
    return said


def options(*said: str) -> tuple[str, ...]:
    """Options as a command line has them."""
    return tuple(word for each in said for word in ("--option", each))


@pytest.mark.parametrize("dialect", ["vtd", "smmuv3", "riscv"])
def test_every_dialect_is_ok_under_the_right_discipline(ground: Ground, dialect: str) -> None:
    """Instances race through command queues, IOTLB and device TLB told one after the other."""
    ended = ground.run("cow-two-pages", *options(f"dialect={dialect}"), instances=200)

    assert (ended.status, told(ended)["verdict"]) == (0, "ok"), str(ended)
    counters = told(ended)["counters"]
    assert counters["invalidations_completed"] == counters["invalidations_sent"] >= 200


def test_a_wrong_discipline_is_caught_through_a_queue(ground: Ground) -> None:
    """The queue changes how the device is told, and not when."""
    wrong = ("--discipline", "range_end", *options("dialect=smmuv3"))
    ended = ground.run("cow-two-pages", *wrong, instances=600)

    assert (ended.status, told(ended)["verdict"]) == (1, "violation"), str(ended)


def test_counts_vectors_groups_and_bounds_harm_nobody(ground: Ground) -> None:
    """A busy device that is right is found right, whatever it is like."""
    ended = ground.run("stop-marker", *options(*PRI, *ATS), instances=300)

    assert (ended.status, told(ended)["verdict"]) == (0, "ok"), str(ended)


@pytest.mark.parametrize(
    ("scenario", "device", "check"),
    [
        ("stop-marker", "stops_early", "protocol"),
        ("duplicate-completion", "duplicate_completion", "protocol"),
        ("pasid-tags", "ignores_pasid", "S1"),
        ("global-invalidation", "ignores_global", "S1"),
        ("refused-page-request", "retries_for_ever", "S5"),
    ],
)
def test_a_faulty_device_is_caught_live(
    ground: Ground, scenario: str, device: str, check: str
) -> None:
    """Its name and its scenario are all that is said."""
    ended = ground.run(scenario, "--device", device, instances=300)

    assert (ended.status, told(ended)["verdict"]) == (1, "violation"), str(ended)
    assert check in {finding["check"] for finding in told(ended)["findings"]}


def test_a_device_is_reset_while_others_invalidate(ground: Ground) -> None:
    """What a reset loses is waited for by nobody, and its ITags are used again."""
    ended = ground.run("device-reset", instances=300)

    assert (ended.status, told(ended)["verdict"]) == (0, "ok"), str(ended)


def test_a_device_attached_again_with_its_old_translations_is_caught(ground: Ground) -> None:
    """A wrong order of detaching, on real processes."""
    ended = ground.run("device-reattach", "--mutant", "detaches_unflushed", instances=1500)

    assert (ended.status, told(ended)["verdict"]) == (1, "violation"), str(ended)
