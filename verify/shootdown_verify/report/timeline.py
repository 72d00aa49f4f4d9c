"""One instance as a table in the style of mm/mmu_notifier.rst: a row a time, a column a thread.

Steps of one thread that nothing came between are one cell. A cell begins in its thread's column
and may run over the blank columns to its right; cells that do not fit beside each other are set
below each other. What changed follows its row, and why that was wrong follows the table.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from shootdown_protocol.history import Stamped
from shootdown_protocol.program import Program
from shootdown_verify.judge import Finding
from shootdown_verify.report.moments import Change, Moment, moments
from shootdown_verify.report.style import Style, paint

DEFAULT_WIDTH: Final = 120
WIDTH_MIN: Final = 60

_LABEL_WIDTH: Final = 8
_LAST_CELL_WIDTH: Final = 36
_COLUMN_WIDTHS: Final = range(3, 25)
_INDENT: Final = "  "
_PERIOD_MAX: Final = 4
"""Rows that a loop may take for one round, to be told once."""
_TOLD_ONCE: Final = 2
"""Rounds more of a loop from which on they are only counted."""


@dataclass(slots=True)
class _Cell:
    """What one thread did in one row: items by group, in order."""

    groups: list[tuple[str, list[str]]] = field(default_factory=list)
    is_wrong: bool = False

    def add(self, moment: Moment) -> None:
        """Append an item to the last group, or to a new one."""
        item = f"! {moment.item}" if moment.is_wrong else moment.item
        if self.groups and self.groups[-1][0] == moment.group:
            self.groups[-1][1].append(item)
        else:
            self.groups.append((moment.group, [item]))
        self.is_wrong |= moment.is_wrong

    def text(self, task: str) -> str:
        """``CPU0 {wp_page_copy A: alloc_page, copy_user_page}``."""
        said = (
            f"{group}: {', '.join(items)}" if group else ", ".join(items)
            for group, items in self.groups
        )
        return f"{task} {{{'; '.join(said)}}}"


@dataclass(slots=True)
class _Row:
    """One time: cells by thread, and what changed."""

    cells: dict[str, _Cell] = field(default_factory=dict)
    touched: dict[str, set[int]] = field(default_factory=dict)
    accessed: set[str] = field(default_factory=set)
    changes: dict[str, Change] = field(default_factory=dict)
    is_final: bool = False

    def takes(self, moment: Moment) -> bool:
        """Whether a moment may stand here: it commutes with all that other threads did."""
        if moment.is_final != self.is_final:
            return False
        others = [task for task in self.touched if task != moment.task]
        if moment.is_access and any(task in self.accessed for task in others):
            return False
        return not any(moment.location in self.touched[task] for task in others)

    def add(self, moment: Moment) -> None:
        """Put a moment into its thread's cell."""
        if moment.item:
            self.cells.setdefault(moment.task, _Cell()).add(moment)
        touched = self.touched.setdefault(moment.task, set())
        if moment.location >= 0:
            touched.add(moment.location)
        if moment.is_access:
            self.accessed.add(moment.task)
        for change in moment.changes:
            first = self.changes.get(change.subject, change)
            self.changes[change.subject] = change._replace(before=first.before)


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
    wrong = frozenset(finding.index for finding in findings if finding.index >= 0)
    rows = _rows(moments(records, program, wrong))
    anchors = _anchors(program, rows, width)
    lines: list[list[_Piece]] = []
    number = 0
    while number < len(rows):
        lines += _row_lines(number, rows[number], anchors, width)
        number += 1
        period, times = _repetition(rows, number)
        if times >= _TOLD_ONCE:
            said = f"... the same, {times} times more"
            lines += _indented(said, width, Style.LABEL)
            number += period * times
    told: set[str] = set()
    for finding in findings:
        if finding.sentence not in told:
            lines += _why_lines(finding, width)
        told.add(finding.sentence)
    return "\n".join(_join(line, color=color) for line in lines)


def _rows(told: Iterable[Moment]) -> list[_Row]:
    """Put moments into rows: as few as keep the order of all that does not commute."""
    rows: list[_Row] = []
    for moment in told:
        if not rows or not rows[-1].takes(moment):
            rows.append(_Row(is_final=moment.is_final))
        rows[-1].add(moment)
    return [row for row in rows if row.cells or row.changes]


def _repetition(rows: Sequence[_Row], number: int) -> tuple[int, int]:
    """How many rows before a number come again after it, and how often."""
    for period in range(1, min(_PERIOD_MAX, number) + 1):
        round_ = rows[number - period : number]
        times = 0
        while rows[number + times * period : number + (times + 1) * period] == round_:
            times += 1
        if times:
            return period, times
    return 0, 0


def _anchors(program: Program, rows: Sequence[_Row], width: int) -> dict[str, int]:
    """The column of text at which each thread's cells begin; threads outside the program last."""
    tasks = list(dict.fromkeys(task for row in rows for task in row.cells))
    columns = [column.name for column in program.columns if column.name in tasks]
    servers = [task for task in tasks if task not in columns]
    gaps = max(1, len(columns) - 1 + bool(servers))
    room = (width - _LABEL_WIDTH - _LAST_CELL_WIDTH) // gaps
    gap = min(max(room, _COLUMN_WIDTHS.start), _COLUMN_WIDTHS.stop - 1)
    anchors = {task: _LABEL_WIDTH + gap * place for place, task in enumerate(columns)}
    return anchors | dict.fromkeys(servers, _LABEL_WIDTH + gap * len(columns))


def _row_lines(number: int, row: _Row, anchors: dict[str, int], width: int) -> list[list[_Piece]]:
    label = "end" if row.is_final else f"[N+{number}]" if number else "[N]"
    lines: list[list[_Piece]] = [[_Piece(0, label, Style.LABEL)]]
    end = len(label)
    for task in sorted(row.cells, key=anchors.__getitem__):
        cell, at = row.cells[task], anchors[task]
        style = Style.WRONG if cell.is_wrong else Style.PLAIN
        wrapped = _wrap(cell.text(task), width - at)
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
