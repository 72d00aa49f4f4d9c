r"""Conditions on an outcome: ``DEV2:r1=1 /\ (A=0 \/ ~DEV0:r0=0)``.

An outcome is what the registers and the locations hold when an instance has ended. Registers are
named ``COLUMN:register``. A register that was never assigned (its load was denied) and a
location that is not mapped equal nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class RegisterIs:
    """A column's register ended with this value."""

    column: str
    register: str
    value: int

    def evaluate(self, registers: Mapping[str, int], _finals: Mapping[str, int]) -> bool:
        """Whether it holds of an outcome."""
        return registers.get(f"{self.column}:{self.register}") == self.value

    def __str__(self) -> str:
        """As a scenario writes it."""
        return f"{self.column}:{self.register}={self.value}"


@dataclass(frozen=True, slots=True)
class FinalIs:
    """The frame that maps a location holds this value when all is quiet."""

    location: str
    value: int

    def evaluate(self, _registers: Mapping[str, int], finals: Mapping[str, int]) -> bool:
        """Whether it holds of an outcome."""
        return finals.get(self.location) == self.value

    def __str__(self) -> str:
        """As a scenario writes it."""
        return f"{self.location}={self.value}"


@dataclass(frozen=True, slots=True)
class Not:
    """The operand does not hold."""

    operand: Condition

    def evaluate(self, registers: Mapping[str, int], finals: Mapping[str, int]) -> bool:
        """Whether it holds of an outcome."""
        return not self.operand.evaluate(registers, finals)

    def __str__(self) -> str:
        """As a scenario writes it."""
        return f"~{_inside(self.operand, And, Or)}"


@dataclass(frozen=True, slots=True)
class And:
    """All of two or more operands hold."""

    operands: tuple[Condition, ...]

    def evaluate(self, registers: Mapping[str, int], finals: Mapping[str, int]) -> bool:
        """Whether it holds of an outcome."""
        return all(operand.evaluate(registers, finals) for operand in self.operands)

    def __str__(self) -> str:
        """As a scenario writes it."""
        return r" /\ ".join(_inside(operand, And, Or) for operand in self.operands)


@dataclass(frozen=True, slots=True)
class Or:
    """One of two or more operands holds."""

    operands: tuple[Condition, ...]

    def evaluate(self, registers: Mapping[str, int], finals: Mapping[str, int]) -> bool:
        """Whether it holds of an outcome."""
        return any(operand.evaluate(registers, finals) for operand in self.operands)

    def __str__(self) -> str:
        """As a scenario writes it."""
        return r" \/ ".join(_inside(operand, Or) for operand in self.operands)


Condition = RegisterIs | FinalIs | Not | And | Or


def _inside(operand: Condition, *weaker: type[Condition]) -> str:
    """Write an operand, in parentheses if it binds no tighter than what it stands in."""
    return f"({operand})" if isinstance(operand, weaker) else str(operand)
