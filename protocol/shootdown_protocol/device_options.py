"""Options of a program that say what its devices and the IOMMU before them are like.

A program's ``options`` hold only those that its scenario names; all others have the value of
`DEFAULTS`, or what the testbed says. Only the table of names and values may live here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from shootdown_protocol.limits import ATC_ENTRIES_MAX, ITAGS, PRGI_MAX

ON: Final = "on"
OFF: Final = "off"
SWITCH: Final = (OFF, ON)

_DIGITS_MAX: Final = 9

Values = tuple[str, ...] | range
"""What an option takes: words, or whole numbers written in decimal."""

DEVICE_OPTIONS: Final[dict[str, Values]] = {
    "iotlb": SWITCH,
    "iotlb_entries": range(1, ATC_ENTRIES_MAX + 1),
    "atc_entries": range(1, ATC_ENTRIES_MAX + 1),
    "replacement": ("fifo", "lru"),
    "walk_by_level": SWITCH,
    "walk_cache": SWITCH,
    "ad_bits": SWITCH,
    "queue_depth": range(1, ITAGS + 1),
    "completions": range(1, 9),
    "vector": SWITCH,
    "page_requests": range(1, PRGI_MAX + 2),
    "page_groups": SWITCH,
    "page_request_queue": range(PRGI_MAX + 2),
    "stop_markers": SWITCH,
    "invalidate": ("page", "pair", "table", "pasid", "global"),
    "dialect": ("direct", "vtd", "smmuv3", "riscv"),
    "mirror": ("hmm", "kvm"),
}
"""Options by name, with what they take; ``docs/device.md`` says what each means."""

DEFAULTS: Final[dict[str, str]] = {
    "iotlb": OFF,
    "replacement": "fifo",
    "walk_by_level": OFF,
    "walk_cache": OFF,
    "ad_bits": OFF,
    "queue_depth": str(ITAGS),
    "completions": "1",
    "vector": OFF,
    "page_groups": OFF,
    "stop_markers": OFF,
    "invalidate": "page",
    "dialect": "direct",
    "mirror": "hmm",
}
"""What is taken when nobody says; an option that is not here has no bound then."""


def takes(option: str, value: str) -> bool:
    """Whether an option takes a value, as a program's ``options`` write it."""
    values = DEVICE_OPTIONS[option]
    if isinstance(values, range):
        digits = value.isascii() and value.isdigit() and len(value) <= _DIGITS_MAX
        return digits and int(value) in values
    return value in values


def expected(option: str) -> str:
    """What an option takes, in words."""
    values = DEVICE_OPTIONS[option]
    if isinstance(values, range):
        return f"{values.start} to {values.stop - 1}"
    return ", ".join(values)


def option_of(options: Mapping[str, str], name: str) -> str:
    """What a program's options say of one of these, or its default."""
    return options.get(name, DEFAULTS.get(name, ""))
