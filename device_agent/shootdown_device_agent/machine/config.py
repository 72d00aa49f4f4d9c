"""What a device is like: its number, its caches, its queues; the same for a whole run."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Final, NoReturn

from shootdown_engine.iommu_config import IommuConfig
from shootdown_protocol.device_options import DEVICE_OPTIONS, expected
from shootdown_protocol.errors import ErrorCode, UsageError
from shootdown_protocol.limits import ITAGS


@dataclass(frozen=True)
class DeviceConfig(IommuConfig):
    """What a testbed and a scenario say of a device; ``docs/device.md`` has every key.

    ``atc_entries`` is a capacity, 0 for no limit.
    ``completions``: how many an invalidation gets, one a traffic class.
    ``vector``: one completion message for all that have arrived.
    ``page_requests``: how many may be outstanding (PRI's allocation), 0 for no limit;
    ``page_groups``: a request takes its neighbours along; ``stop_markers``: the device says so when
    no request of a PASID follows. ``watch_stale``: note hits whose entry
    has changed (reads the entry at each hit).
    """

    atc_entries: int = 0
    queue_depth: int = ITAGS
    completions: int = 1
    vector: bool = False
    page_requests: int = 0
    page_groups: bool = False
    stop_markers: bool = False
    watch_stale: bool = True


SETTINGS: Final[Mapping[str, object]] = {
    each.name: each.default for each in fields(DeviceConfig) if each.name in DEVICE_OPTIONS
}
"""What ``SETTINGS`` of a device's class may override, each with what it is by default."""


def check_settings(settings: object, where: str) -> None:
    """`UsageError` unless each of a class's ``SETTINGS`` is one and has a value that it takes."""
    if not isinstance(settings, Mapping):
        _refuse(f"SETTINGS = {settings!r}", f"a dict with keys of {', '.join(SETTINGS)}", where)
    for name, value in settings.items():
        if name not in SETTINGS:
            like = difflib.get_close_matches(str(name), SETTINGS, 1)
            hint = f"; did you mean {like[0]}?" if like else ""
            _refuse(f"{name!r}{hint}", f"a key of {', '.join(SETTINGS)}", where)
        if not _takes(name, value):
            _refuse(f"{name!r}: {value!r}", f"{name}: {_values(name)}", where)


def _takes(name: str, value: object) -> bool:
    default, values = SETTINGS[name], DEVICE_OPTIONS[name]
    if type(value) is not type(default):
        return False
    return isinstance(value, bool) or value == default or value in values


def _values(name: str) -> str:
    default = SETTINGS[name]
    if isinstance(default, bool):
        return "True or False"
    return expected(name) + (", or 0 for no limit" if default == 0 else "")


def _refuse(seen: str, wanted: str, where: str) -> NoReturn:
    raise UsageError(ErrorCode.USAGE, seen=seen, expected=wanted, where=where)
