"""Whatever a scenario says survives being written in canonical form."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from tests.litmus.generated import texts
from tests.litmus.texts import read

from shootdown_protocol.program_check import first_fault
from shootdown_verify.litmus import render


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(texts())
def test_canonical_form_says_the_same(text: str) -> None:
    """A scenario read from its canonical form is equal, and its canonical form is the same text."""
    scenario = read(text)

    again = read(render(scenario))

    assert again == scenario
    assert render(again) == render(scenario)


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(texts())
def test_program_can_be_run(text: str) -> None:
    """A scenario compiles to a program that every process accepts."""
    assert first_fault(read(text).program) is None
