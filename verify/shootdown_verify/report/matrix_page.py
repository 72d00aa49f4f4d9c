"""The matrix as text for a terminal and as one HTML page that needs no network."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Final

from shootdown_verify.matrix.cells import Cell
from shootdown_verify.matrix.rule import BROKEN, SAFE
from shootdown_verify.report import page

_MARKS = {SAFE: "safe", BROKEN: "BROKEN"}
_UNDECIDED = "?"
_STYLE: Final = """
table.cells tr:first-child th { position: sticky; top: 0; background: var(--soft); }
table.cells th:first-child { position: sticky; left: 0; background: var(--soft); }
th, td { border: 1px solid var(--line); padding: .4rem .6rem; }
td.safe { background: #2a84; }
td.broken { background: #c334; }
td.inconclusive { background: #8883; }
"""


def render_matrix(cells: Sequence[Cell], rule: Sequence[str]) -> str:
    """A table with a row an operation and a column a discipline, then the rule."""
    rows = list(dict.fromkeys(cell.row for cell in cells))
    columns = list(dict.fromkeys(cell.discipline for cell in cells))
    by_place = {(cell.row, cell.discipline): cell for cell in cells}
    width = max(len(row.name) for row in rows)
    widths = [max(len(name), 10) for name in columns]
    head = [name.ljust(w) for name, w in zip(columns, widths, strict=True)]
    lines = [" " * width + "  " + " ".join(head)]
    for row in rows:
        marks = [_mark(by_place[row, name]) for name in columns]
        padded = [mark.ljust(w) for mark, w in zip(marks, widths, strict=True)]
        lines.append((row.name.ljust(width) + "  " + " ".join(padded)).rstrip())
    return "\n".join([*lines, "", "The rule that follows:", *(f"  {line}" for line in rule)])


def _mark(cell: Cell) -> str:
    worst = cell.worst
    if worst is None:
        return _MARKS.get(cell.verdict, _UNDECIDED)
    return f"{worst.check} in {worst.steps}"


def render_matrix_html(cells: Sequence[Cell], rule: Sequence[str]) -> str:
    """One page: the rule, the table, and each counterexample's replay file to copy."""
    rows = list(dict.fromkeys(cell.row for cell in cells))
    columns = list(dict.fromkeys(cell.discipline for cell in cells))
    by_place = {(cell.row, cell.discipline): cell for cell in cells}
    head = "".join(f"<th>{html.escape(name)}</th>" for name in columns)
    body = "".join(
        f"<tr><th>{html.escape(row.name)}</th>"
        + "".join(_html_cell(by_place[row, name]) for name in columns)
        + "</tr>"
        for row in rows
    )
    cells_table = (
        f"<div class=cells><table class=cells><tr><th></th>{head}</tr>{body}</table></div>"
    )
    return page.document(
        "shootdown matrix",
        _STYLE,
        "<h1>Every operation under every discipline</h1>"
        "<p>Each cell was explored: safe means that every order of every client was looked at and "
        "that a stale translation could have been used.</p>"
        + page.section("The rule that follows", page.table(("row", "rule"), _rules(rule)))
        + page.section("Cells", cells_table),
    )


def _rules(rule: Sequence[str]) -> list[tuple[str, str]]:
    """Each row's name, and what follows for it."""
    halves = (line.partition(": ") for line in rule)
    return [(name, said) for name, _, said in halves]


def _html_cell(cell: Cell) -> str:
    worst = cell.worst
    if worst is None:
        note = cell.reason or f"{cell.clients} clients, {cell.states:,} states"
        return f"<td class={cell.verdict}>{cell.verdict}<br><small>{html.escape(note)}</small></td>"
    schedule = (
        ""
        if worst.replay is None
        else "\n".join(f"{step.task} {step.step}" for step in worst.replay.steps)
    )
    return (
        f"<td class={cell.verdict}>{worst.check} {html.escape(worst.title)}<br>"
        f"<small>{html.escape(worst.client)}</small>"
        f"<details><summary>{worst.steps} steps</summary><pre>{html.escape(schedule)}</pre>"
        "</details></td>"
    )
