"""An instance's outcome: what its registers, and the locations its condition names, hold at last.

Registers are named ``COLUMN:register``, as conditions name them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from shootdown_protocol.program import Op, Program

DENIED = "denied"
UNKNOWN = "?"


class Condition(Protocol):
    """A forbidden outcome; ``str()`` writes it as scenarios do."""

    def evaluate(self, registers: Mapping[str, int], finals: Mapping[str, int], /) -> bool:
        """Whether it holds; a name that is not in its mapping equals nothing."""
        ...


class Outcome(NamedTuple):
    """An outcome as histograms show it, and whether a condition holds of it."""

    text: str
    forbidden: Condition | None


class OutcomeReader:
    """Writes outcomes of one program and asks its conditions, each distinct outcome once."""

    def __init__(self, program: Program, conditions: Sequence[Condition]) -> None:
        """Note which registers and locations an outcome consists of, in the scenario's order."""
        self._conditions = tuple(conditions)
        self._registers = tuple(_registers(program))
        self._locations = tuple(
            location.name
            for location in program.locations
            if not self._registers or _is_named(location.name, self._conditions)
        )
        self._known: dict[tuple[int | str | None, ...], Outcome] = {}

    def read(self, registers: Mapping[str, int | str], finals: Mapping[str, int]) -> Outcome:
        """Name an outcome; a denied load's register holds `DENIED`."""
        key = (
            *map(registers.get, self._registers),
            *map(finals.get, self._locations),
        )
        outcome = self._known.get(key)
        if outcome is None:
            outcome = self._known[key] = self._name(registers, finals)
        return outcome

    def _name(self, registers: Mapping[str, int | str], finals: Mapping[str, int]) -> Outcome:
        named = (
            *((name, registers.get(name, UNKNOWN)) for name in self._registers),
            *((name, finals.get(name, UNKNOWN)) for name in self._locations),
        )
        values = {name: value for name, value in registers.items() if isinstance(value, int)}
        holding = (c for c in self._conditions if c.evaluate(values, finals))
        return Outcome(" ".join(f"{name}={value}" for name, value in named), next(holding, None))


def _registers(program: Program) -> dict[str, None]:
    return {
        f"{column.name}:{line.register}": None
        for column in program.columns
        for line in column.instructions
        if line.op == Op.LOAD and line.register
    }


def _is_named(location: str, conditions: Sequence[Condition]) -> bool:
    """Whether a condition has an atom ``location=value``; a register's is ``COLUMN:name=value``."""
    atom = re.compile(rf"(?<![\w:]){re.escape(location)}=")
    return any(atom.search(str(condition)) for condition in conditions)
