"""Shared hugetlb tables: given up and shared again, or not with a mapping that goes."""

from __future__ import annotations

import pytest
from tests.machine.machines import Bench

from shootdown_daemon.machine.disciplines import DISCIPLINES
from shootdown_daemon.machine.operations import OPERATIONS
from shootdown_protocol.memory import pte_pfn
from shootdown_verify.litmus import parse

TEXT = """SHOOTDOWN shared
"A process gives up its share of a table and faults; the other one unmaps, or does not."
{ A = 0 hugetlb; B@other = share of A; }
 CPU0                   | CPU1                     | CPU2      ;
 hugetlb_unshare_pmds A | __unmap_hugepage_range B | load A r0 ;

weakest none
caught none : S1
"""


@pytest.mark.parametrize(("unmapped", "shared"), [(False, True), (True, False)])
def test_a_fault_shares_again_unless_the_other_mapping_goes(unmapped: bool, shared: bool) -> None:
    """Under ``i_mmap`` the other's mapping is looked up, then its table is counted once more."""
    program = parse(TEXT, "shared.litmus", operations=OPERATIONS, disciplines=DISCIPLINES).program
    bench = Bench(program)
    bench.go("CPU0")
    if unmapped:
        bench.go("CPU1", before="i_mmap_lock_write")

    bench.go("CPU2")

    entries = bench.whole.kslot.entries
    own, other = (bench.store.load(entry.words(bench.store)[0][1]) for entry in entries)
    assert (pte_pfn(own) == pte_pfn(other)) is shared
    assert ("ptdesc_pmd_pts_inc" in bench.made) is shared
