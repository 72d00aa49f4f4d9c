"""The tutorial's code blocks and commands, run as a reader would."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from tests.processes.ground import Ground

PAGE = Path(__file__).parents[2] / "docs" / "tutorial-device.md"
BLOCK = re.compile(r"^```(python|console)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
WRITE = re.compile(r"(?:Write|Add to) `([\w.]+)`:")
LINES_MAX = 40
NUMBERS = re.compile(r"[\d,.]+")


def first_line(text: str) -> str:
    """The first line of what a command printed, without the numbers in it."""
    return NUMBERS.sub("", text.splitlines()[0]).strip()


def test_the_tutorial_does_what_it_says(ground: Ground) -> None:
    """Its files find the planted bug and prove the mended device right, as it prints."""
    text = PAGE.read_text()
    statuses = []
    for block in BLOCK.finditer(text):
        kind, body = block.groups()
        if kind == "python":
            name = WRITE.findall(text[: block.start()])[-1]
            with (ground.root / name).open("a") as file:
                file.write(body)
            continue
        command, _, printed = body.partition("\n")
        ended = ground.do(*shlex.split(command.removeprefix("$ shootdown ")), wait_s=60)
        assert first_line(ended.output) == first_line(printed), str(ended)
        statuses.append(ended.status)

    assert statuses == [1, 0, 0, 0]


def test_the_device_that_finds_the_bug_is_short() -> None:
    """A whole agent is less than forty lines."""
    first = next(body for kind, body in BLOCK.findall(PAGE.read_text()) if kind == "python")

    assert len(first.splitlines()) < LINES_MAX
