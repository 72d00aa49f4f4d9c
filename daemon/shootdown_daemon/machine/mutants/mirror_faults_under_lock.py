"""A mirror that takes the locks of the address space inside its own."""

from __future__ import annotations

from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.mirror import Mirror, Outcome, Resolve
from shootdown_daemon.machine.mutant import Mutant


class FaultsUnderLock(Mirror):
    """Walks and faults pages in with the lock held that its callback needs."""

    async def fault(self, cpu: Cpu, resolve: Resolve, *, write: bool) -> Outcome:
        """Lock, walk, map: the sequence cannot move meanwhile, but nobody else can either."""
        await self.lock(cpu)
        pte = await self.range_fault(cpu, resolve, write=write)
        outcome = Outcome.AGAIN if isinstance(pte, int) else pte
        if isinstance(pte, int):
            await cpu.step("mirror_map", self.step_map, cpu, pte)
        await self.unlock(cpu)
        return outcome


MUTANT = Mutant(
    "mirror_faults_under_lock",
    "A driver takes mmap_lock inside the lock that its notifier takes under mmap_lock.",
    mirror=FaultsUnderLock,
)
