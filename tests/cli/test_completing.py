"""What a shell offers for half a word."""

from __future__ import annotations

from inspect import signature
from typing import get_args

import pytest

from shootdown_cli import completing
from shootdown_cli.commands import COMMANDS, GROUPS

STEP = "wp_page_copy.set_pte_at"


@pytest.mark.parametrize(
    ("what", "written", "offered"),
    [
        ("scenario", "cow-two-pages-", ["cow-two-pages-causal"]),
        ("scenario", "cve-2018", ["cve-2018-18281"]),
        ("bug", "cow", []),
        ("testbed", "two", ["two-agents"]),
        ("plan", "every", ["everything-that-heals"]),
        ("live", "", []),
        ("discipline", "range_", ["range_start", "range_end"]),
        ("disciplines", "none,la", ["none,lazy"]),
        ("mutant", "skips_t", ["skips_timed_out"]),
        ("device", "DEV0=wrong", ["DEV0=wrong_itag"]),
        ("setting", "dia", ["dialect="]),
        ("setting", "dialect=v", ["dialect=vtd"]),
        ("setting", "atc_entries=1", []),
        ("strategy", "po", ["pos"]),
        ("operations", "unmap_vmas,wp_page_c", ["unmap_vmas,wp_page_copy"]),
        ("kind", "inv.dr", ["inv.drop"]),
        ("kinds", "inv.drop,inv.dr", ["inv.drop,inv.drop"]),
        ("step", "wp_page_copy.set_", [STEP]),
        ("thread_step", "CPU1", ["CPU1:"]),
        ("thread_step", "CPU0:wp_page_copy.set", [f"CPU0:{STEP}"]),
    ],
)
def test_a_word_is_completed(what: str, written: str, offered: list[str]) -> None:
    """By how it begins, in whole words of the command line."""
    assert getattr(completing, f"complete_{what}")(written) == offered


def test_commands_name_what_completes_their_words() -> None:
    """Every function that a declaration names is there, and each is named by one."""
    commands = [*COMMANDS, *(each for _, group in GROUPS.values() for each in group)]
    declared = [
        get_args(parameter.annotation)[1].complete
        for command in commands
        for parameter in signature(command, eval_str=True).parameters.values()
    ]

    there = {name for name in vars(completing) if name.startswith("complete_")}
    assert set(declared) - {""} == there
