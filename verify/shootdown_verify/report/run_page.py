"""A run as one HTML page that needs no network: verdict, histogram, counters, first violation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

from shootdown_protocol.program import Program
from shootdown_verify.judge import OutcomeCount, RunVerdict
from shootdown_verify.report.timeline import render_timeline
from shootdown_verify.report.verdict import RunFacts, devices_line, verdict_line

_STYLE: Final = """
:root { color-scheme: light dark; font-family: system-ui, sans-serif; }
body { max-width: 75rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.2rem; padding: .6rem .8rem; border-left: .4rem solid; }
h1.ok { border-color: #2a8; } h1.violation { border-color: #c33; }
h1.inconclusive { border-color: #c93; }
table { border-collapse: collapse; }
td, th { padding: .2rem .8rem; text-align: left; font-size: .9rem; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
td.bar { width: 20rem; } td.bar div { height: .8rem; background: #888a; }
tr.wrong td.bar div { background: #c33; }
pre { overflow-x: auto; font-size: .8rem; border: 1px solid #8884; padding: .6rem; }
"""
_TIMELINE_WIDTH: Final = 160


def render_run_page(
    verdict: RunVerdict, facts: RunFacts, program: Program, *, repeat: str, notes: Sequence[str]
) -> str:
    """One page; ``repeat`` is the command that runs it again, ``notes`` are said below it."""
    counts = f"{verdict.instances:,} instances, {verdict.violations:,} violations"
    said = [
        f"{counts}, {facts.elapsed_s:.1f} s, seed {facts.seed}",
        devices_line(verdict, facts),
        *verdict.reasons,
        *notes,
    ]
    counters = ((name, f"{count:,}") for name, count in verdict.counters.as_dict().items())
    findings = (
        (f"{check} {title}", f"{count:,}") for (check, title), count in verdict.findings.items()
    )
    return (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width'>"
        f"<title>{escape(facts.scenario)} under {escape(facts.discipline)}</title>"
        f"<style>{_STYLE}</style>"
        f"<h1 class={verdict.verdict}>{escape(verdict_line(verdict, facts))}</h1>"
        + "".join(f"<p>{escape(line)}</p>" for line in said if line)
        + f"<pre>{escape(repeat)}</pre>"
        + _section("Outcomes", _histogram(verdict))
        + _section("First violation", _first(verdict, program))
        + _section("Findings", _table(findings))
        + _section("Counters", _table(counters))
        + "</html>\n"
    )


def _section(title: str, content: str) -> str:
    return f"<h2>{title}</h2>{content}" if content else ""


def _table(rows: Iterable[tuple[str, str]]) -> str:
    body = "".join(
        f"<tr><td>{escape(name)}</td><td class=number>{escape(value)}</td></tr>"
        for name, value in rows
    )
    return f"<table>{body}</table>" if body else ""


def _histogram(verdict: RunVerdict) -> str:
    """The most frequent outcome first; a bar's length is its share of the instances."""
    states = sorted(verdict.histogram.items(), key=lambda item: (-item[1].count, item[0]))
    rows = "".join(_outcome(text, seen, verdict.instances) for text, seen in states)
    return f"<table>{rows}</table>" if rows else ""


def _outcome(text: str, seen: OutcomeCount, instances: int) -> str:
    share = 100 * seen.count / max(instances, 1)
    what = ["forbidden"] * seen.forbidden + [f"{seen.violations:,} wrong"] * bool(seen.violations)
    return (
        f"<tr class={'wrong' if what else 'right'}><td class=number>{seen.count:,}</td>"
        f"<td class=bar><div style='width:{share:.1f}%'></div></td>"
        f"<td>{escape(text)}</td><td>{', '.join(what)}</td></tr>"
    )


def _first(verdict: RunVerdict, program: Program) -> str:
    first = verdict.first
    if first is None:
        return ""
    findings = first.verdict.findings
    text = render_timeline(first.records, program, findings, width=_TIMELINE_WIDTH)
    head = f"instance {first.instance}: {first.verdict.outcome}"
    return f"<p>{escape(head)}</p><pre>{escape(text)}</pre>"
