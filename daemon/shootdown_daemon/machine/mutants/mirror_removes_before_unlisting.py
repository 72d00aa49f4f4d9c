"""A driver whose objects can still be found when they are not notified any more."""

from __future__ import annotations

from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.mirror import Mirror
from shootdown_daemon.machine.mutant import Mutant


class RemovesBeforeUnlisting(Mirror):
    """Removes the notifier, which sleeps, and unlists the object after that."""

    async def remove(self, cpu: Cpu) -> None:
        """A fault that finds the object in between maps what nobody will take away."""
        await self.unsubscribe(cpu)
        await self.unlist(cpu)


MUTANT = Mutant(
    "mirror_removes_before_unlisting",
    "A driver removes an object's interval notifier while the object can still be looked up.",
    mirror=RemovesBeforeUnlisting,
)
