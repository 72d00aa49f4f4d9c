"""Real bugs on real processes: a fault holds threads in their windows, and they come out."""

from __future__ import annotations

import pytest
from tests.processes.ground import Ground

LIVE = [
    ("cve-2018-18281", ("--mutant", "mremap_flushes_late"), "move_ptes.{}"),
    ("invalidate-page-after-unlock", ("--discipline", "after_unlock"), "wp_page_copy.{}"),
    ("cve-2025-21939", ("--mutant", "mirror_touches_early"), "mirror.mmap_read_unlock"),
]
"""A bug, what its wrong side is, and the step before which its window is open."""
FLUSH = "arch_invalidate_secondary_tlbs"
INSTANCES = 400


def held(ground: Ground, step: str) -> str:
    """A plan that holds threads before a step."""
    path = ground.root / "held.toml"
    fault = f'[[fault]]\nkind = "cpu.preempt"\nat = "{step.format(FLUSH)}"\nms = 20\n'
    path.write_text(fault)
    return str(path)


@pytest.mark.parametrize(("bug", "wrong", "step"), LIVE, ids=[bug for bug, _, _ in LIVE])
def test_a_bug_is_found_live_where_its_window_is_held_open(
    ground: Ground, bug: str, wrong: tuple[str, ...], step: str
) -> None:
    """Its wrong side is a violation, and the same hold does the right side no harm."""
    plan = ("--fault", held(ground, step))

    found = ground.run(bug, *wrong, *plan, instances=INSTANCES)
    fixed = ground.run(bug, *plan, instances=INSTANCES)

    assert (found.status, found.told["verdict"]) == (1, "violation"), str(found)
    assert found.told["violations"] > 0
    assert [fault["applied"] > 0 for fault in found.told["faults"]] == [True]
    assert fixed.status in (0, 3), str(fixed)
    assert (fixed.told["instances"], fixed.told["violations"]) == (INSTANCES, 0)
