"""What checks and counters mean, in the words of `docs/running.md`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

CHECKED: Final[Mapping[str, str]] = {
    "S1": "an access, or a walk, touched a frame that was not its location's, or had been freed; "
    "poison of a freed frame was found broken",
    "S2": "a load met a version older than one whose store had ended before the load began",
    "S3": "an entry was set, or all was quiet, and the mapped frame did not hold the newest "
    "completed version",
    "S4": "an access begun after an operation had returned did not obey it",
    "S5": "a fault was retried for ever, or a column did not end",
    "condition": "the scenario's `forbidden` outcome was seen",
    "translation": "a device hit in a translation that a completed invalidation covers",
    "protocol": "ITags, completions, drains or page responses were not as ATS and PRI have them",
}
"""When a run fails, by check."""

COUNTED: Final[Mapping[str, str]] = {
    "invalidations_sent": "requests, to one device each",
    "invalidations_completed": "those that a device has completed",
    "atc_hits": "look-ups that found a translation in the device TLB",
    "atc_misses": "look-ups that found none",
    "walks": "table walks",
    "page_requests": "PRI requests answered",
    "stale_eligible_hits": "accesses through a cached translation whose entry had changed since",
    "overlapped_instances": "instances in which a device access fell between an operation's first "
    "and last step",
    "denied": "accesses that the kernel refused",
    "unfinished_instances": "instances that were cut off; not judged",
    "legal_window_reads": "loads of the old epoch before the operation that ended it had returned",
    "unjudged_racy": "loads of locations declared racy",
}
"""What each of a run's counters counts."""
