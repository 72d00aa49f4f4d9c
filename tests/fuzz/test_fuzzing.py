"""A fuzzer led by coverage finds no bytes that a decoder neither takes nor refuses."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from tests.fuzz.targets import Target, targets

ROOT = Path(__file__).parents[2]
SECONDS = 2
TARGETS = targets().values()
NO_FUZZER = importlib.util.find_spec("atheris") is None


@pytest.mark.parametrize("target", TARGETS, ids=[target.name for target in TARGETS])
def test_seeds_are_taken(target: Target) -> None:
    """What a right peer sends ends in no error at all, so the fuzzer begins inside the decoder."""
    assert target.seeds
    for seed in target.seeds:
        target.run(seed)


@pytest.mark.skipif(NO_FUZZER, reason="atheris has no package for this Python")
@pytest.mark.parametrize("name", targets())
def test_no_bytes_are_too_much(name: str) -> None:
    """Some seconds of a fuzzer: `python -m tests.fuzz NAME SECONDS` does as many as you like."""
    words = [sys.executable, "-m", "tests.fuzz", name, str(SECONDS)]

    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "number_of_executed_units" in done.stderr


@pytest.mark.skipif(NO_FUZZER, reason="atheris has no package for this Python")
def test_a_decoder_that_breaks_is_found() -> None:
    """The same fuzzer with a target that raises what it should not ends with an error."""
    words = [sys.executable, "-m", "tests.fuzz", "planted", "20"]

    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode != 0
    assert "planted by the test" in done.stdout + done.stderr
