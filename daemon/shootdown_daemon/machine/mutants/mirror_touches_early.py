"""A mirror that uses pages found by a walk before it has checked that they are still those."""

from __future__ import annotations

from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.mirror import Mirror, Outcome, Resolve
from shootdown_daemon.machine.mutant import Mutant
from shootdown_engine.access import Intent, Target, begin, take_effect
from shootdown_engine.store import Store
from shootdown_protocol.history import Kind
from shootdown_protocol.memory import Pte, hardware_bits, pte_generation, pte_pfn


class TouchesEarly(Mirror):
    """``hmm_range_fault()``, the pages, and then the lock and the check."""

    async def access(self, cpu: Cpu, intent: Intent, resolve: Resolve) -> Outcome:
        """Walk, and use what was found."""
        seq = await self.read_begin(cpu)
        pte = await self.range_fault(cpu, resolve, write=intent.kind is Kind.STORE)
        if not isinstance(pte, int):
            return pte
        await cpu.step("touch_page", self.step_touch, cpu, intent, pte)
        await self.lock(cpu)
        await self.read_retry(cpu, seq)
        await self.unlock(cpu)
        return Outcome.DONE

    def step_touch(self, store: Store, cpu: Cpu, intent: Intent, pte: Pte) -> None:
        """Reach the page that the walk found; no reference is held to it."""
        stale = hardware_bits(cpu.entry.read(store)) != hardware_bits(pte)
        target = Target(pte_pfn(pte), pte_generation(pte), hit=True, stale=stale)
        begun = begin(store, cpu.site)
        take_effect(store, cpu.memory, cpu.kslot.slot, intent, begun, target)


MUTANT = Mutant(
    "mirror_touches_early",
    "A driver uses the pages of hmm_range_fault() before it has checked the sequence.",
    mirror=TouchesEarly,
)
