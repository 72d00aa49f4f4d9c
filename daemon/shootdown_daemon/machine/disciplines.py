"""Disciplines: at which phase of an operation the secondary TLBs are notified.

Each is a small frozen class whose async hooks are named after the phases of
`shootdown_daemon.machine.phases.Phase`. A user's own looks the same, in a file of theirs, and is
given as ``--discipline FILE.py:Class``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from shootdown_daemon.machine.phases import Binding, InvalidateRange, Phase, bind, later_phase
from shootdown_daemon.machine.profiles import PROFILES, times_of

LAZY: Final = "lazy"


class Notifier(Protocol):
    """What a hook may use of the `Cpu` that it is given."""

    async def arch_invalidate_secondary_tlbs(self, span: InvalidateRange) -> None:
        """Notify every device of the PASID and wait until all have completed."""
        ...

    async def queue_invalidate(self, span: InvalidateRange) -> None:
        """Notify every device of the PASID and do not wait."""
        ...

    async def queue_iova(self, span: InvalidateRange) -> None:
        """Leave it to the flush queue to notify every device of the PASID."""
        ...


@dataclass(frozen=True)
class Discipline:
    """Base of all disciplines; has no hook, so it never notifies."""

    @property
    def name(self) -> str:
        """Name for reports."""
        return type(self).__name__


@dataclass(frozen=True)
class NoNotification(Discipline):
    """``none``: nobody is told."""


@dataclass(frozen=True)
class RangeStart(Discipline):
    """``range_start``: notify before the lock is taken. A refill before the clear is missed."""

    async def range_start(self, cpu: Notifier, span: InvalidateRange) -> None:
        """Notify as ``invalidate_range_start()`` is called."""
        await cpu.arch_invalidate_secondary_tlbs(span)


@dataclass(frozen=True)
class BeforeClear(Discipline):
    """``before_clear``: notify under the lock, too early."""

    async def before_clear(self, cpu: Notifier, span: InvalidateRange) -> None:
        """Notify before the entry is cleared."""
        await cpu.arch_invalidate_secondary_tlbs(span)


@dataclass(frozen=True)
class ClearFlush(Discipline):
    """``clear_flush``: notify under the lock, between clear and set (``ptep_clear_flush()``)."""

    async def clear_flush(self, cpu: Notifier, span: InvalidateRange) -> None:
        """Notify while the entry is clear."""
        await cpu.arch_invalidate_secondary_tlbs(span)


@dataclass(frozen=True)
class LeafOnly(Discipline):
    """``leaf_only``: as ``clear_flush``, but of leaves: caches of table pages keep what they hold.

    VT-d's hint IH, and TLBI's leaf operations: right where no page-table page is freed.
    """

    async def clear_flush(self, cpu: Notifier, span: InvalidateRange) -> None:
        """Notify while the entry is clear, and say that no table was freed."""
        await cpu.arch_invalidate_secondary_tlbs(span._replace(leaf_only=True))


@dataclass(frozen=True)
class AfterSet(Discipline):
    """``after_set``: notify under the lock, when the new entry can already be used."""

    async def after_set(self, cpu: Notifier, span: InvalidateRange) -> None:
        """Notify after the entry is set."""
        await cpu.arch_invalidate_secondary_tlbs(span)


@dataclass(frozen=True)
class AfterUnlock(Discipline):
    """``after_unlock``: notify once the page table lock is dropped."""

    async def after_unlock(self, cpu: Notifier, span: InvalidateRange) -> None:
        """Notify after the unlock."""
        await cpu.arch_invalidate_secondary_tlbs(span)


@dataclass(frozen=True)
class RangeEnd(Discipline):
    """``range_end``: defer to ``invalidate_range_end()``."""

    async def range_end(self, cpu: Notifier, span: InvalidateRange) -> None:
        """Notify as ``invalidate_range_end()`` is called."""
        await cpu.arch_invalidate_secondary_tlbs(span)


@dataclass(frozen=True)
class BeforeFree(Discipline):
    """``before_free``: defer to the gather's flush, just before pages are freed."""

    async def before_free(self, cpu: Notifier, span: InvalidateRange) -> None:
        """Notify at the last moment before the free."""
        await cpu.arch_invalidate_secondary_tlbs(span)


@dataclass(frozen=True)
class Lazy(Discipline):
    """``lazy``: the flush queue of dma-iommu, which no IOMMU has for SVA.

    The data page is freed at once. The queue is flushed when it holds 256 entries or after 10 ms:
    no scenario queues so many, and the timer is a task of its own that may go at any time, so
    every order of the two is met.
    """

    async def before_free(self, cpu: Notifier, span: InvalidateRange) -> None:
        """Queue the range, as ``queue_iova()`` does."""
        await cpu.queue_iova(span)


@dataclass(frozen=True)
class Profile(Discipline):
    """A version of Linux, which differs from operation to operation (`profiles`)."""

    version: str

    @property
    def name(self) -> str:
        """Name for reports."""
        return self.version


async def _notify(cpu: Notifier, span: InvalidateRange) -> None:
    await cpu.arch_invalidate_secondary_tlbs(span)


def bind_operation(discipline: Discipline, operation: str, phases: tuple[Phase, ...]) -> Binding:
    """Which hooks of a discipline run at which phase of an operation; none without a phase."""
    if not phases:
        return {}
    if not isinstance(discipline, Profile):
        return bind(discipline, phases)
    times = times_of(discipline.version, operation)
    return {later_phase(phase, phases): (_notify,) for phase in times}


LEAF_ONLY: Final = "leaf_only"
DISCIPLINES: dict[str, Discipline] = {
    "none": NoNotification(),
    Phase.RANGE_START.value: RangeStart(),
    Phase.BEFORE_CLEAR.value: BeforeClear(),
    Phase.CLEAR_FLUSH.value: ClearFlush(),
    Phase.AFTER_SET.value: AfterSet(),
    Phase.AFTER_UNLOCK.value: AfterUnlock(),
    Phase.RANGE_END.value: RangeEnd(),
    Phase.BEFORE_FREE.value: BeforeFree(),
    LEAF_ONLY: LeafOnly(),
    LAZY: Lazy(),
    **{version: Profile(version) for version in PROFILES},
}
"""Shipped disciplines by the name that ``--discipline`` takes."""
