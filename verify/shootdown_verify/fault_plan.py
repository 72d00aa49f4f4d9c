"""Fault plans (``configs/faults/*.toml``) and single faults as a person writes them.

A plan is a list of tables ``[[fault]]``, whose keys are those of ``shootdown fault add``. Whatever
is wrong in one is found before anything starts: kinds, parameters, steps, columns.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from shootdown_protocol.errors import ErrorCode, UsageError
from shootdown_protocol.faults import ALL_AGENTS, KINDS, RANDOM_AGENT, Fault, misfits
from shootdown_protocol.limits import (
    FAULT_COUNT_MAX,
    FAULTS_MAX,
    HEARTBEAT_MS_MAX,
    NAME_CHARACTERS_MAX,
)
from shootdown_verify.source import Source, SourceError, Span, nearest, one_of, quote
from shootdown_verify.toml_text import TYPES, read_text, read_toml, toml_seen, toml_type

_NUMBER: Final = re.compile(r"-?[0-9]+")
_MILLISECONDS: Final = f"1 to {HEARTBEAT_MS_MAX} milliseconds"
_SPANS: Final = {"ms": 1, "s": 1000, "m": 60_000}
"""Milliseconds of each unit in which ``for`` may be given."""


class FaultPlanError(SourceError):
    """A fault plan is wrong: it names the place, what was seen, and what was expected."""


@dataclass(frozen=True, slots=True)
class Agents:
    """The agents of a testbed: ``own`` go by numbers from 0, too, and ``names`` are everybody's."""

    own: int
    names: Collection[str]

    def has(self, word: str) -> bool:
        """Whether a word means one of them, or all, or one that is drawn."""
        if _NUMBER.fullmatch(word):
            return 0 <= int(word) < self.own
        return word in {ALL_AGENTS, RANDOM_AGENT} or word in self.names

    def nearest(self, word: str) -> str:
        """The word for some of them that is most like a wrong one."""
        if _NUMBER.fullmatch(word):
            return str(max(0, min(int(word), self.own - 1)))
        return nearest(word, (*self.names, ALL_AGENTS, RANDOM_AGENT))

    def __str__(self) -> str:
        """What may be said, in the words of an error."""
        numbers = "0" if self.own == 1 else f"a number from 0 to {self.own - 1}"
        words = [numbers, ALL_AGENTS, RANDOM_AGENT]
        return f"{one_of(words)}, or an agent's name ({', '.join(sorted(self.names))})"


def own_agents(count: int) -> Agents:
    """The agents that a testbed begins with."""
    return Agents(count, [f"agent{number}" for number in range(count)])


@dataclass(frozen=True, slots=True)
class Names:
    """What faults may name: full names of steps, columns of CPUs, agents if they are known yet.

    ``scenario`` is the one that has the steps, empty if they are those of all.
    """

    steps: Collection[str]
    threads: Collection[str]
    agents: Agents | None = None
    scenario: str = ""


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """Faults that begin with a run or a testbed, and are over with it."""

    name: str
    faults: tuple[Fault, ...]


@dataclass(frozen=True, slots=True)
class _Key:
    """What a key of a plan takes, in words and as a test, of which types; the field it sets."""

    field: str
    expected: str
    takes: Callable[[Any], bool]
    types: tuple[type, ...] = (str,)


