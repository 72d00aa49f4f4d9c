"""The rows of a timeline, however it is shown: which steps stand beside each other at one time.

Steps of one thread that nothing came between are one cell. Steps of several threads share a row
where they commute, so that there are as few rows as keep the order of all that does not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from shootdown_protocol.history import Stamped
from shootdown_protocol.program import Program
from shootdown_verify.judge import Finding
from shootdown_verify.report.moments import Change, Moment, moments

_PERIOD_MAX: Final = 4
"""Rows that a loop may take for one round, to be told once."""
_TOLD_ONCE: Final = 2
"""Rounds more of a loop from which on they are only counted."""


class Item(NamedTuple):
    """One step, or what came of it."""

    text: str
    is_wrong: bool

    def __str__(self) -> str:
        """``! read A=0``: what is wrong is marked."""
        return f"! {self.text}" if self.is_wrong else self.text


@dataclass(slots=True)
class Cell:
    """What one thread did in one row: items by group, an operation and its location, in order."""

    groups: list[tuple[str, list[Item]]] = field(default_factory=list)

    def add(self, moment: Moment) -> None:
        """Append an item to the last group, or to a new one."""
        item = Item(moment.item, moment.is_wrong)
        if self.groups and self.groups[-1][0] == moment.group:
            self.groups[-1][1].append(item)
        else:
            self.groups.append((moment.group, [item]))

    @property
    def is_wrong(self) -> bool:
        """Whether one of its steps has a finding."""
        return any(item.is_wrong for _, items in self.groups for item in items)


@dataclass(slots=True)
class Row:
    """One time: cells by thread, and what changed, by what it changed of."""

    cells: dict[str, Cell] = field(default_factory=dict)
    changes: dict[str, Change] = field(default_factory=dict)
    is_final: bool = False
    _touched: dict[str, set[int]] = field(default_factory=dict)
    _accessed: set[str] = field(default_factory=set)

    def takes(self, moment: Moment) -> bool:
        """Whether a moment may stand here: it commutes with all that other threads did."""
        if moment.is_final != self.is_final:
            return False
        others = [task for task in self._touched if task != moment.task]
        if moment.is_access and any(task in self._accessed for task in others):
            return False
        return not any(moment.location in self._touched[task] for task in others)

    def add(self, moment: Moment) -> None:
        """Put a moment into its thread's cell."""
        if moment.item:
            self.cells.setdefault(moment.task, Cell()).add(moment)
        touched = self._touched.setdefault(moment.task, set())
        if moment.location >= 0:
            touched.add(moment.location)
        if moment.is_access:
            self._accessed.add(moment.task)
        for change in moment.changes:
            first = self.changes.get(change.subject, change)
            self.changes[change.subject] = change._replace(before=first.before)


class Told(NamedTuple):
    """A row as it is shown: its label, and how often it and those before it come again after it."""

    label: str
    row: Row
    again: int


def told_rows(
    records: Sequence[Stamped], program: Program, findings: Iterable[Finding] = ()
) -> list[Told]:
    """An instance's rows, those of a loop once; records are merged in the order of their ends."""
    wrong = frozenset(finding.index for finding in findings if finding.index >= 0)
    rows = _rows(moments(records, program, wrong))
    told: list[Told] = []
    number = 0
    while number < len(rows):
        row = rows[number]
        label = "end" if row.is_final else f"[N+{number}]" if number else "[N]"
        number += 1
        period, times = _repetition(rows, number)
        again = times if times >= _TOLD_ONCE else 0
        number += period * again
        told.append(Told(label, row, again))
    return told


def thread_order(program: Program, told: Iterable[Told]) -> tuple[list[str], list[str]]:
    """The scenario's columns that did something, in its order; then the other threads that did."""
    tasks = list(dict.fromkeys(task for each in told for task in each.row.cells))
    columns = [column.name for column in program.columns if column.name in tasks]
    return columns, [task for task in tasks if task not in columns]


def _rows(told: Iterable[Moment]) -> list[Row]:
    rows: list[Row] = []
    for moment in told:
        if not rows or not rows[-1].takes(moment):
            rows.append(Row(is_final=moment.is_final))
        rows[-1].add(moment)
    return [row for row in rows if row.cells or row.changes]


def _repetition(rows: Sequence[Row], number: int) -> tuple[int, int]:
    """How many rows before a number come again after it, and how often."""
    for period in range(1, min(_PERIOD_MAX, number) + 1):
        round_ = rows[number - period : number]
        times = 0
        while rows[number + times * period : number + (times + 1) * period] == round_:
            times += 1
        if times:
            return period, times
    return 0, 0
