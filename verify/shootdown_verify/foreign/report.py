"""What is shown of a foreign history's verdict: findings as plain values, and as text."""

from __future__ import annotations

from collections.abc import Iterator

from shootdown_verify.check.finding import Model
from shootdown_verify.check.passes import MODEL_KEY, PASS_OF_MODEL
from shootdown_verify.foreign.verdict import ForeignVerdict, Found
from shootdown_verify.foreign.words import Words, stale_first


def models_object(verdict: ForeignVerdict) -> dict[str, str]:
    """A word for each model."""
    return {MODEL_KEY[model]: verdict.models[model] for model in Model}


def finding_objects(verdict: ForeignVerdict) -> list[dict[str, object]]:
    """Findings with the events of their cycles and nothing else."""
    words = Words(verdict.columns)
    return [
        {
            "pass": PASS_OF_MODEL[found.model],
            "model": MODEL_KEY[found.model],
            "events": [words.event(event) for event in _events(found)],
            "why": "; ".join(why(words, found)),
        }
        for found in verdict.found
    ]


def why(words: Words, found: Found) -> Iterator[str]:
    """The cycle edge by edge, the read that was too old first."""
    for event in found.events:
        yield f"{words.thread(event)} {words.did(event)}, which nobody stored"
    for edge in stale_first(found.cycle):
        yield words.edge(edge)
    if found.note:
        yield found.note


def _events(found: Found) -> list[int]:
    return [*found.events, *(edge.source for edge in stale_first(found.cycle))]


def text_lines(verdict: ForeignVerdict) -> Iterator[str]:
    """What a person is shown: the verdict, every model, why."""
    weakest = verdict.weakest
    broken = f"  {weakest.label} order broken" if weakest is not None else ""
    name, events = verdict.columns.source.path, len(verdict.columns)
    yield f"{verdict.verdict.upper()}{broken}      {name}, {events:,} events"
    yield "models  " + ", ".join(f"{key} {word}" for key, word in models_object(verdict).items())
    yield from (f"        {reason}" for reason in (*verdict.reasons, *verdict.notes))
    source = verdict.columns.source
    if source.first_skipped:
        yield f"        the first one skipped: {source.first_skipped}"
    words = Words(verdict.columns)
    for found in verdict.found:
        yield ""
        yield f"why     {found.model.label} order is broken"
        yield from (f"        - {line}" for line in why(words, found))
    if verdict.more:
        yield f"        and {verdict.more:,} more findings"
