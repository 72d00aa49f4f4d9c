"""The page of promises: each has tests that are there, and every fault is aimed at one."""

import re
from pathlib import Path

import pytest

from shootdown_protocol.faults import KINDS

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "guarantees.md").read_text()
PROMISES = dict(re.findall(r"^## (\d+)\. .*\n((?:(?!^## ).*\n)*)", PAGE, re.MULTILINE))


def test_promises_are_numbered_from_one() -> None:
    """The kinds of faults name them by their numbers."""
    assert list(PROMISES) == [str(number) for number in range(1, len(PROMISES) + 1)]


@pytest.mark.parametrize("number", PROMISES)
def test_a_promise_names_tests_that_are_there(number: str) -> None:
    """A file, and a function in it."""
    named = re.findall(r"^- `(\S+)::(\w+)`$", PROMISES[number], re.MULTILINE)

    assert named
    for path, name in named:
        assert f"def {name}(" in (ROOT / path).read_text(), f"{path}::{name}"


def test_every_fault_is_aimed_at_a_promise() -> None:
    """And the number in its table is that of one."""
    assert {str(kind.promise) for kind in KINDS.values()} <= set(PROMISES)
