"""What is counted beside a verdict: evidence that the race could have happened at all.

A hit is an access through a translation cached before it; a stale-eligible hit one whose entry
had changed since. Both are legal until an invalidation of the page has completed.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(slots=True)
class Counters:
    """Sums over the instances judged, those of `unfinished_instances` apart."""

    invalidations_sent: int = 0
    invalidations_completed: int = 0
    atc_hits: int = 0
    atc_misses: int = 0
    walks: int = 0
    page_requests: int = 0
    stale_eligible_hits: int = 0
    overlapped_instances: int = 0
    denied: int = 0
    unfinished_instances: int = 0
    legal_window_reads: int = 0
    """Loads, through a stale translation, of an epoch that a requested operation was ending."""
    unjudged_racy: int = 0
    """Loads and resident versions of racy locations, which S2 and S3 say nothing about."""

    def add(self, other: Counters) -> None:
        """Add another's sums to these."""
        self.invalidations_sent += other.invalidations_sent
        self.invalidations_completed += other.invalidations_completed
        self.atc_hits += other.atc_hits
        self.atc_misses += other.atc_misses
        self.walks += other.walks
        self.page_requests += other.page_requests
        self.stale_eligible_hits += other.stale_eligible_hits
        self.overlapped_instances += other.overlapped_instances
        self.denied += other.denied
        self.unfinished_instances += other.unfinished_instances
        self.legal_window_reads += other.legal_window_reads
        self.unjudged_racy += other.unjudged_racy

    def as_dict(self) -> dict[str, int]:
        """Sums by name."""
        return asdict(self)
