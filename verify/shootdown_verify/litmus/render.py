"""Write a scenario in its canonical form.

``parse(render(s)) == s``. Comments and blank cells of the original are not kept: this is for
scenarios that programs make or shrink.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple
from itertools import groupby, zip_longest

from shootdown_protocol.device_options import DEVICE_OPTIONS
from shootdown_protocol.program import Column, Instruction, Op, Program, When
from shootdown_verify.litmus.scenario import Expectation, Facts, Scenario
from shootdown_verify.litmus.vocabulary import (
    DEFAULT_DEVICE,
    DEFAULT_MM,
    FACTS,
    OPTIONS,
    SPECULATION_TIMES,
    STATES,
    WHENS,
)

_STATE_WORDS = {state: word for word, state in STATES.items()}
_WHEN_WORDS = {when: word for word, when in WHENS.items()}


def render(scenario: Scenario) -> str:
    """Write a scenario; the text ends with a line end."""
    program = scenario.program
    lines = [f"SHOOTDOWN {scenario.name}", f'"{scenario.summary}"', "{"]
    lines += [f"  {statement};" for statement in _init(program)]
    lines += ["}", "", *_table(program), ""]
    lines += [f"forbidden {condition}" for condition in scenario.conditions]
    lines += [f"weakest {_weakest(scenario)}", *_claims(scenario.expectations)]
    if scenario.faults:
        lines.append(f"faults {' '.join(scenario.fault_kinds)} {scenario.faults}")
    lines += [f'bug {key} "{text}"' for key, text in _facts(scenario.facts)]
    return "\n".join(lines) + "\n"


def _weakest(scenario: Scenario) -> str:
    return scenario.weakest.label if scenario.weakest else "none"


def _init(program: Program) -> Iterator[str]:
    for location in program.locations:
        mm = program.mms[location.mm]
        name = location.name if mm == DEFAULT_MM else f"{location.name}@{mm}"
        if location.parent >= 0:
            yield f"{name} = child of {program.locations[location.parent].name}"
        elif location.alias >= 0:
            home = program.locations[location.alias]
            relation = "move" if home.mm == location.mm else "share"
            yield f"{name} = {relation} of {home.name}"
        elif location.state in _STATE_WORDS:
            yield f"{name} = {location.value} {_STATE_WORDS[location.state]}"
        else:
            yield f"{name} = none"
    yield from _same_tables(program)
    racy = [location.name for location in program.locations if location.racy]
    if racy:
        yield f"racy {' '.join(racy)}"
    yield from _translations(program)
    if program.bound != _default_bound(program):
        yield f"bind {' '.join(program.bound)}"
    for option, (default, *_) in OPTIONS.items():
        if program.options[option] != default:
            yield f"{option} {program.options[option]}"
    for option in DEVICE_OPTIONS:
        if option in program.options:
            yield f"{option} {program.options[option]}"


def _same_tables(program: Program) -> Iterator[str]:
    tables: dict[int, list[str]] = {}
    for location in program.locations:
        if location.parent < 0:
            tables.setdefault(location.table, []).append(location.name)
    yield from (f"same_table {' '.join(names)}" for names in tables.values() if len(names) > 1)


def _translations(program: Program) -> Iterator[str]:
    column = {column.device: column.name for column in reversed(program.columns)}
    for held in program.warm:
        write = " write" if held.write_intent else ""
        yield f"atc {column[held.device]} {program.locations[held.location].name}{write}"
    for guess in program.speculation:
        write = " write" if guess.write_intent else ""
        times = f" times {guess.count}" if guess.count != SPECULATION_TIMES else ""
        name = program.locations[guess.location].name
        yield f"speculate {column[guess.device]} {name}{write}{times}"


def _default_bound(program: Program) -> tuple[str, ...]:
    instructions = (i for column in program.columns for i in column.instructions)
    return tuple(dict.fromkeys(i.operation for i in instructions if i.op is Op.RUN))


def _table(program: Program) -> Iterator[str]:
    headers = [_header(program, column) for column in program.columns]
    columns = [[_cell(program, i) for i in column.instructions] for column in program.columns]
    rows = [headers, *zip_longest(*columns, fillvalue="")]
    widths = [max(len(row[index]) for row in rows) for index in range(len(headers))]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield f" {' | '.join(cells)} ;"


def _header(program: Program, column: Column) -> str:
    if column.device < 0 or program.devices[column.device] == DEFAULT_DEVICE:
        return column.name
    return f"{column.name}@{program.devices[column.device]}"


def _cell(program: Program, instruction: Instruction) -> str:
    return " ".join(_words(program, instruction))


def _words(program: Program, instruction: Instruction) -> Iterator[str]:
    yield instruction.operation or instruction.op.name.lower()
    if instruction.location >= 0:
        yield program.locations[instruction.location].name
    if instruction.target >= 0:
        yield program.columns[instruction.target].name
    if instruction.op is Op.LOAD:
        yield instruction.register
    if instruction.op is Op.STORE:
        yield str(instruction.value)
    if instruction.op is Op.DELAY:
        yield str(instruction.amount)
    if instruction.write_intent:
        yield "write"
    if instruction.when is not When.NOW:
        yield f"when {_WHEN_WORDS[instruction.when]}"


def _claims(expectations: tuple[Expectation, ...]) -> Iterator[str]:
    for (by, kind, joined), group in groupby(expectations, key=_said):
        subjects = " ".join([kind] * bool(kind) + [each.subject for each in group]) + joined
        yield f"caught {subjects} : {' '.join(by)}" if by else f"safe {subjects}"


def _said(expectation: Expectation) -> tuple[tuple[str, ...], str, str]:
    """What the claims of one line have in common."""
    alone = f"{expectation.kind} {expectation.subject}".strip()
    return expectation.by, expectation.kind, expectation.words.removeprefix(alone)


def _facts(facts: Facts | None) -> Iterator[tuple[str, str]]:
    if facts is not None:
        yield from zip(FACTS, astuple(facts), strict=True)
