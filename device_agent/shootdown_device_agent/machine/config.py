"""What a device is like: its number, its caches, its queues; the same for a whole run."""

from __future__ import annotations

from dataclasses import dataclass

from shootdown_engine.iommu_config import IommuConfig
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
