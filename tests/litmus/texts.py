"""Scenario texts for tests, and the names that they may use."""

from __future__ import annotations

from pathlib import Path

from shootdown_daemon.machine.operations import OPERATIONS as REGISTRY
from shootdown_device_agent.machine.zoo import ZOO
from shootdown_verify.litmus import Scenario, load, parse

OPERATIONS = frozenset(REGISTRY)
DISCIPLINES = (
    "none",
    "range_start",
    "before_clear",
    "clear_flush",
    "after_set",
    "after_unlock",
    "range_end",
    "before_free",
    "leaf_only",
)
FAULTY_DEVICES = frozenset(ZOO)

SCENARIOS = sorted((Path(__file__).parents[2] / "configs" / "scenarios").glob("*.litmus"))
BUGS = SCENARIOS[0].parent / "bugs"

MINIMAL = """\
SHOOTDOWN small
"A device must see the new A."
{
  A = 0 cow; B = 3;
  atc DEV0 A;
}
 CPU0           | CPU1                    | DEV0      ;
 wp_page_copy A | store A 1 when writable | load A r0 ;
                |                         | await CPU1
forbidden DEV0:r0=0 /\\ A=1
weakest real-time
caught range_end : S2 condition
safe clear_flush
"""


def read(text: str, path: str = "small.litmus") -> Scenario:
    """Read a scenario with the names above."""
    return parse(
        text,
        path,
        operations=OPERATIONS,
        disciplines=DISCIPLINES,
        faulty_devices=FAULTY_DEVICES,
    )


def read_file(path: Path) -> Scenario:
    """Read a scenario file with the names above."""
    return load(
        path,
        operations=OPERATIONS,
        disciplines=DISCIPLINES,
        faulty_devices=FAULTY_DEVICES,
    )


def minimal(old: str = "", new: str = "") -> str:
    """The small scenario with one piece, which must occur once, replaced."""
    assert not old or MINIMAL.count(old) == 1
    return MINIMAL.replace(old, new) if old else MINIMAL
