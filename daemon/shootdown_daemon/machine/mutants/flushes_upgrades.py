"""An architecture that flushes, and so notifies, when a permission only grows (arm64)."""

from __future__ import annotations

from shootdown_daemon.machine.mutant import Mutant
from shootdown_daemon.machine.operations import Operation
from shootdown_daemon.machine.operations.cow import wp_page_reuse
from shootdown_daemon.machine.phases import Phase

PHASES = (Phase.AFTER_SET, Phase.AFTER_UNLOCK, Phase.OP_RETURN)
"""``ptep_set_access_flags()`` has a flush in it, under the lock."""

MUTANT = Mutant(
    "flushes_upgrades",
    "A permission that grows is flushed and notified, as arm64 does since v6.6.",
    operations=(Operation("wp_page_reuse", PHASES, wp_page_reuse),),
)
