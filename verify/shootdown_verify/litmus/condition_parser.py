r"""Conditions on an outcome: from tokens to `condition.Condition`.

``~`` binds tighter than ``/\``, and that tighter than ``\/``.
"""

from __future__ import annotations

from shootdown_protocol.words import VALUE_MAX
from shootdown_verify.litmus.condition import And, Condition, FinalIs, Not, Or, RegisterIs
from shootdown_verify.litmus.reader import Reader
from shootdown_verify.litmus.syntax import Atom, Forbidden
from shootdown_verify.litmus.vocabulary import NESTING_MAX


def parse_condition(reader: Reader) -> Forbidden:
    """Read one condition, up to the first token that cannot belong to it."""
    atoms: list[Atom] = []
    return Forbidden(_disjunction(reader, atoms, 0), tuple(atoms))


def _disjunction(reader: Reader, atoms: list[Atom], depth: int) -> Condition:
    operands = [_conjunction(reader, atoms, depth)]
    while reader.take_if("\\/"):
        operands.append(_conjunction(reader, atoms, depth))
    return operands[0] if len(operands) == 1 else Or(tuple(operands))


def _conjunction(reader: Reader, atoms: list[Atom], depth: int) -> Condition:
    operands = [_negation(reader, atoms, depth)]
    while reader.take_if("/\\"):
        operands.append(_negation(reader, atoms, depth))
    return operands[0] if len(operands) == 1 else And(tuple(operands))


def _negation(reader: Reader, atoms: list[Atom], depth: int) -> Condition:
    if depth > NESTING_MAX:
        expected = f"at most {NESTING_MAX} parentheses and negations inside one another"
        raise reader.fault(reader.peek(), "too deep a condition", expected)
    if reader.take_if("~"):
        return Not(_negation(reader, atoms, depth + 1))
    if reader.take_if("("):
        inner = _disjunction(reader, atoms, depth + 1)
        reader.expect(")")
        return inner
    return _atom(reader, atoms)


def _atom(reader: Reader, atoms: list[Atom]) -> Condition:
    first = reader.name("COLUMN:register=VALUE, LOCATION=VALUE, '~' or '('")
    if reader.take_if(":"):
        register = reader.name("a register")
        reader.expect("=")
        value = reader.number(0, VALUE_MAX, "a value")
        atoms.append(Atom(first, register, value))
        return RegisterIs(first.text, register.text, int(value.text))
    reader.expect("=")
    value = reader.number(0, VALUE_MAX, "a value")
    atoms.append(Atom(None, first, value))
    return FinalIs(first.text, int(value.text))
