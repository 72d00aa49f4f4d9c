"""Replay files: a schedule and all that is needed to make it happen again, as text.

A file is lines: a head of ``key value``, the scenario itself behind ``| ``, and the schedule, one
step a line, so that two of them can be compared with diff. It is self-contained: the scenario's
text travels with it, and its digest tells whether somebody has changed it::

    SHOOTDOWN-REPLAY 1
    version 0.1.0
    scenario cow-two-pages
    digest 9f2c...
    discipline range_end
    device
    mutant
    seed 0
    verdict S2 stale-read
    outcome DEV0:r0=0 DEV2:r1=0

    | SHOOTDOWN cow-two-pages
    | ...

    step CPU0 wp_page_copy.mmap_read_lock 1
    step CPU2 store 1

The last number of a step counts how often its task has made a step of that name.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from shootdown_verify.source import Source, SourceError, Span, nearest, one_of, quote

MAGIC: Final = "SHOOTDOWN-REPLAY"
FORMAT: Final = 1
VERSION: Final = "0.1.0"
"""Of shootdown: a file says which one wrote it."""
KEYS: Final = (
    "version",
    "scenario",
    "digest",
    "discipline",
    "device",
    "mutant",
    "faults",
    "seed",
    "verdict",
    "outcome",
    "shrunk",
)
OPTIONAL: Final = ("mutant", "faults", "shrunk")
"""Keys that a file may lack, which says the same as nothing behind them."""
STEPS_MAX: Final = 1 << 14
DIGITS_MAX: Final = 18
"""Digits of a number in a file."""
NO_NAME: Final = "-"
"""Stands for the name of a step that has none."""


class ReplayError(SourceError):
    """A replay file is wrong: it names the place, what was seen, and what was expected."""


class ReplayStep(NamedTuple):
    """One step: the task that goes, its step's full name, and which time it is, from 1."""

    task: str
    step: str
    occurrence: int


@dataclass(frozen=True, slots=True)
class Replay:
    """A schedule with its scenario.

    ``device`` is a faulty one's name, a user's ``FILE.py:Class``, or empty for the right one;
    ``mutant`` the same of the kernel.
    ``verdict`` is what the schedule showed (a check and a title, or ``ok``), ``outcome`` the
    registers at its end. ``faults`` is what an environment might have added, as ``1 of inv.drop``;
    what it did add are steps like any other. ``shrunk`` says
    what was left out of the scenario that was explored, if the text here is less than that.
    """

    version: str
    scenario: str
    digest: str
    discipline: str
    device: str
    seed: int
    verdict: str
    outcome: str
    text: str
    steps: tuple[ReplayStep, ...]
    mutant: str = ""
    faults: str = ""
    shrunk: str = ""

    @property
    def intact(self) -> bool:
        """Whether the scenario's text is the one that the schedule was found for."""
        return digest_of(self.text) == self.digest


def digest_of(text: str) -> str:
    """SHA-256 of a scenario's text, in hexadecimal."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def count_occurrences(steps: Iterable[tuple[str, str]]) -> tuple[ReplayStep, ...]:
    """Number the steps of a schedule of (task, step name)."""
    seen: Counter[tuple[str, str]] = Counter()
    numbered = []
    for task, step in steps:
        seen[task, step] += 1
        numbered.append(ReplayStep(task, step, seen[task, step]))
    return tuple(numbered)


def render_replay(replay: Replay) -> str:
    """Write a replay file's text."""
    lines = [f"{MAGIC} {FORMAT}"]
    said = (key for key in KEYS if key not in OPTIONAL or getattr(replay, key))
    lines += [f"{key} {getattr(replay, key)}".rstrip() for key in said]
    lines += ["", *(f"| {line}".rstrip() for line in replay.text.split("\n")), ""]
    lines += [f"step {s.task} {s.step or NO_NAME} {s.occurrence}" for s in replay.steps]
    return "\n".join(lines) + "\n"


def load_replay(path: str | Path) -> Replay:
    """Read a replay file; `ReplayError` for its text, `OSError` for the file."""
    content = Path(path).read_bytes()
    return parse_replay(content.decode(errors="replace"), path)


def parse_replay(text: str, path: str | Path) -> Replay:
    """Read the text of a replay file; raises `ReplayError` and nothing else."""
    source = Source(str(path), text)
    lines = text.split("\n")
    _check_magic(source, lines[0])
    head: dict[str, str] = {}
    scenario: list[str] = []
    steps: list[ReplayStep] = []
    for number, line in enumerate(lines[1:], 2):
        word, _, rest = line.partition(" ")
        if word == "|":
            scenario.append(rest)
        elif word == "step":
            steps.append(_step(source, number, rest))
        elif word in KEYS and word not in head:
            head[word] = rest
        elif line.strip():
            _refuse_line(source, number, word)
    _check_whole(source, head, steps)
    return Replay(
        version=head["version"],
        scenario=head["scenario"],
        digest=head["digest"],
        discipline=head["discipline"],
        device=head["device"],
        seed=_seed(source, lines, head["seed"]),
        verdict=head["verdict"],
        outcome=head["outcome"],
        text="\n".join(scenario),
        steps=tuple(steps),
        mutant=head.get("mutant", ""),
        faults=head.get("faults", ""),
        shrunk=head.get("shrunk", ""),
    )


def _check_magic(source: Source, line: str) -> None:
    if line.rstrip() != f"{MAGIC} {FORMAT}":
        raise ReplayError(
            source,
            Span(1, 1, max(1, len(line))),
            seen=quote(line),
            expected=f"'{MAGIC} {FORMAT}', the first line of a replay file",
        )


def _step(source: Source, number: int, rest: str) -> ReplayStep:
    words = rest.split()
    if (
        len(words) != len(ReplayStep._fields)
        or not words[2].isdecimal()
        or len(words[2]) > DIGITS_MAX
    ):
        raise ReplayError(
            source,
            Span(number, 1, max(1, len(rest) + 5)),
            seen=quote(rest),
            expected="a task, its step's name and which time it is: 'step CPU0 store 1'",
        )
    name = "" if words[1] == NO_NAME else words[1]
    return ReplayStep(words[0], name, int(words[2]))


def _refuse_line(source: Source, number: int, word: str) -> None:
    known = (*KEYS, "step", "|")
    raise ReplayError(
        source,
        Span(number, 1, max(1, len(word))),
        seen=f"a second {word}" if word in KEYS else quote(word),
        expected=one_of(known),
        nearest="" if word in KEYS else nearest(word, known),
    )


def _check_whole(source: Source, head: dict[str, str], steps: list[ReplayStep]) -> None:
    last = Span(source.text.count("\n") + 1, 1)
    missing = [key for key in KEYS if key not in head and key not in OPTIONAL]
    if missing:
        raise ReplayError(source, last, seen="the end", expected=f"a line {missing[0]}")
    if not 0 < len(steps) <= STEPS_MAX:
        expected = f"1 to {STEPS_MAX} lines beginning with step"
        raise ReplayError(source, last, seen=f"{len(steps)} steps", expected=expected)


def _seed(source: Source, lines: list[str], text: str) -> int:
    if text.isdecimal() and len(text) <= DIGITS_MAX:
        return int(text)
    number = next(n for n, line in enumerate(lines, 1) if line.startswith("seed"))
    raise ReplayError(source, Span(number, 6), seen=quote(text), expected="a whole number")
