"""Exchange and compare-and-swap are the machine's, on words that processes share."""

from __future__ import annotations

import mmap
import os

import pytest

from shootdown_protocol.atomics import Atomics

ROUNDS = 20_000


@pytest.fixture
def words() -> memoryview:
    """Four words of memory that a forked process shares."""
    return memoryview(mmap.mmap(-1, mmap.PAGESIZE)).cast("Q")[:4]


def test_exchange_gives_what_was_there(words: memoryview) -> None:
    """The word has its new value, and the old one is given."""
    words[2] = (1 << 64) - 1

    old = Atomics(words).exchange(2, 7)

    assert (old, list(words)) == ((1 << 64) - 1, [0, 0, 7, 0])


@pytest.mark.parametrize(("expected", "after"), [(5, 9), (6, 5)])
def test_compare_exchange_writes_only_what_is_expected(
    words: memoryview, expected: int, after: int
) -> None:
    """Either way it gives what the word was."""
    words[1] = 5

    old = Atomics(words).compare_exchange(1, expected, 9)

    assert (old, words[1]) == (5, after)


def test_two_processes_lose_no_increment(words: memoryview) -> None:
    """A counter raised by compare-and-swap in two processes holds the sum."""
    child = os.fork()
    _count(words)
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)

    assert words[0] == 2 * ROUNDS


def _count(words: memoryview) -> None:
    atomics = Atomics(words)
    for _ in range(ROUNDS):
        while atomics.compare_exchange(0, old := words[0], old + 1) != old:
            pass
