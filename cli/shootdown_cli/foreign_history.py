"""A history of JSON Lines for ``shootdown check``: read, judged, and put into words."""

from __future__ import annotations

from pathlib import Path

from shootdown_cli.checked import JSONL, Checked
from shootdown_protocol.errors import ErrorCode, UsageError
from shootdown_verify.foreign.jsonl import read_jsonl
from shootdown_verify.foreign.report import finding_objects, models_object, text_lines
from shootdown_verify.foreign.verdict import judge


def check_jsonl(path: Path, *, skip_bad: bool) -> Checked:
    """Judge one file; `UsageError` when it cannot be read, or has a bad line."""
    try:
        columns = read_jsonl(path, skip_bad=skip_bad)
    except OSError as error:
        raise UsageError(
            ErrorCode.USAGE,
            seen=error.strerror or str(error),
            expected="a file of JSON Lines",
            where=str(path),
        ) from error
    verdict = judge(columns)
    return Checked(
        path=str(path),
        format=JSONL,
        verdict=verdict.verdict,
        models=models_object(verdict),
        findings=finding_objects(verdict),
        records=len(columns),
        text=list(text_lines(verdict)),
        reasons=verdict.reasons,
        notes=verdict.notes,
    )
