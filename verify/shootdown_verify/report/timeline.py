"""One instance as a table in the style of mm/mmu_notifier.rst: a row a time, a column a thread.

A cell begins in its thread's column and may run over the blank columns to its right; cells that do
not fit beside each other are set below each other. What changed follows its row, and why that was
wrong follows the table.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from shootdown_protocol.history import Stamped
from shootdown_protocol.program import Program
from shootdown_verify.judge import Finding
from shootdown_verify.report.rows import Cell, Row, Told, thread_order, told_rows
from shootdown_verify.report.style import Style, paint
from shootdown_verify.report.verdict import distinct

DEFAULT_WIDTH: Final = 120
WIDTH_MIN: Final = 60

_LABEL_WIDTH: Final = 8
_LAST_CELL_WIDTH: Final = 36
_COLUMN_WIDTHS: Final = range(3, 25)
_INDENT: Final = "  "


class _Piece(NamedTuple):
    """A text set at a column of a line."""

    at: int
    text: str
    style: Style


def render_timeline(
    records: Sequence[Stamped],
    program: Program,
    findings: Iterable[Finding] = (),
    *,
    width: int = DEFAULT_WIDTH,
    color: bool = False,
) -> str:
    """Show an instance's records, which must be merged in the order of their ends.

    ``findings`` are those of `judge.InstanceVerdict` on the same records. Lines have at most
    ``width`` characters (at least `WIDTH_MIN`); colours are not counted.
    """
    width = max(width, WIDTH_MIN)
    findings = tuple(findings)
    rows = told_rows(records, program, findings)
    anchors = _anchors(program, rows, width)
    lines: list[list[_Piece]] = []
    for label, row, again in rows:
        lines += _row_lines(label, row, anchors, width)
        if again:
            lines += _indented(f"... the same, {again} times more", width, Style.LABEL)
    for finding in distinct(findings):
        lines += _why_lines(finding, width)
    return "\n".join(_join(line, color=color) for line in lines)


def _anchors(program: Program, rows: Sequence[Told], width: int) -> dict[str, int]:
    """The column of text at which each thread's cells begin; threads outside the program last."""
    columns, servers = thread_order(program, rows)
    gaps = max(1, len(columns) - 1 + bool(servers))
    room = (width - _LABEL_WIDTH - _LAST_CELL_WIDTH) // gaps
    gap = min(max(room, _COLUMN_WIDTHS.start), _COLUMN_WIDTHS.stop - 1)
    anchors = {task: _LABEL_WIDTH + gap * place for place, task in enumerate(columns)}
    return anchors | dict.fromkeys(servers, _LABEL_WIDTH + gap * len(columns))


def _row_lines(label: str, row: Row, anchors: dict[str, int], width: int) -> list[list[_Piece]]:
    lines: list[list[_Piece]] = [[_Piece(0, label, Style.LABEL)]]
    end = len(label)
    for task in sorted(row.cells, key=anchors.__getitem__):
        cell, at = row.cells[task], anchors[task]
        style = Style.WRONG if cell.is_wrong else Style.PLAIN
        wrapped = _wrap(_text(task, cell), width - at)
        if end >= at:
            lines.append([])
        lines[-1].append(_Piece(at, wrapped[0], style))
        lines += [[_Piece(at + len(_INDENT), text, style)] for text in wrapped[1:]]
        end = at + len(wrapped[0]) if len(wrapped) == 1 else width
    if row.is_final:
        lines = []
    for change in row.changes.values():
        lines += _indented(f"= {change}", width, Style.CHANGE)
    if row.is_final:
        lines[0].insert(0, _Piece(0, label, Style.LABEL))
    return lines


def _text(task: str, cell: Cell) -> str:
    """``CPU0 {wp_page_copy A: alloc_page, copy_user_page}``."""
    said = []
    for group, items in cell.groups:
        steps = ", ".join(map(str, items))
        said.append(f"{group}: {steps}" if group else steps)
    return f"{task} {{{'; '.join(said)}}}"


def _why_lines(finding: Finding, width: int) -> list[list[_Piece]]:
    """A finding and its edges, below a ``why``."""
    lines = _indented(finding.sentence, width, Style.WRONG)
    lines[0].insert(0, _Piece(0, "why", Style.LABEL))
    for edge in finding.edges:
        lines += _indented(f"- {edge}", width, Style.PLAIN)
    return [[], *lines]


def _indented(text: str, width: int, style: Style) -> list[list[_Piece]]:
    """A text below the table, right of the labels."""
    first, *rest = _wrap(text, width - _LABEL_WIDTH)
    lines = [[_Piece(_LABEL_WIDTH, first, style)]]
    return lines + [[_Piece(_LABEL_WIDTH + len(_INDENT), part, style)] for part in rest]


def _wrap(text: str, width: int) -> list[str]:
    """Lines of at most ``width`` characters; all but the first leave room for the indent."""
    return [
        line if number == 0 else line.removeprefix(_INDENT)
        for number, line in enumerate(
            textwrap.wrap(text, width, subsequent_indent=_INDENT, break_on_hyphens=False)
        )
    ]


def _join(line: Sequence[_Piece], *, color: bool) -> str:
    text, end = "", 0
    for piece in line:
        text += " " * (piece.at - end) + paint(piece.text, piece.style, color=color)
        end = piece.at + len(piece.text)
    return text
