"""The page about the language shows scenarios that are read, and names every word."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.litmus.texts import minimal, read

from shootdown_protocol.device_options import DEVICE_OPTIONS, expected
from shootdown_verify.litmus import CHECKS, ScenarioError
from shootdown_verify.litmus.vocabulary import (
    END_WORDS,
    INIT_WORDS,
    INSTRUCTIONS,
    MODELS,
    STATES,
    WHENS,
)

PAGE = (Path(__file__).parents[2] / "docs" / "scenarios.md").read_text()


def test_every_example_is_a_scenario() -> None:
    """What the page shows can be copied."""
    examples = re.findall(r"^```litmus\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)

    names = [read(text, f"{text.split()[1]}.litmus").name for text in examples]

    assert names == ["cow-two-pages"]


def test_every_word_of_the_language_is_explained() -> None:
    """No statement, state, instruction, wait, check or model is missing from the page."""
    code = " ".join(re.findall(r"`([^`\n]+)`", PAGE)) + PAGE.partition("```litmus")[2]
    words = [*INIT_WORDS, *STATES, *INSTRUCTIONS, *WHENS, *END_WORDS, *CHECKS, *MODELS]

    assert [word for word in words if not re.search(rf"\b{re.escape(word)}\b", code)] == []


def test_page_of_the_device_model_has_every_option() -> None:
    """docs/device.md lists the options in order, each with the values that it takes."""
    page = (Path(__file__).parents[2] / "docs" / "device.md").read_text()
    rows = re.findall(
        r"^\| `(\w+)` \| (.*?) \| .* \|$", page.partition("## Options")[2], re.MULTILINE
    )

    assert [(name, values.replace("`", "")) for name, values in rows] == [
        (name, expected(name)) for name in DEVICE_OPTIONS
    ]


def test_error_is_shown_as_it_is_printed() -> None:
    """The example of an error is one."""
    shown = re.search(r"^```\n(cow\.litmus:.*?)\n```$", PAGE, re.MULTILINE | re.DOTALL)
    text = minimal("when writable", "when writeable")

    with pytest.raises(ScenarioError) as caught:
        read(text, "cow.litmus")

    assert shown is not None
    assert str(caught.value) == shown[1]
