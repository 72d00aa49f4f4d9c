"""How the proof of `cow-two-pages` grows with pages, with reading threads and with reads of each.

A row compares a size with the smallest one. ``python -m benchmarks.growth`` draws what it measures
into docs/growth.svg and prints it as a table.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, get_args

from benchmarks.growing_scenarios import What, grown
from benchmarks.measure import Effort, Row, in_child

from shootdown_daemon.machine.disciplines import DISCIPLINES
from shootdown_verify.explore import Budget, explore

SIZES: Final = range(1, 5)
QUICK_SIZES: Final = range(1, 3)
BUDGET: Final = Budget(seconds=900, states=3_000_000)
"""States decide, so that what else the machine does has no say in what is proved."""
PLOT: Final = Path(__file__).parents[1] / "docs" / "growth.svg"
WHAT: Final[tuple[What, ...]] = get_args(What)
_LARGE: Final = 100_000
_MS: Final = 1000.0


class Point(NamedTuple):
    """One exploration, in seconds of processor time; not ``complete`` where the budget ended it."""

    what: What
    size: int
    states: int
    seconds: float
    complete: bool


def measure(what: What, size: int) -> Point:
    """Explore in a process that has done nothing else."""

    def work() -> dict[str, Any]:
        began = time.process_time()
        result = explore(
            grown(what, size).program, DISCIPLINES["clear_flush"], budget=BUDGET, samples=0
        )
        assert not result.counterexamples
        spent = time.process_time() - began
        return {"states": result.states, "s": spent, "complete": result.complete}

    told = in_child(work)
    return Point(what, size, told["states"], told["s"], told["complete"])


def rows(effort: Effort) -> Iterator[Row]:
    """A row for each size that takes a second or two; the large ones are drawn, not compared."""
    sizes = SIZES if effort.rounds > 1 else QUICK_SIZES
    for what in WHAT:
        first: list[float] = []
        for size in sizes:
            points = [measure(what, size) for _ in range(effort.rounds if size > 1 else 1)]
            first = first or [points[0].seconds * _MS]
            ours = [point.seconds * _MS for point in points]
            note = f"{points[0].states:,} states"
            name = f"proof, {what} {size} against 1"
            yield Row("growth", name, ours, first * len(ours), "ms", note=note)
            if points[0].states > _LARGE // 4:
                break


# Drawing

WIDTH: Final = 760
HEIGHT: Final = 340
PANEL: Final = 290
TOP: Final = 50
BOTTOM: Final = 290
LEFTS: Final = (80, 450)
COLOURS: Final = {"pages": "#c0392b", "threads": "#2471a3", "reads": "#1e8449"}
STYLE: Final = (
    "text{font:12px sans-serif;fill:#333}.t{font-weight:bold}.g{stroke:#ddd}"
    "@media(prefers-color-scheme:dark){text{fill:#ccc}.g{stroke:#444}}"
)


def draw(points: Sequence[Point]) -> str:
    """Two panels over the size, both logarithmic: states, and seconds. Hollow: not finished."""
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        "<title>Growth of the proof of cow-two-pages</title>",
        f"<style>{STYLE}</style>",
    ]
    lines += _panel(LEFTS[0], "states", [(point, float(point.states)) for point in points])
    lines += _panel(LEFTS[1], "seconds", [(point, point.seconds) for point in points])
    return "\n".join([*lines, "</svg>"]) + "\n"


def _panel(left: int, title: str, values: Sequence[tuple[Point, float]]) -> list[str]:
    low = math.floor(min(math.log10(value) for _, value in values))
    high = math.ceil(max(math.log10(value) for _, value in values))

    def across(size: int) -> float:
        return left + (size - 0.5) * PANEL / len(SIZES)

    def up(value: float) -> float:
        return BOTTOM - (math.log10(value) - low) * (BOTTOM - TOP) / (high - low)

    lines = [f'<text class="t" x="{left}" y="30">{title}</text>']
    for power in range(low, high + 1):
        y = up(10.0**power)
        lines.append(f'<line class="g" x1="{left}" x2="{left + PANEL}" y1="{y:.1f}" y2="{y:.1f}"/>')
        label = f"{10**power:,}" if power >= 0 else f"{10.0**power:g}"
        lines.append(f'<text x="{left - 5}" y="{y + 4:.1f}" text-anchor="end">{label}</text>')
    lines += [
        f'<text x="{across(size):.1f}" y="308" text-anchor="middle">{size}</text>' for size in SIZES
    ]
    for number, what in enumerate(WHAT):
        own = [(point, across(point.size), up(value)) for point, value in values]
        lines += _curve(what, [each for each in own if each[0].what == what])
        x = left + 100 * number
        lines.append(f'<circle cx="{x + 4}" cy="324" r="4" fill="{COLOURS[what]}"/>')
        lines.append(f'<text x="{x + 14}" y="328">{what}</text>')
    return lines


def _curve(what: What, places: Sequence[tuple[Point, float, float]]) -> list[str]:
    path = " ".join(f"{x:.1f},{y:.1f}" for _, x, y in places)
    colour = COLOURS[what]
    lines = [f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>']
    for point, x, y in places:
        fill = colour if point.complete else "#fff"
        told = f"{what} {point.size}: {point.states:,} states, {point.seconds:.2f} s"
        lines.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{fill}" stroke="{colour}">'
            f"<title>{told}</title></circle>"
        )
    return lines


def main() -> None:
    """Measure every size once, print a table, draw it."""
    points = []
    print("| what | size | states | seconds | |\n|---|---|---|---|---|")
    for what in WHAT:
        for size in SIZES:
            point = measure(what, size)
            points.append(point)
            end = "proved" if point.complete else "over budget"
            print(
                f"| {what} | {size} | {point.states:,} | {point.seconds:.2f} | {end} |", flush=True
            )
    PLOT.write_text(draw(points))


if __name__ == "__main__":
    main()
