"""One instance as an HTML table: a row a time, a column a thread, and why it was wrong."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

from shootdown_protocol.history import Stamped
from shootdown_protocol.program import Program
from shootdown_verify.judge import Finding
from shootdown_verify.report.page import bullets
from shootdown_verify.report.rows import Cell, Row, thread_order, told_rows
from shootdown_verify.report.verdict import distinct

TIMELINE_STYLE: Final = """
table.timeline td, table.timeline th { border: 1px solid var(--line); padding: .25rem .45rem; }
table.timeline td { min-width: 9rem; max-width: 22rem; }
table.timeline td:empty { min-width: 5rem; }
table.timeline th { background: var(--soft); white-space: nowrap; }
table.timeline th:first-child { position: sticky; left: 0; }
table.timeline td.change { border-top: none; border-bottom: none; }
table.timeline b { display: block; }
"""


def render_timeline_table(
    records: Sequence[Stamped], program: Program, findings: Iterable[Finding] = ()
) -> str:
    """Show an instance's records, which must be merged in the order of their ends."""
    findings = tuple(findings)
    told = told_rows(records, program, findings)
    columns, servers = thread_order(program, told)
    tasks = [*columns, *servers]
    head = "".join(f"<th>{escape(task)}</th>" for task in tasks)
    body = "".join(_row(label, row, tasks, again) for label, row, again in told)
    why = "".join(_why(finding) for finding in distinct(findings))
    return (
        f"<div class=scroll><table class=timeline><tr><th></th>{head}</tr>{body}</table></div>{why}"
    )


def _why(finding: Finding) -> str:
    return f"<p class=wrong>{escape(finding.sentence)}</p>{bullets(finding.edges)}"


def _row(label: str, row: Row, tasks: Sequence[str], again: int) -> str:
    """A row's cells if it has any, then what changed, below each other."""
    lines = []
    if row.cells:
        lines.append("".join(_cell(row.cells.get(task)) for task in tasks))
    lines += [_wide(f"= {change}", tasks) for change in row.changes.values()]
    if again:
        lines.append(_wide(f"... the same, {again} times more", tasks))
    first, *rest = lines
    named = f"<tr><th rowspan={len(lines)}>{escape(label)}</th>{first}</tr>"
    return named + "".join(f"<tr>{line}</tr>" for line in rest)


def _wide(text: str, tasks: Sequence[str]) -> str:
    return f"<td class=change colspan={max(len(tasks), 1)}>{escape(text)}</td>"


def _cell(cell: Cell | None) -> str:
    if cell is None:
        return "<td></td>"
    said = []
    for group, items in cell.groups:
        steps = ", ".join(
            f"<span class=wrong>{escape(str(item))}</span>" if item.is_wrong else escape(item.text)
            for item in items
        )
        said.append(f"<b>{escape(group)}</b>{steps}" if group else f"<div>{steps}</div>")
    return f"<td>{''.join(said)}</td>"
