"""What a device is like: its number, its caches, its queues; the same for a whole run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from shootdown_protocol.device_options import ON
from shootdown_protocol.limits import ITAGS
from shootdown_protocol.memory import LEVELS

UPPER_LEVELS: Final = 3
"""Tables of this level and above live as long as their address space, so a scenario that walks by
level loads from all of them in one step."""


@dataclass(frozen=True)
class DeviceConfig:
    """What a testbed and a scenario say of a device; ``docs/device.md`` has every key.

    ``device`` is its number, ``directory`` the PASID table's top page. ``iotlb``: the IOMMU in
    front caches translations, ``walk_cache``: table pages too. ``atc_entries`` and
    ``iotlb_entries`` are capacities, 0 for no limit. ``walk_by_level``: each table load is a step
    of its own, those down to level ``walk_at_once`` apart. ``ad_bits``: walks set accessed and
    dirty bits, and what is cached may be written to only if it was dirty.
    ``completions``: how many an invalidation gets, one a traffic class.
    ``vector``: one completion message for all that have arrived.
    ``page_requests``: how many may be outstanding (PRI's allocation), 0 for no limit;
    ``page_groups``: a request takes its neighbours along; ``stop_markers``: the device says so when
    no request of a PASID follows. ``watch_stale``: note hits whose entry
    has changed (reads the entry at each hit).
    """

    device: int
    name: str
    directory: int
    iotlb: bool = False
    iotlb_entries: int = 0
    atc_entries: int = 0
    replacement: str = "fifo"
    walk_by_level: bool = False
    walk_at_once: int = LEVELS + 1
    walk_cache: bool = False
    ad_bits: bool = False
    queue_depth: int = ITAGS
    completions: int = 1
    vector: bool = False
    page_requests: int = 0
    page_groups: bool = False
    stop_markers: bool = False
    watch_stale: bool = True

    def with_options(self, options: Mapping[str, str]) -> DeviceConfig:
        """The same, but for what a program's options say."""
        told: dict[str, Any] = {
            name: _read(name, value) for name, value in options.items() if name in _FIELDS
        }
        if told.get("walk_by_level"):
            told["walk_at_once"] = UPPER_LEVELS
        return replace(self, **told)


_SWITCHES = (
    "iotlb",
    "walk_by_level",
    "walk_cache",
    "vector",
    "page_groups",
    "stop_markers",
    "ad_bits",
)
_NUMBERS = ("iotlb_entries", "atc_entries", "queue_depth", "completions", "page_requests")
_FIELDS = (*_SWITCHES, *_NUMBERS, "replacement")


def _read(field: str, value: str) -> bool | int | str:
    if field in _SWITCHES:
        return value == ON
    return int(value) if field in _NUMBERS else value
