"""No text whatever makes reading a scenario end in anything but a scenario or its error."""

from __future__ import annotations

import re

from hypothesis import example, given
from hypothesis import strategies as st
from tests.litmus.texts import MINIMAL, SCENARIOS, read

from shootdown_verify.litmus import ScenarioError

ORIGINALS = [MINIMAL, *(path.read_text() for path in SCENARIOS)]
PIECES = sorted({piece for text in ORIGINALS for piece in re.findall(r"\s+|\w+|.", text)})


@st.composite
def mutants(draw: st.DrawFn) -> str:
    """Scenarios with a few pieces removed, replaced, repeated or moved."""
    pieces = re.findall(r"\s+|\w+|.", draw(st.sampled_from(ORIGINALS)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(pieces) - 1))
        new = draw(st.one_of(st.sampled_from(["", *PIECES]), st.text(max_size=3)))
        length = draw(st.integers(0, 2))
        pieces[at : at + length] = [new]
    return "".join(pieces)


def error_in(text: str) -> ScenarioError | None:
    """Read a text and return its error, if it has one; anything else comes through."""
    try:
        read(text)
    except ScenarioError as error:
        return error
    return None


def survives(text: str) -> None:
    """Hold that an error, if there is one, points at a place in the text."""
    error = error_in(text)
    if error:
        lines = text.split("\n")
        assert 1 <= error.line <= len(lines)
        assert 1 <= error.column <= len(lines[error.line - 1]) + 1
        assert str(error).startswith(f"small.litmus:{error.line}:{error.column}: ")


@given(st.text())
@example("SHOOTDOWN small\n" + '"x"\n{A=0;}\nCPU0\n' + "~" * 5000)
@example(MINIMAL + "forbidden " + "(" * 5000)
@example("SHOOTDOWN " + "9" * 5000)
@example("\ud800")
@example("\ufeff" + MINIMAL)
def test_any_text_is_a_scenario_or_an_error(text: str) -> None:
    """Random text is refused, and politely."""
    survives(text)


@given(mutants())
def test_nearly_right_text_is_a_scenario_or_an_error(text: str) -> None:
    """A scenario that somebody was editing is read or refused, and never breaks the reader."""
    survives(text)