def _is_word(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 2 * NAME_CHARACTERS_MAX


def _is_agent(value: object) -> bool:
    return type(value) is int or _is_word(value)


def _is_count(most: int) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and 0 < value <= most


_KEYS: Final = {
    "kind": _Key("kind", "a kind of fault", _is_word),
    "agent": _Key("agent", "an agent's number or name, all or random", _is_agent, (int, str)),
    "thread": _Key("thread", "a CPU column, such as CPU0", _is_word),
    "at": _Key("at", "a step, such as wp_page_copy.set_pte_at", _is_word),
    "ms": _Key("ms", _MILLISECONDS, _is_count(HEARTBEAT_MS_MAX), (int,)),
    "jitter": _Key("jitter_ms", _MILLISECONDS, _is_count(HEARTBEAT_MS_MAX), (int,)),
    "for": _Key("for_ms", "a time, such as 500ms or 5s", lambda v: parse_span(str(v)) is not None),
    "prob": _Key(
        "prob",
        "a probability above 0, at most 1",
        lambda v: type(v) in (int, float) and 0 < v <= 1,
        (float, int),
    ),
    "count": _Key("count", f"1 to {FAULT_COUNT_MAX} times", _is_count(FAULT_COUNT_MAX), (int,)),
}


def parse_span(text: str) -> int | None:
    """A time such as ``500ms``, ``5s`` or ``2m``, in milliseconds; None if it is none."""
    found = re.fullmatch(r"(\d{1,9})(ms|s|m)", text)
    if found is None:
        return None
    span = int(found[1]) * _SPANS[found[2]]
    return span if 0 < span <= HEARTBEAT_MS_MAX else None


def load_plan(path: str | Path, names: Names) -> FaultPlan:
    """Read a plan; raises `FaultPlanError` for what is wrong in it, `OSError` for the file."""
    return parse_plan(read_text(path, FaultPlanError), path, names)


def parse_plan(text: str, path: str | Path, names: Names) -> FaultPlan:
    """Read a plan's text; raises `FaultPlanError`, and nothing else."""
    source = Source(str(path), text)
    values = read_toml(source, FaultPlanError)
    tables = values.pop("fault", None)
    if values:
        key = next(iter(values))
        raise FaultPlanError(
            source,
            _place(source, key, 0),
            seen=f"key {quote(key)}",
            expected="tables [[fault]], and nothing beside them",
            nearest=nearest(key, ("fault",)),
        )
    if not _are_tables(tables):
        raise _no_tables(source, tables)
    faults = [_fault(source, table, number) for number, table in enumerate(tables)]
    for number, fault in enumerate(faults):
        _check(source, fault, number, names)
    return FaultPlan(Path(path).stem, tuple(faults))


def _no_tables(source: Source, value: object) -> FaultPlanError:
    """Say what there is in place of the tables."""
    expected = f"an array of tables, 1 to {FAULTS_MAX} times [[fault]]"
    if value is None:
        return FaultPlanError(source, Span(1, 1), seen="no fault", expected=expected)
    seen = f"fault is {toml_type(value)}"
    if isinstance(value, list) and len(value) > FAULTS_MAX:
        seen = f"{len(value)} faults"
    return FaultPlanError(source, _place(source, "fault", 0), seen=seen, expected=expected)


def check_fault(fault: Fault, names: Names) -> None:
    """Check a fault of the command line; raises `UsageError` with the nearest right word."""
    for where, seen, expected, hint in _wrongs(fault, names):
        like = f" (did you mean {hint}?)" if hint else ""
        raise UsageError(ErrorCode.USAGE, seen=seen, expected=expected + like, where=where)


def _are_tables(tables: object) -> bool:
    return (
        isinstance(tables, list)
        and 0 < len(tables) <= FAULTS_MAX
        and all(isinstance(table, dict) for table in tables)
    )


def _fault(source: Source, table: dict[str, Any], number: int) -> Fault:
    fields: dict[str, Any] = {}
    for key, value in table.items():
        known = _KEYS.get(key)
        if known is None:
            raise FaultPlanError(
                source,
                _place(source, key, number),
                seen=f"key {quote(key)}",
                expected=f"a key of a fault ({one_of(_KEYS)})",
                nearest=nearest(key, _KEYS),
            )
        if not known.takes(value):
            fits = type(value) in known.types
            types = one_of(TYPES[each] for each in known.types)
            raise FaultPlanError(
                source,
                _place(source, key, number),
                seen=toml_seen(key, value) if fits else f"{key} is {toml_type(value)}",
                expected=known.expected if fits else f"{types}: {known.expected}",
            )
        fields[known.field] = _converted(key, value)
    if "kind" not in fields:
        raise FaultPlanError(
            source,
            _place(source, "", number),
            seen="a fault without a kind",
            expected="kind = ...",
        )
    try:
        return msgspec.convert(fields, Fault)
    except msgspec.ValidationError as error:  # Too long or too large for a message.
        raise FaultPlanError(
            source, _place(source, "", number), seen=str(error), expected="what a message can carry"
        ) from None


def _converted(key: str, value: object) -> object:
    if key == "for":
        return parse_span(str(value))
    if key == "agent":
        return str(value)
    return value


def _check(source: Source, fault: Fault, number: int, names: Names) -> None:
    for where, seen, expected, hint in _wrongs(fault, names):
        raise FaultPlanError(
            source, _place(source, where, number), seen=seen, expected=expected, nearest=hint
        )


def _wrongs(fault: Fault, names: Names) -> list[tuple[str, str, str, str]]:
    """Every mistake in a fault: where, what was seen, what is right, and the nearest right word."""
    found = [
        (misfit.where, misfit.seen, misfit.expected, nearest(misfit.word, misfit.right))
        for misfit in misfits(fault)
    ]
    if not found and fault.at and fault.at not in names.steps:
        found.append(_no_such_step(fault.at, names))
    if not found and fault.thread and fault.thread not in names.threads:
        right = nearest(fault.thread, names.threads)
        expected = f"a CPU column ({one_of(sorted(names.threads))})"
        found.append(("thread", f"thread {quote(fault.thread)}", expected, right))
    if not found and fault.agent and names.agents and not names.agents.has(fault.agent):
        right = names.agents.nearest(fault.agent)
        found.append(("agent", f"agent {quote(fault.agent)}", str(names.agents), right))
    return found


def _no_such_step(step: str, names: Names) -> tuple[str, str, str, str]:
    """As `_wrongs`; a step is like another, too, that has the same name in another operation."""
    right = nearest(step, names.steps)
    if not right and "." in step:
        operation, _, name = step.partition(".")
        steps = sorted(names.steps)
        alike = [each for each in steps if each.endswith(f".{name}")]
        alike += [each for each in steps if each.startswith(f"{operation}.")]
        right = alike[0] if alike else ""
    if not names.scenario:
        expected = "the full name of a step: `shootdown steps` lists them"
        return "at", f"step {quote(step)}", expected, right
    seen = f"step {quote(step)}, which {names.scenario} does not have"
    return "at", seen, "a step of that scenario: `shootdown steps SCENARIO` lists them", right


def _place(source: Source, key: str, number: int) -> Span:
    """Find the line that gives a key of the table of a number; else the table's own."""
    pattern = re.compile(rf"^\s*\[*\s*[\"']?{re.escape(key)}[\"']?\s*[=.\]]")
    tables, found = -1, Span(1, 1)
    for line_number, line in enumerate(source.text.split("\n"), start=1):
        if re.match(r"\s*\[\[", line):
            tables += 1
            if tables == number:
                found = Span(line_number, 1, len(line))
        if key and tables <= number and pattern.match(line):
            place = Span(line_number, line.index(key) + 1, len(key))
            if tables == number or tables < 0:
                return place
    return found


def kinds_listed() -> str:
    """Every kind and what it does, a line each."""
    width = max(map(len, KINDS))
    return "\n".join(f"{kind.name:<{width}}  {kind.doc}" for kind in KINDS.values())
