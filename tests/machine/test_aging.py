"""Aging: who is asked whether a page was used, and what is left of the answer."""

from __future__ import annotations

import pytest
from tests.machine.machines import Bench

from shootdown_daemon.machine.disciplines import DISCIPLINES
from shootdown_daemon.machine.mirror import young_cell
from shootdown_daemon.machine.operations import OPERATIONS
from shootdown_protocol.memory import ACCESSED
from shootdown_verify.litmus import parse

TEXT = """SHOOTDOWN aged
"A guest, or a GPU, uses a page that is then aged."
{{ A = 0 rw; mirror {mirror}; ad_bits on; }}
 CPU0          | CPU1      | MIR0      ;
 {operation} A | load A r1 | load A r0 ;

weakest none
caught none : S1
"""


def aged(operation: str, mirror: str, *users: str) -> Bench:
    """A page that nobody but some columns has used, and that is then asked about."""
    text = TEXT.format(operation=operation, mirror=mirror)
    program = parse(text, "aged.litmus", operations=OPERATIONS, disciplines=DISCIPLINES).program
    bench = Bench(program)
    word = bench.whole.kslot.entries[0].at(bench.store)
    bench.store.store(word, bench.store.load(word) & ~ACCESSED)
    for user in users:
        bench.go(user)
    bench.go("CPU0")
    return bench


@pytest.mark.parametrize(
    ("operation", "callback", "stays"),
    [
        ("folio_referenced_one", "clear_flush_young", False),
        ("page_idle_clear_pte_refs_one", "clear_young", False),
        ("damon_folio_young_one", "test_young", True),
    ],
)
def test_kvm_answers_for_its_guests(operation: str, callback: str, stays: bool) -> None:
    """Its own accessed bit is asked for under the page table lock, and cleared unless only read."""
    bench = aged(operation, "kvm", "MIR0")

    asked = bench.made.index(callback)
    assert "pte_offset_map_lock" in bench.made[:asked]
    assert "pte_unmap_unlock" in bench.made[asked:]
    assert (bench.store.get(young_cell(0, 0)) is not None) is stays


def test_an_interval_notifier_is_not_asked() -> None:
    """It has no callback for aging, so the mark of its access stays, and nobody reads it."""
    bench = aged("folio_referenced_one", "hmm", "MIR0")

    assert "clear_flush_young" not in bench.made
    assert bench.store.get(young_cell(0, 0)) is not None


@pytest.mark.parametrize(
    ("operation", "left"), [("folio_referenced_one", 0), ("damon_folio_young_one", ACCESSED)]
)
def test_the_accessed_bit_is_cleared_by_who_asks_again(operation: str, left: int) -> None:
    """Reclaim clears it for the next time; DAMON looks and leaves it."""
    bench = aged(operation, "kvm", "CPU1")

    entry = bench.whole.kslot.entries[0].read(bench.store)
    assert entry & ACCESSED == left
