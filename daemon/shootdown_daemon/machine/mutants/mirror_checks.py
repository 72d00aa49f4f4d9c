"""Mirrors that use a walk's result though its range was invalid meanwhile: the two classic bugs."""

from __future__ import annotations

from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.mirror import Mirror, Outcome, Resolve
from shootdown_daemon.machine.mutant import Mutant


class UsesWalkUnchecked(Mirror):
    """Takes the lock, and takes for granted that the walk's result still holds."""

    async def fault(self, cpu: Cpu, resolve: Resolve, *, write: bool) -> Outcome:
        """Begin, walk, lock, map."""
        await self.read_begin(cpu)
        pte = await self.range_fault(cpu, resolve, write=write)
        if not isinstance(pte, int):
            return pte
        await self.lock(cpu)
        await cpu.step("mirror_map", self.step_map, cpu, pte)
        await self.unlock(cpu)
        return Outcome.AGAIN


class ChecksTooEarly(Mirror):
    """Checks the sequence, and takes the lock after that."""

    async def fault(self, cpu: Cpu, resolve: Resolve, *, write: bool) -> Outcome:
        """Begin, walk, check, lock, map."""
        seq = await self.read_begin(cpu)
        pte = await self.range_fault(cpu, resolve, write=write)
        if not isinstance(pte, int):
            return pte
        if await self.read_retry(cpu, seq):
            return Outcome.AGAIN
        await self.lock(cpu)
        await cpu.step("mirror_map", self.step_map, cpu, pte)
        await self.unlock(cpu)
        return Outcome.AGAIN


UNCHECKED = Mutant(
    "mirror_uses_walk_unchecked",
    "A mirror uses a walk's result without mmu_interval_read_retry().",
    mirror=UsesWalkUnchecked,
)
TOO_EARLY = Mutant(
    "mirror_checks_too_early",
    "A mirror calls mmu_interval_read_retry() before it takes the lock that its callback takes.",
    mirror=ChecksTooEarly,
)
