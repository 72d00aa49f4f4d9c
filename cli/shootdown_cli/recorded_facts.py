"""What the daemon noted beside its histories, for ``shootdown check``, and what it did not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from shootdown_daemon.shell.running import FACTS_FILE


class RecordedFacts(NamedTuple):
    """A run by its `FACTS_FILE`; what that does not say is empty, and ``doubt`` says so.

    ``histories`` names the members that write one: all but agents whose accesses the daemon makes.
    """

    scenario: str = ""
    discipline: str = ""
    agents: tuple[str, ...] = ()
    histories: frozenset[str] = frozenset()
    instances_per_batch: int = 0
    doubt: str = ""

    @property
    def are_whole(self) -> bool:
        """Whether batches, and who belonged to the run, are known."""
        return not self.doubt


def read_facts(folder: Path) -> RecordedFacts:
    """Read what lies beside histories, as far as it can be read."""
    path = folder / FACTS_FILE
    try:
        told = json.loads(path.read_bytes())
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        why = "is missing" if missing else f"cannot be read ({error.strerror})"
        return RecordedFacts(doubt=_doubt(why))
    except (ValueError, RecursionError) as error:
        return RecordedFacts(doubt=_doubt(f"is no JSON ({error})"))
    if not isinstance(told, dict):
        return RecordedFacts(doubt=_doubt("is no JSON object"))
    return _facts(told)


def _facts(told: dict[str, Any]) -> RecordedFacts:
    """Take each field that is as it should be."""
    agents, per_batch = _names(told.get("agents")), told.get("instances_per_batch")
    size = per_batch if type(per_batch) is int and per_batch > 0 else 0
    scenario, discipline = _text(told.get("scenario")), _text(told.get("discipline"))
    # Runs of a version that did not name those who write a history: all are taken to.
    histories = _names(told.get("histories", ["daemon", *(agents or ())]))
    lacking = [
        name
        for name, is_there in (
            ("scenario", bool(scenario)),
            ("discipline", bool(discipline)),
            ("agents", agents is not None),
            ("instances_per_batch", size > 0),
            ("histories", histories is not None),
        )
        if not is_there
    ]
    wrong = [f"{name} ({json.dumps(told[name])[:40]})" for name in lacking if name in told]
    absent = [name for name in lacking if name not in told]
    said = [f"lacks {', '.join(absent)}"] if absent else []
    said += [f"has no right {', '.join(wrong)}"] if wrong else []
    doubt = _doubt(" and ".join(said)) if said else ""
    writers = frozenset(histories or ())
    return RecordedFacts(scenario, discipline, agents or (), writers, size, doubt)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _names(value: object) -> tuple[str, ...] | None:
    if isinstance(value, list) and all(isinstance(name, str) for name in value):
        return tuple(value)
    return None


def _doubt(why: str) -> str:
    return f"{FACTS_FILE} {why}, so only what an instance by itself shows was judged"
