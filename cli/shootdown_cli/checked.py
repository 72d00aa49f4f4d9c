"""What ``shootdown check`` says of one history, whosever it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

JSONL: Final = "jsonl"
SHOOTDOWN: Final = "shootdown"
NOT_JUDGED: Final = "not judged"
HISTORY_SUFFIX: Final = ".history"
"""Of a file that a process of ours has written."""


@dataclass(slots=True)
class Checked:
    """One history's verdict, as plain values and as lines of text.

    ``how`` says why it was taken for its format.
    """

    path: str
    format: str
    verdict: str
    models: dict[str, str]
    findings: list[dict[str, object]]
    records: int
    text: list[str]
    reasons: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    how: str = ""
