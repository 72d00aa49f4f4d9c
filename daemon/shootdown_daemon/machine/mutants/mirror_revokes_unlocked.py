"""A driver that revokes an object's hardware key while its notifier may still use the key."""

from __future__ import annotations

from collections.abc import Hashable

from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.kernel import KernelSlot
from shootdown_daemon.machine.mirror import Mirror
from shootdown_daemon.machine.mutant import Mutant
from shootdown_engine.slot import Site
from shootdown_engine.store import Store
from shootdown_engine.trap import BLOCKED, Blocked


class RevokesUnlocked(Mirror):
    """Updates go to the hardware by key; one for a revoked key stops the queue for good."""

    def reset(self, store: Store, kslot: KernelSlot) -> None:
        """Begin with keys that are good."""
        super().reset(store, kslot)
        for location in self.locations:
            store.put(revoked_cell(kslot.index, location), None)

    async def remove(self, cpu: Cpu) -> None:
        """``mlx5_revoke_mr()`` without ``umem_mutex``; the object still knows its key after it."""
        await cpu.step("revoke_key", self.step_revoke, cpu.kslot.index, cpu.site.index)
        await super().remove(cpu)

    async def invalidate(self, cpu: Cpu, site: Site, seq: int, *, blockable: bool) -> bool:
        """The callback posts an update for the key, and waits for its completion."""
        await cpu.step("umr_post_send_wait", self.step_post, cpu.kslot.index, site.index)
        return await super().invalidate(cpu, site, seq, blockable=blockable)

    def step_revoke(self, store: Store, slot: int, location: int) -> None:
        """The hardware does not know the key any more."""
        store.put(revoked_cell(slot, location), True)

    def step_post(self, store: Store, slot: int, location: int) -> Blocked | None:
        """Guard: the hardware completes an update for a key that it knows."""
        return BLOCKED if store.get(revoked_cell(slot, location)) else None


def revoked_cell(slot: int, location: int) -> tuple[Hashable, ...]:
    """Cell that is set when the key of a location's object was revoked."""
    return ("key_revoked", slot, location)


MUTANT = Mutant(
    "mirror_revokes_unlocked",
    "An object's key is revoked in hardware, and its notifier still posts updates for the key.",
    mirror=RevokesUnlocked,
)
