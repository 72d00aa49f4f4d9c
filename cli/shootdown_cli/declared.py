"""How an argument or an option is declared, and those that several commands have.

Importing this costs next to nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, NamedTuple

DISCIPLINE: Final = "clear_flush"
"""What is taken when nobody says otherwise: the right one."""


class Argument(NamedTuple):
    """A word that must be given, known by its place; ``complete`` is as an option's."""

    help: str
    complete: str = ""


class Option(NamedTuple):
    """Given as ``--name VALUE``, a bool as ``--name``; ``flag`` is its name when not its own.

    ``least`` is the smallest number allowed. ``complete`` names the function of
    `shootdown_cli.completing` that completes a value for the shell.
    """

    help: str
    flag: str = ""
    least: int | None = None
    complete: str = ""


TestbedArgument = Annotated[
    str, Argument("A .toml file, or a shipped testbed's name.", "complete_testbed")
]
ScenarioArgument = Annotated[
    str, Argument("A .litmus file, or the name of a shipped scenario.", "complete_scenario")
]
DisciplineOption = Annotated[
    str,
    Option(
        "When secondary TLBs are notified: none, range_start, before_clear, clear_flush, "
        "after_set, after_unlock, range_end, before_free, leaf_only, lazy, linux-6.1, "
        "linux-6.18, or FILE.py:Class.",
        complete="complete_discipline",
    ),
]
DeviceOption = Annotated[
    str,
    Option(
        "A device of your own, FILE.py:Class, or a faulty one: caches_not_present, "
        "completes_before_drain, completes_what_has_arrived, drain_waits_for_translation, "
        "duplicate_completion, gone, honours_first_page, ignores_ats_disable, ignores_detach, "
        "ignores_global, ignores_invalidation, ignores_pasid, inserts_late, "
        "invalidates_atc_first, keeps_atc_over_reset, keeps_larger_entries, keeps_tables, "
        "miscounts_completions, needs_two_invalidations, retries_for_ever, "
        "serves_read_only, stops_early, trusts_success, uses_after_completing, wrong_itag; the "
        "right one if not said.",
        complete="complete_device",
    ),
]
DevicesOption = Annotated[
    list[str] | None,
    Option(
        "[DEVICE=]FILE.py:Class, or a faulty device's name: what devices (or only DEVICE) are; "
        "may be given several times.",
        "--device",
        complete="complete_device",
    ),
]
MutantOption = Annotated[
    str,
    Option(
        "A kernel with something written wrong, by name (`shootdown bugs` shows which) or as "
        "FILE.py:NAME; the right one if not said.",
        complete="complete_mutant",
    ),
]
SettingsOption = Annotated[
    list[str] | None,
    Option(
        "NAME=VALUE, as a scenario says what devices and the IOMMU are like: dialect=vtd, "
        "iotlb=on, atc_entries=2 and so on; may be given several times.",
        "--option",
        complete="complete_setting",
    ),
]
OnOption = Annotated[
    str | None,
    Option("A live testbed's name; default: the only one.", "--on", complete="complete_live"),
]
JsonOption = Annotated[bool, Option("Print one JSON object.", "--json")]
JsonLinesOption = Annotated[
    bool, Option("Print one JSON object for each scenario, one a line.", "--json")
]
FaultOption = Annotated[
    str | None,
    Option("A fault plan: a .toml file, or a shipped plan's name.", complete="complete_plan"),
]
ListenOption = Annotated[
    str,
    Option("Let agents of other hosts attach, at tcp://HOST:PORT, encrypted; see `attach --key`."),
]
InsecureOption = Annotated[
    bool, Option("Do not encrypt; only with --listen on loopback.", "--insecure")
]
OutOption = Annotated[Path, Option("Where run directories are made.")]
LogsOption = Annotated[Path, Option("Where its log goes.")]
