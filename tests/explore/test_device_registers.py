"""Attach, detach and reset hold whatever caches there are in front of the device."""

from __future__ import annotations

import msgspec
import pytest
from tests.explore.shipped import ALL

from shootdown_daemon.machine.disciplines import DISCIPLINES
from shootdown_verify.explore import Verdict, explore

NAMES = ("device-attach", "device-detach", "device-reset")
IOMMUS = ({"iotlb": "on"}, {"walk_by_level": "on", "walk_cache": "on"})


@pytest.mark.parametrize("options", IOMMUS, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_what_the_iommu_caches_is_thought_of(name: str, options: dict[str, str]) -> None:
    """A reset empties the device alone; the IOTLB that refills it must be told of all there was."""
    program = ALL[name].program
    said = msgspec.structs.replace(program, options={**program.options, **options})

    result = explore(said, DISCIPLINES["clear_flush"], conditions=ALL[name].conditions)

    assert (result.verdict, result.complete) == (Verdict.OK, True)


@pytest.mark.parametrize(
    ("name", "attached"), [("device-attach", False), ("device-reattach", True)]
)
def test_devices_begin_attached_unless_a_column_attaches_them(name: str, attached: bool) -> None:
    """Who detaches them first finds them attached, and may attach them again."""
    assert ALL[name].program.begins_attached is attached
    assert ALL[name].program.has_functions
    assert not ALL["cow-two-pages"].program.has_functions
