"""``shootdown check``: judges recorded histories, ours or anybody's, and says which model broke."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from shootdown_cli.checked import HISTORY_SUFFIX, JSONL, NOT_JUDGED, SHOOTDOWN, Checked
from shootdown_cli.exits import EXIT_OF
from shootdown_cli.progress import Pulse
from shootdown_protocol.errors import ErrorCode, UsageError
from shootdown_verify.source import nearest

FORMATS: Final = (SHOOTDOWN, JSONL)
MODEL_KEYS: Final = ("coherence", "causal", "tso", "sc", "realtime")
"""Memory models, the weakest first."""
_WORST: Final = ("violation", "inconclusive", NOT_JUDGED, "ok")
"""Words for a model or a history; of several histories the first of these counts."""


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """What the command line said; an empty ``format`` is decided by content."""

    format: str
    skip_bad: bool
    scenario: str
    as_json: bool


def check(histories: Sequence[str], options: CheckOptions) -> int:
    """Judge every history by itself; the exit status is that of the worst verdict."""
    if options.format not in ("", *FORMATS):
        near = nearest(options.format, FORMATS)
        hint = f"; did you mean '{near}'?" if near else ""
        expected = f"{' or '.join(FORMATS)}{hint}"
        raise UsageError(ErrorCode.USAGE, seen=options.format, expected=expected, where="--format")
    began = time.monotonic()
    checked = []
    for paths in _grouped(map(Path, histories), options):
        with Pulse(partial("judging {}".format, paths[0]), quiet=options.as_json):
            checked.append(_check_one(paths, options))
        if not options.as_json:
            print("\n".join(_shown(checked[-1], first=len(checked) == 1)), flush=True)
    verdict = _worst(one.verdict for one in checked)
    if options.as_json:
        print(json.dumps(_object(checked, verdict, round(time.monotonic() - began, 3))))
    return EXIT_OF[verdict]


def _grouped(paths: Iterable[Path], options: CheckOptions) -> list[list[Path]]:
    """Files that are one history together: those of one folder that processes of ours wrote."""
    groups: dict[object, list[Path]] = {}
    for path in paths:
        ours = options.format != JSONL and path.suffix == HISTORY_SUFFIX and path.is_file()
        groups.setdefault(("folder", path.parent) if ours else path, []).append(path)
    return list(groups.values())


def _check_one(paths: list[Path], options: CheckOptions) -> Checked:
    format_, how = (options.format, "") if options.format else _format_of(paths[0])
    if format_ == JSONL:
        from shootdown_cli.foreign_history import check_jsonl

        checked = check_jsonl(paths[0], skip_bad=options.skip_bad)
    elif paths[0].is_file() and paths[0].suffix != HISTORY_SUFFIX:
        from shootdown_cli.replayed_history import check_replay

        checked = check_replay(paths[0])
    else:
        from shootdown_cli.own_history import check_own

        checked = check_own(paths, options.scenario)
    checked.how = how
    return checked


def _format_of(path: Path) -> tuple[str, str]:
    """Whose a history is, by what the path holds, and what that was."""
    from shootdown_protocol.history_file import HEADER_BYTES, is_history

    if path.is_dir():
        return SHOOTDOWN, "it is a directory"
    if path.exists() and not path.is_file():
        return JSONL, "it is a stream"
    try:
        with path.open("rb") as file:
            head = file.read(HEADER_BYTES)
    except OSError as error:
        raise UsageError(
            ErrorCode.USAGE,
            seen=error.strerror or str(error),
            expected="a history file, a run directory or a file of JSON Lines",
            where=str(path),
        ) from error
    if is_history(head):
        return SHOOTDOWN, "it begins as history files do"
    if head.startswith(b"SHOOTDOWN-REPLAY"):
        return SHOOTDOWN, "it begins as replay files do"
    return JSONL, "it begins neither as a history file nor as a replay file"


def _worst(words: Iterable[str]) -> str:
    return min(words, key=_WORST.index)


def _shown(checked: Checked, *, first: bool) -> Iterable[str]:
    if not first:
        yield ""
    yield from checked.text
    if checked.how:
        yield f"format  {checked.format}, since {checked.how}"


def _object(checked: list[Checked], verdict: str, elapsed_s: float) -> dict[str, object]:
    """What ``--json`` prints: the worst of all, and each history by itself if there are several."""
    models = {key: _worst(one.models[key] for one in checked) for key in MODEL_KEYS}
    told: dict[str, object] = {
        "command": "check",
        "verdict": verdict,
        "models": models,
        "weakest_model": next((key for key in MODEL_KEYS if models[key] == "violation"), None),
        "findings": [
            {**finding, **({"history": one.path} if len(checked) > 1 else {})}
            for one in checked
            for finding in one.findings
        ],
        "records": sum(one.records for one in checked),
        "elapsed_s": elapsed_s,
        "reasons": [reason for one in checked for reason in one.reasons],
        "notes": [note for one in checked for note in one.notes],
        "histories": [
            {
                "path": one.path,
                "format": one.format,
                "verdict": one.verdict,
                "models": one.models,
                "records": one.records,
            }
            for one in checked
        ],
    }
    return told
