"""What an IOMMU in front of a device is like, and how a program's options say so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final, Self

from shootdown_protocol.device_options import DEVICE_OPTIONS, ON
from shootdown_protocol.memory import LEVELS

UPPER_LEVELS: Final = 3
"""Tables of this level and above live as long as their address space, so a scenario that walks by
level loads from all of them in one step."""


@dataclass(frozen=True)
class IommuConfig:
    """What a testbed and a scenario say of the IOMMU; ``docs/device.md`` has every key.

    ``device`` is the number of the device behind it, ``directory`` the PASID directory's page.
    ``iotlb``: translations are cached, ``iotlb_entries`` of them (0 for no limit), ``walk_cache``:
    table pages too. ``walk_by_level``: each table load is a step of its own, those down to level
    ``walk_at_once`` apart. ``ad_bits``: walks set accessed and dirty bits, and what is answered may
    be written to only if it was dirty.
    """

    device: int
    name: str
    directory: int
    iotlb: bool = False
    iotlb_entries: int = 0
    replacement: str = "fifo"
    walk_by_level: bool = False
    walk_at_once: int = LEVELS + 1
    walk_cache: bool = False
    ad_bits: bool = False

    def with_options(self, options: Mapping[str, str]) -> Self:
        """The same, but for what a program's options say."""
        known = {each.name: each.default for each in fields(self) if each.name in DEVICE_OPTIONS}
        told: dict[str, Any] = {
            name: _read(known[name], value) for name, value in options.items() if name in known
        }
        if told.get("walk_by_level"):
            told["walk_at_once"] = UPPER_LEVELS
        return replace(self, **told)


def _read(default: object, value: str) -> bool | int | str:
    """A value as the field holds it."""
    if isinstance(default, bool):
        return value == ON
    return int(value) if isinstance(default, int) else value
