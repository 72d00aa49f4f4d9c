"""A run as one HTML page: verdict and why, how to see it again, outcomes, timelines, counters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from shootdown_protocol.program import Program
from shootdown_verify.judge import INCONCLUSIVE, OK, Example, OutcomeCount, RunVerdict
from shootdown_verify.judge.counters import Counters
from shootdown_verify.report import page
from shootdown_verify.report.meanings import CHECKED, COUNTED
from shootdown_verify.report.timeline_table import TIMELINE_STYLE, render_timeline_table
from shootdown_verify.report.verdict import (
    RunFacts,
    devices_line,
    ranked_kinds,
    verdict_words,
)

_STYLE: Final = (
    TIMELINE_STYLE
    + """
td.bar { min-width: 6rem; width: 16rem; } td.bar div { height: .8rem; background: #8888; }
tr.wrong td.bar div { background: #c33; }
"""
)
_FILES: Final = {
    "report.txt": "this page as text",
    "verdict.json": "the same for programs",
    "trace.json": "the instances shown here, for ui.perfetto.dev or chrome://tracing",
    "scenario.litmus": "what was run",
    "history/": "the records of each process",
    "logs/": "what each process logged",
}
"""What lies beside the page in its run directory."""


@dataclass(frozen=True, slots=True)
class RunPage:
    """What a page tells beside the verdict: none of it is judged.

    ``commands`` are what may be done next, by what it does; ``notes`` are said below the verdict;
    ``faults`` are how often each fault was applied; ``text`` is the scenario's.
    """

    commands: Mapping[str, str]
    text: str
    notes: Sequence[str] = ()
    faults: Sequence[tuple[str, int]] = ()


def render_run_page(verdict: RunVerdict, facts: RunFacts, program: Program, told: RunPage) -> str:
    """One page, to lie in the run's directory."""
    commands = "".join(
        f"<div>{escape(what)}</div>{page.command(line)}" for what, line in told.commands.items()
    )
    findings = [(*kind, verdict.findings[kind], _asked(kind[0])) for kind in ranked_kinds(verdict)]
    counters = [(name, count, COUNTED[name]) for name, count in verdict.counters.as_dict().items()]
    body = (
        f"<h1 class={verdict.verdict}>{escape(_headline(verdict))}</h1>"
        f"<p>{escape(facts.under)}: {escape(_counts(verdict, facts))}</p>"
        + page.bullets([line for line in (devices_line(verdict, facts), *told.notes) if line])
        + page.section(*_why(verdict))
        + page.section("Again", commands)
        + page.section("Outcomes", _histogram(verdict))
        + page.section("What happened", _timelines(verdict, program))
        + page.section("Findings", page.table(("check", "", "count", "means that"), findings))
        + page.section("Faults", page.table(("fault", "applied"), told.faults))
        + page.section("Counters", page.table(("", "sum", "counts"), counters))
        + page.section("Scenario", f"<pre>{escape(told.text)}</pre>")
        + page.section("Files", _files())
    )
    return page.document(facts.under, _STYLE, body)


def _headline(verdict: RunVerdict) -> str:
    """The word and what is wrong; reasons against ok are a list of their own."""
    return verdict.verdict.upper() + (
        "" if verdict.verdict == INCONCLUSIVE else f"  {verdict_words(verdict)}"
    )


def _counts(verdict: RunVerdict, facts: RunFacts) -> str:
    counts = f"{verdict.instances:,} instances, {verdict.violations:,} violations"
    return f"{counts}, {facts.elapsed_s:.1f} s, seed {facts.seed}"


def _why(verdict: RunVerdict) -> tuple[str, str]:
    """A heading and the shortest reason for the verdict."""
    if verdict.verdict == OK:
        return "What was seen", page.bullets(_evidence(verdict.counters))
    said: list[str] = []
    for kind in ranked_kinds(verdict)[:1]:
        example = verdict.examples.get(kind)
        findings = () if example is None else example.verdict.findings
        chief = [each for each in findings if (each.check, each.title) == kind]
        said += [line for each in chief[:1] for line in (each.sentence, *each.edges)]
    return "Why", page.bullets(said or verdict.reasons)


def _evidence(counters: Counters) -> list[str]:
    """What shows that the race could have been lost."""
    return [
        f"{counters.atc_hits:,} accesses went through a translation cached before",
        f"{counters.stale_eligible_hits:,} of them after its entry had changed",
        f"{counters.invalidations_completed:,} invalidations were completed",
        f"device accesses fell within an operation in {counters.overlapped_instances:,} instances",
    ]


def _asked(check: str) -> str:
    return CHECKED.get(check, "")


def _files() -> str:
    items = "".join(
        f"<li><a href='{name}'>{name}</a>: {escape(what)}</li>" for name, what in _FILES.items()
    )
    return f"<ul>{items}</ul>"


def _histogram(verdict: RunVerdict) -> str:
    """The most frequent outcome first; a bar's length is its share of the instances."""
    states = sorted(verdict.histogram.items(), key=lambda item: (-item[1].count, item[0]))
    rows = "".join(_outcome(text, seen, verdict.instances) for text, seen in states)
    return f"<div class=scroll><table>{rows}</table></div>" if rows else ""


def _outcome(text: str, seen: OutcomeCount, instances: int) -> str:
    share = 100 * seen.count / max(instances, 1)
    what = ["forbidden"] * seen.forbidden + [f"{seen.violations:,} wrong"] * bool(seen.violations)
    return (
        f"<tr class={'wrong' if seen.violations else 'right'}>"
        f"<td class=number>{seen.count:,}</td>"
        f"<td class=bar><div style='width:{share:.1f}%'></div></td>"
        f"<td><code>{escape(text)}</code></td><td>{', '.join(what)}</td></tr>"
    )


def _timelines(verdict: RunVerdict, program: Program) -> str:
    """The first instance with each kind of finding, the chief one open; or one that was right."""
    shown: dict[int, tuple[str, Example]] = {}
    for kind in ranked_kinds(verdict):
        example = verdict.examples.get(kind)
        if example is not None and example.records:
            shown.setdefault(example.instance, (f"the first {kind[1]}", example))
    if not shown and verdict.sample is not None:
        shown[-1] = "nothing was wrong", verdict.sample
    return "".join(
        _timeline(title, example, program, is_open=place == 0)
        for place, (title, example) in enumerate(shown.values())
    )


def _timeline(title: str, example: Example, program: Program, *, is_open: bool) -> str:
    text = render_timeline_table(example.records, program, example.verdict.findings)
    head = f"{title}: instance {example.instance}, {example.verdict.outcome}"
    return f"<details{' open' * is_open}><summary>{escape(head)}</summary>{text}</details>"
