"""Mutants by name: kernels with one whole operation, driver or mirror written otherwise.

Each has a file of its own and is caught by a scenario that names it, or is what a hardware's bug
needs. One that no scenario names tests nothing.
"""

from __future__ import annotations

from typing import Final

from shootdown_daemon.machine.mutant import Mutant
from shootdown_daemon.machine.mutants import (
    amd_completion_wait,
    atc_before_iotlb,
    collapses_unannounced,
    empty_range,
    ends_inclusive,
    flushes_leaves_only,
    flushes_twice,
    flushes_upgrades,
    flushes_what_was_asked,
    flushes_without_pasid,
    forks_without_vma_lock,
    frees_pasid_undrained,
    frees_pasid_unflushed,
    frees_table_at_once,
    frees_table_unflushed,
    gives_up_on_absent,
    mirror_checks,
    mirror_faults_under_lock,
    mirror_maps_whole_page,
    mirror_removes_before_unlisting,
    mirror_revokes_unlocked,
    mirror_skips_roots,
    mirror_spins,
    mirror_touches_early,
    mirror_wrong_key,
    mremap_flushes_late,
    never_waits_for_ipis,
    publishes_late,
    publishes_unwritten_table,
    range_operand,
    reads_recipients_early,
    releases_while_reporting,
    removes_queue_first,
    scans_between_unlocked_ends,
    unassigns_before_flush,
    unbinds_without_devtlb,
    unbinds_without_iotlb,
    upgrade_is_noop,
    zaps_without_asking,
)

MUTANTS: Final[dict[str, Mutant]] = {
    mutant.name: mutant
    for mutant in (
        amd_completion_wait.RIGHT,
        amd_completion_wait.WRONG,
        atc_before_iotlb.MUTANT,
        collapses_unannounced.MUTANT,
        empty_range.NOTHING,
        empty_range.ALL,
        ends_inclusive.MUTANT,
        flushes_leaves_only.MUTANT,
        flushes_twice.MUTANT,
        flushes_upgrades.MUTANT,
        flushes_what_was_asked.MUTANT,
        flushes_without_pasid.MUTANT,
        forks_without_vma_lock.MUTANT,
        frees_pasid_undrained.MUTANT,
        frees_pasid_unflushed.MUTANT,
        frees_table_at_once.MUTANT,
        frees_table_unflushed.MUTANT,
        gives_up_on_absent.MUTANT,
        mirror_checks.UNCHECKED,
        mirror_checks.TOO_EARLY,
        mirror_faults_under_lock.MUTANT,
        mirror_maps_whole_page.MUTANT,
        mirror_removes_before_unlisting.MUTANT,
        mirror_revokes_unlocked.MUTANT,
        mirror_skips_roots.MUTANT,
        mirror_spins.MUTANT,
        mirror_touches_early.MUTANT,
        mirror_wrong_key.MUTANT,
        mremap_flushes_late.MUTANT,
        never_waits_for_ipis.MUTANT,
        publishes_late.MUTANT,
        publishes_unwritten_table.MUTANT,
        range_operand.OVERFLOWS,
        range_operand.MASK,
        reads_recipients_early.MUTANT,
        releases_while_reporting.MUTANT,
        removes_queue_first.MUTANT,
        scans_between_unlocked_ends.MUTANT,
        unassigns_before_flush.MUTANT,
        unbinds_without_devtlb.MUTANT,
        unbinds_without_iotlb.MUTANT,
        upgrade_is_noop.MUTANT,
        zaps_without_asking.MUTANT,
    )
}
"""Every shipped mutant."""
