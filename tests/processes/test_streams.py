"""Standard streams that are closed or full: no violation is made of it, and nothing is left."""

from __future__ import annotations

import sys

import pytest
from tests.processes.ground import Ground

SMALL = ("run", "cow-two-pages", "--instances", "100", "--testbed")
CALL = f'exec {sys.executable} -m shootdown_cli.main "$@" '


def redirected(how: str) -> tuple[str, ...]:
    """The command, called by a shell that redirects its streams so."""
    return ("/bin/sh", "-c", CALL + how, "sh")


@pytest.mark.parametrize("how", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_command_does_its_work_without_a_stream(ground: Ground, how: str) -> None:
    """Its exit status says how it went, though it has nowhere to say so."""
    ended = ground.do(*SMALL, str(ground.testbed()), program=redirected(how))

    assert ended.status == 0, str(ended)
    assert "Traceback" not in ended.errors


@pytest.mark.parametrize("words", [("steps", "cow-two-pages"), ("steps", "--help")])
def test_a_closed_output_is_nothing_wrong(ground: Ground, words: tuple[str, ...]) -> None:
    """What nobody wants to read goes nowhere."""
    ended = ground.do(*words, program=redirected(">&-"))

    assert (ended.status, ended.errors) == (0, ""), str(ended)


def test_a_testbed_may_come_up_unheard(ground: Ground) -> None:
    """Whoever closes standard output knows the name already."""
    words = ("up", str(ground.testbed()), "--name", ground.name("mute"))

    ended = ground.do(*words, program=redirected(">&-"))

    assert ended.status == 0, str(ended)
    assert ground.do("down", "--on", "mute").status == 0


@pytest.mark.parametrize("words", [("steps", "cow-two-pages"), ("steps", "--help"), ("up", "NAME")])
def test_a_full_output_is_named(ground: Ground, words: tuple[str, ...]) -> None:
    """Not the message alone, which might be of any file; and no testbed stays untold of."""
    if words[0] == "up":
        words = ("up", str(ground.testbed()), "--name", ground.name("untold"))

    ended = ground.do(*words, program=redirected(">/dev/full"))

    assert ended.status == 4, str(ended)
    assert ended.errors == "shootdown: standard output: No space left on device\n"
    assert (ground.processes(), ground.leftovers()) == ({}, [])


def test_what_cannot_be_complained_of_is_still_no_violation(ground: Ground) -> None:
    """A full standard error changes no exit status."""
    assert ground.do("run", "nosuch", program=redirected("2>/dev/full")).status == 2
