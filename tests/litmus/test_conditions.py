"""Conditions on an outcome: what they mean and how they are written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.litmus.texts import minimal, read

from shootdown_verify.litmus import And, Condition, FinalIs, Not, Or, RegisterIs

R0, R1 = RegisterIs("DEV0", "r0", 0), RegisterIs("DEV0", "r0", 1)
A1 = FinalIs("A", 1)


def condition_of(text: str) -> Condition:
    """Read one condition on the small scenario."""
    (condition,) = read(minimal("DEV0:r0=0 /\\ A=1", text)).conditions
    return condition


def conditions() -> st.SearchStrategy[Condition]:
    """Any condition on the small scenario."""
    return st.recursive(
        st.sampled_from([R0, R1, A1]),
        lambda inner: st.one_of(
            inner.map(Not),
            st.lists(inner, min_size=2, max_size=3).map(lambda many: And(tuple(many))),
            st.lists(inner, min_size=2, max_size=3).map(lambda many: Or(tuple(many))),
        ),
        max_leaves=8,
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A=1 /\\ DEV0:r0=0 \\/ DEV0:r0=1", Or((And((A1, R0)), R1))),
        ("DEV0:r0=1 \\/ A=1 /\\ DEV0:r0=0", Or((R1, And((A1, R0))))),
        ("(DEV0:r0=1 \\/ A=1) /\\ DEV0:r0=0", And((Or((R1, A1)), R0))),
        ("~A=1 /\\ DEV0:r0=0", And((Not(A1), R0))),
        ("~(A=1 /\\ DEV0:r0=0)", Not(And((A1, R0)))),
        ("~~A=1", Not(Not(A1))),
        ("A=1 /\\\n  DEV0:r0=0 # on two lines\n /\\ A=1", And((A1, R0, A1))),
    ],
)
def test_operators_bind_as_in_logic(text: str, expected: Condition) -> None:
    """Negation binds tightest, then conjunction, then disjunction."""
    assert condition_of(text) == expected


@given(conditions())
def test_condition_is_read_as_it_is_written(condition: Condition) -> None:
    """Writing a condition and reading it gives it back, parentheses and all."""
    assert condition_of(str(condition)) == condition


@given(conditions(), st.booleans(), st.booleans())
def test_evaluation_agrees_with_python(condition: Condition, one: object, final: object) -> None:
    """A condition means what Python's own operators make of it."""
    source = str(condition).replace("~", " not ").replace("/\\", "and").replace("\\/", "or")
    source = source.replace("DEV0:r0=", "r0==").replace("A=1", "a==1")
    r0, a = int(bool(one)), int(bool(final))

    expected = eval(source, {"r0": r0, "a": a})  # noqa: S307  (of our own making)

    assert condition.evaluate({"DEV0:r0": r0}, {"A": a}) == expected


def test_unassigned_register_equals_nothing() -> None:
    """A load that was denied satisfies no equation, and so every negated one."""
    assert not R0.evaluate({}, {})
    assert not A1.evaluate({}, {})
    assert Not(R0).evaluate({}, {})


def test_scenario_forbids_what_any_of_its_conditions_describes() -> None:
    """Several conditions are one disjunction."""
    scenario = read(minimal("weakest", "forbidden DEV0:r0=1\nweakest"))

    assert scenario.forbids({"DEV0:r0": 1}, {})
    assert scenario.forbids({"DEV0:r0": 0}, {"A": 1})
    assert not scenario.forbids({"DEV0:r0": 0}, {"A": 0})
