"""Ctrl-C at a known point of a command: it ends in order, says so, and leaves nothing."""

from __future__ import annotations

import sys

import pytest
from tests.processes.ground import Ground

PATCHED = """
import os, signal
import msgspec
from shootdown_cli import client, main, racing, testbed
from shootdown_protocol import messages

def interrupt():
    os.kill(os.getpid(), signal.SIGINT)

ask = client.ControlClient.ask
{point}
main.main()
"""
BEFORE_THE_LOAD = """
def asks(self, *words):
    interrupt()
    return ask(self, *words)
client.ControlClient.ask = asks
"""
BEHIND_THE_LOAD = """
def asks(self, *words):
    answer = ask(self, *words)
    interrupt()
    return answer
client.ControlClient.ask = asks
"""
AS_IT_STARTS = """
fork = testbed._fork
def forks(name, *words):
    pid = fork(name, *words)
    interrupt()
    return pid
testbed._fork = forks
"""
NO_ANSWER = """
client.ANSWER_S = -1.0
"""
IN_THE_THIRD_TIME = """
hear = racing.Race._hear
def hears(self, answer):
    if self.request.request == 3 and isinstance(answer, messages.RunStarted):
        interrupt()
    if self.request.request == 3 and isinstance(answer, messages.RunEnded):
        answer = msgspec.structs.replace(answer, end=messages.RunEnd.ABORTED)
    hear(self, answer)
racing.Race._hear = hears
"""


def patched(point: str) -> tuple[str, ...]:
    """The command, changed so that something happens at a point of it."""
    return (sys.executable, "-c", PATCHED.format(point=point))


@pytest.mark.parametrize(
    ("point", "says"),
    [
        (AS_IT_STARTS, "shootdown: interrupted"),
        (BEFORE_THE_LOAD, "shootdown: interrupted"),
        (BEHIND_THE_LOAD, "shootdown: interrupted"),
        (NO_ANSWER, "no answer from"),
    ],
    ids=["start", "before", "behind", "no-answer"],
)
def test_an_up_that_does_not_get_to_its_end_leaves_nothing(
    ground: Ground, point: str, says: str
) -> None:
    """Unless it has told that the testbed is up, the testbed has ended and was removed."""
    program = patched(point)
    words = ("up", str(ground.testbed()), "--name", ground.name("cut"), "--load", "cow-two-pages")

    ended = ground.do(*words, program=program)

    assert (ended.status, ended.output) == (4, ""), str(ended)
    assert says in ended.errors
    assert (ground.processes(), ground.leftovers(), ground.segments()) == ({}, [], [])


def test_an_up_that_was_refused_leaves_no_folder(ground: Ground) -> None:
    """What it would have logged to is removed, and ``latest`` is the testbed that is there."""
    out = ground.up("taken")["out"]

    ended = ground.do("up", str(ground.testbed()), "--name", ground.name("taken"))

    assert ended.status == 2, str(ended)
    assert sorted(path.name for path in ground.out.iterdir()) == [out.rpartition("/")[2], "latest"]
    assert (ground.out / "latest").resolve() == (ground.root / out).resolve()
    assert ground.do("down").status == 0


def test_a_live_replay_ends_and_counts_what_was_followed(ground: Ground) -> None:
    """The time that was cut off is none of those that were tried, and no more are made."""
    found = ground.do("explore", "cow-two-pages", "--discipline", "range_end", "--json").told
    words = ("replay", found["replay"], "--live", "--verify", "200", "--json")

    ended = ground.do(*words, program=patched(IN_THE_THIRD_TIME))

    assert ended.status == 4, str(ended)
    told = ended.told
    assert (told["interrupted"], told["times"], told["same"]) == (True, 2, 2), str(ended)
    assert "interrupted: 2 of the 2 times so far were followed, of 200 asked for" in ended.errors
    assert (ground.processes(), ground.leftovers(), ground.segments()) == ({}, [], [])
