"""Whether a compiled scenario that came in a message can be run at all.

A process that takes a program from a peer indexes by its numbers, so each must be in range before
the program is used. Whether the scenario makes sense is the scenario language's business.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from shootdown_protocol import limits
from shootdown_protocol.device_options import DEVICE_OPTIONS, expected, takes
from shootdown_protocol.memory import VA_BITS
from shootdown_protocol.program import (
    Column,
    Instruction,
    Op,
    Program,
    Speculation,
    Warm,
    When,
)
from shootdown_protocol.words import LOCATIONS_MAX, VALUE_MAX

_WITH_LOCATION = frozenset((Op.LOAD, Op.STORE, Op.PREFETCH, Op.RUN))
_WITH_TARGET = frozenset((Op.AWAIT, Op.SYNC))


class ProgramFault(NamedTuple):
    """What is wrong in a program: phrases for an error's ``where``, ``seen`` and ``expected``."""

    where: str
    seen: str
    expected: str


def first_fault(program: Program) -> ProgramFault | None:
    """What first makes a program impossible to run, or None."""
    return next(_faults(program), None)


def _faults(program: Program) -> Iterator[ProgramFault]:
    yield from _sizes(program)
    yield from _names(program)
    yield from _options(program)
    yield from _locations(program)
    for index, column in enumerate(program.columns):
        yield from _column(program, column, index, f"columns[{index}]")
    for index, warm in enumerate(program.warm):
        yield from _translation(program, warm, f"warm[{index}]")
    for index, speculation in enumerate(program.speculation):
        where = f"speculation[{index}]"
        yield from _translation(program, speculation, where)
        yield from _within(f"{where}.count", speculation.count, 0, limits.CLOCK_TICKS_MAX)


def _within(where: str, seen: int, least: int, most: int) -> Iterator[ProgramFault]:
    if not least <= seen <= most:
        expected = f"{least} to {most}" if least <= most else "none, for there is nothing to name"
        yield ProgramFault(where, str(seen), expected)


def _sizes(program: Program) -> Iterator[ProgramFault]:
    bounds: Sequence[tuple[str, int, int, int]] = (
        ("name", len(program.name), 1, limits.NAME_CHARACTERS_MAX),
        ("summary", len(program.summary), 0, limits.TEXT_CHARACTERS_MAX),
        ("mms", len(program.mms), 1, limits.MMS_MAX),
        ("devices", len(program.devices), 0, limits.DEVICES_MAX),
        ("locations", len(program.locations), 1, LOCATIONS_MAX),
        ("columns", len(program.columns), 1, limits.COLUMNS_MAX),
        ("warm", len(program.warm), 0, limits.WARM_MAX),
        ("speculation", len(program.speculation), 0, limits.SPECULATIONS_MAX),
        ("options", len(program.options), 0, limits.OPTIONS_MAX),
    )
    for where, seen, least, most in bounds:
        yield from _within(f"length of {where}", seen, least, most)
    most = limits.INSTRUCTIONS_PER_COLUMN_MAX
    for index, column in enumerate(program.columns):
        where = f"length of columns[{index}].instructions"
        yield from _within(where, len(column.instructions), 0, most)


def _names(program: Program) -> Iterator[ProgramFault]:
    for what, names in (
        ("mms", program.mms),
        ("devices", program.devices),
        ("locations", tuple(location.name for location in program.locations)),
        ("columns", tuple(column.name for column in program.columns)),
    ):
        for index, name in enumerate(names):
            where = f"name of {what}[{index}]"
            yield from _within(f"length of {where}", len(name), 1, limits.NAME_CHARACTERS_MAX)
            if name in names[:index]:
                yield ProgramFault(where, f"{name!r} again", "a name of its own")


def _options(program: Program) -> Iterator[ProgramFault]:
    for option, value in program.options.items():
        if option in DEVICE_OPTIONS and not takes(option, value):
            yield ProgramFault(f"options[{option}]", repr(value), expected(option))


def _locations(program: Program) -> Iterator[ProgramFault]:
    last = len(program.locations) - 1
    for index, location in enumerate(program.locations):
        where = f"locations[{index}]"
        yield from _within(f"{where}.mm", location.mm, 0, len(program.mms) - 1)
        yield from _within(f"{where}.va", location.va, 0, (1 << VA_BITS) - 8)
        yield from _within(f"{where}.value", location.value, 0, VALUE_MAX)
        yield from _within(f"{where}.table", location.table, 0, LOCATIONS_MAX - 1)
        yield from _within(f"{where}.parent", location.parent, -1, last)
        yield from _within(f"{where}.alias", location.alias, -1, index - 1)
        if location.va % 8:
            yield ProgramFault(f"{where}.va", hex(location.va), "a multiple of 8")
        if location.parent == index:
            yield ProgramFault(f"{where}.parent", str(index), "another location, or -1")


def _column(program: Program, column: Column, index: int, where: str) -> Iterator[ProgramFault]:
    yield from _within(f"{where}.device", column.device, -1, len(program.devices) - 1)
    yield from _within(f"{where}.cpu", column.cpu, -1, limits.COLUMNS_MAX - 1)
    if (column.device < 0) == (column.cpu < 0):
        seen = f"device {column.device} and cpu {column.cpu}"
        yield ProgramFault(where, seen, "one of them to be -1, and not both")
    for number, instruction in enumerate(column.instructions):
        at = f"{where}.instructions[{number}]"
        yield from _instruction(program, instruction, index, at)
        if column.device >= 0 and instruction.op is Op.RUN:
            yield ProgramFault(f"{at}.op", "RUN", "an operation only in a CPU's column")


def _instruction(
    program: Program, instruction: Instruction, column: int, where: str
) -> Iterator[ProgramFault]:
    if instruction.op in _WITH_LOCATION or instruction.when is not When.NOW:
        last = len(program.locations) - 1
        yield from _within(f"{where}.location", instruction.location, 0, last)
    if instruction.op in _WITH_TARGET:
        yield from _within(f"{where}.target", instruction.target, 0, len(program.columns) - 1)
        if instruction.target == column:
            yield ProgramFault(f"{where}.target", str(column), "another column")
    if instruction.op is Op.RUN and not instruction.operation:
        yield ProgramFault(f"{where}.operation", "nothing", "the name of an operation")
    yield from _within(f"{where}.value", instruction.value, 0, VALUE_MAX)
    yield from _within(f"{where}.amount", instruction.amount, 0, limits.CLOCK_TICKS_MAX)
    for field in ("register", "operation"):
        length = len(getattr(instruction, field))
        yield from _within(f"length of {where}.{field}", length, 0, limits.NAME_CHARACTERS_MAX)


def _translation(
    program: Program, translation: Warm | Speculation, where: str
) -> Iterator[ProgramFault]:
    yield from _within(f"{where}.device", translation.device, 0, len(program.devices) - 1)
    yield from _within(f"{where}.location", translation.location, 0, len(program.locations) - 1)
