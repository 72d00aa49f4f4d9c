"""How the rate of violations grows with the time for which threads are held in the window.

``python -m benchmarks.preemption`` races `cow-two-pages` with CPU threads held between the unlock
of the page table and range_end, for longer and longer, and draws docs/preemption.svg.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

SCENARIO: Final = "cow-two-pages"
AT: Final = "wp_page_copy.invalidate_range_end"
DELAYS_MS: Final = (0, 1, 2, 5, 10, 20, 50, 100, 200)
DISCIPLINES: Final = ("range_end", "clear_flush")
INSTANCES: Final = 2000
PLOT: Final = Path(__file__).parents[1] / "docs" / "preemption.svg"


class Point(NamedTuple):
    """One run: the share of its instances that violate, in percent."""

    discipline: str
    ms: int
    percent: float


def measure(discipline: str, ms: int) -> Point:
    """Race in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="preemption-") as folder:
        words = ["run", SCENARIO, "--discipline", discipline, "--instances", str(INSTANCES)]
        if ms:
            plan = Path(folder) / "plan.toml"
            plan.write_text(f'[[fault]]\nkind = "cpu.preempt"\nat = "{AT}"\nms = {ms}\n')
            words += ["--fault", str(plan)]
        command = [sys.executable, "-m", "shootdown_cli.main", *words, "--json", "--out", folder]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        told = json.loads(ended.stdout)
    return Point(discipline, ms, 100.0 * told["violations"] / told["instances"])


# Drawing

WIDTH: Final = 640
HEIGHT: Final = 320
LEFT: Final = 60
RIGHT: Final = 610
TOP: Final = 40
BOTTOM: Final = 270
COLOURS: Final = {"range_end": "#c0392b", "clear_flush": "#1e8449"}
STYLE: Final = (
    "text{font:12px sans-serif;fill:#333}.t{font-weight:bold}.g{stroke:#ddd}"
    "@media(prefers-color-scheme:dark){text{fill:#ccc}.g{stroke:#444}}"
)


def draw(points: Sequence[Point]) -> str:
    """An SVG of all points, one line a discipline; the delays lie at equal distances."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        "<title>Violating instances against delay</title>",
        f"<style>{STYLE}</style>",
        f'<text class="t" x="{LEFT}" y="20">{SCENARIO}: violating instances, by how long</text>',
    ]
    for percent in range(0, 101, 25):
        y = _y(percent)
        parts.append(f'<line class="g" x1="{LEFT}" x2="{RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{percent}%</text>')
    for place, ms in enumerate(DELAYS_MS):
        x = _x(place)
        parts.append(f'<text x="{x:.1f}" y="{BOTTOM + 18}" text-anchor="middle">{ms} ms</text>')
    for discipline in DISCIPLINES:
        line = [point for point in points if point.discipline == discipline]
        places = [(_x(DELAYS_MS.index(point.ms)), _y(point.percent)) for point in line]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        colour = COLOURS[discipline]
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in places]
        x, y = places[-1]
        parts.append(
            f'<text x="{x:.1f}" y="{y - 8:.1f}" text-anchor="end" style="fill:{colour}">'
            f"{discipline}</text>"
        )
    return "\n".join((*parts, "</svg>")) + "\n"


def _x(place: int) -> float:
    return LEFT + 20 + place * (RIGHT - LEFT - 40) / (len(DELAYS_MS) - 1)


def _y(percent: float) -> float:
    return BOTTOM - percent / 100 * (BOTTOM - TOP)


def main() -> None:
    """Measure, print a table, draw."""
    points = []
    for discipline in DISCIPLINES:
        for ms in DELAYS_MS:
            points.append(measure(discipline, ms))
            print(f"{discipline:<12} {ms:>4} ms  {points[-1].percent:5.1f}%", flush=True)
    PLOT.write_text(draw(points))


if __name__ == "__main__":
    main()
