"""A mirror whose walk spins on a lock instead of waiting for it."""

from __future__ import annotations

from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.mirror import Mirror, Outcome, Resolve
from shootdown_daemon.machine.mutant import Mutant
from shootdown_engine.store import Store


class SpinsOnTrylock(Mirror):
    """Begins its walk again and again while somebody holds the lock of what it is to walk."""

    async def fault(self, cpu: Cpu, resolve: Resolve, *, write: bool) -> Outcome:
        """Try the lock; if it is held, begin again."""
        if not await cpu.step("folio_trylock", self.step_is_free, cpu):
            return Outcome.AGAIN
        return await super().fault(cpu, resolve, write=write)

    def step_is_free(self, store: Store, cpu: Cpu) -> bool:
        """Whether nobody holds the lock."""
        return store.get(("ptl", cpu.entry.lock)) is None


MUTANT = Mutant(
    "mirror_spins",
    "hmm_range_fault() spins on a trylock whose holder does not come to run.",
    mirror=SpinsOnTrylock,
)
