"""Tests that the benchmarks run and print every row; how long anything takes is not looked at."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks.against_spin import TOOLS
from benchmarks.growth import Point, draw
from benchmarks.measure import Row

ROOT = Path(__file__).parents[2]
ROWS = {
    "instances": 4,
    "translations": 3,
    "start": 2,
    "spin": 4 if all(map(shutil.which, TOOLS)) else 0,
    "strategies": 8,
    "growth": 6,
    "checker": 15,
}
ROWS_A_PLACEMENT = 8
"""Of one shootdown: 1, 2, 4 and 8 agents, the whole and the links alone."""


@pytest.mark.timeout(180)
def test_a_quick_round_prints_every_row(tmp_path: Path) -> None:
    """Every comparison is made, and told to people and to programs alike."""
    placements = 1 if len(os.sched_getaffinity(0)) == 1 else 2
    expected = {"one-shootdown": placements * ROWS_A_PLACEMENT, **ROWS}

    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--quick", "--json", str(tmp_path / "rows.json")],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )

    rows = json.loads((tmp_path / "rows.json").read_text())["rows"]
    counted = {name: sum(row["benchmark"] == name for row in rows) for name in expected}
    assert counted == expected
    assert all(row["name"] in ran.stdout for row in rows)
    assert all(row["ratio_min"] > 0 for row in rows)


def test_a_row_compares_round_by_round() -> None:
    """A round in which the whole machine was slow spoils neither ratio."""
    row = Row(
        "start", "up", ours=[10.0, 90.0, 24.0], floor=[10.0, 60.0, 20.0], unit="ms", target=1.1
    )

    told = row.as_dict()

    assert told["ratios"] == pytest.approx((1.0, 1.5, 1.2))
    assert (told["ratio_min"], told["ratio_median"]) == pytest.approx((1.0, 1.2))
    assert told["met"] is False
    assert "missed" in row.as_line()


def test_growth_is_drawn() -> None:
    """Every point is in both panels, told by its numbers, hollow where it is no proof."""
    points = [Point("pages", 1, 200, 0.01, True), Point("pages", 2, 7000, 0.1, False)]

    circles = re.findall(r'<circle [^>]*fill="(\S+)" [^>]*><title>(.*?)</title>', draw(points))

    assert [told for _, told in circles] == [
        "pages 1: 200 states, 0.01 s",
        "pages 2: 7,000 states, 0.10 s",
    ] * 2
    assert [fill == "#fff" for fill, _ in circles] == [False, True] * 2
