"""Which tests each faulty device of the zoo fails, those that name its fault, and no other."""

from __future__ import annotations

from typing import Final

_USES_WHAT_WAS_DROPPED = frozenset(
    (
        "invalidate_page",
        "invalidate_range",
        "invalidate_within_larger_page",
        "invalidate_global",
        "wrong_pasid",
    )
)

EXPECTED: Final[dict[str, frozenset[str]]] = {
    "caches_not_present": frozenset(("page_requests",)),
    "completes_before_drain": frozenset(("invalidate_during_access", "completion_vector")),
    "completes_what_has_arrived": frozenset(("completion_vector",)),
    "drain_waits_for_translation": frozenset(("invalidate_during_page_request",)),
    "duplicate_completion": frozenset(("completions",)),
    # Nobody is there but the agent, which greets.
    "gone": _USES_WHAT_WAS_DROPPED
    | {
        "translate",
        "invalidate_during_walk",
        "invalidate_during_access",
        "invalidate_during_page_request",
        "page_requests",
        "completions",
        "completion_vector",
        "back_pressure",
        "duplicate_messages",
        "lost_messages",
        "detach",
    },
    "honours_first_page": frozenset(("invalidate_range", "invalidate_global")),
    # The tests write no registers.
    "ignores_ats_disable": frozenset(),
    "ignores_detach": frozenset(("invalidate_global",)),
    "ignores_global": frozenset(("invalidate_global",)),
    "ignores_invalidation": _USES_WHAT_WAS_DROPPED
    | {"invalidate_during_walk", "invalidate_during_access", "completion_vector"},
    "ignores_pasid": frozenset(("wrong_pasid",)),
    "inserts_late": frozenset(("invalidate_during_walk",)),
    # Its fault is in the IOTLB, which the daemon hosts for an agent without shared memory.
    "invalidates_atc_first": frozenset(),
    "keeps_atc_over_reset": frozenset(),
    "keeps_larger_entries": frozenset(("invalidate_within_larger_page",)),
    # Tables are the IOMMU's, which is the daemon for an agent without shared memory.
    "keeps_tables": frozenset(),
    "miscounts_completions": frozenset(("completions",)),
    "needs_two_invalidations": _USES_WHAT_WAS_DROPPED
    | {"invalidate_during_walk", "invalidate_during_access", "completion_vector"},
    "retries_for_ever": frozenset(("page_requests",)),
    "serves_read_only": _USES_WHAT_WAS_DROPPED | {"invalidate_during_walk", "page_requests"},
    # The tests ask for no stop markers.
    "stops_early": frozenset(),
    "trusts_success": frozenset(("page_requests",)),
    "uses_after_completing": _USES_WHAT_WAS_DROPPED | {"lost_messages"},
    "wrong_itag": frozenset(("completions",)),
}
"""By name in the zoo; a test holds that every device has its entry."""
