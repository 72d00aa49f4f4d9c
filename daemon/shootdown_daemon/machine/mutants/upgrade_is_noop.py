"""A fault handler that finds nothing to do: it looks at a block of entries, hardware at one."""

from __future__ import annotations

from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.mutant import Mutant
from shootdown_daemon.machine.operations import Operation
from shootdown_daemon.machine.operations.cow import WP_PAGE_REUSE


async def wp_page_reuse(cpu: Cpu) -> None:
    """Believe that the entry has the permission, and leave it as it is."""
    await cpu.spin_unlock()


MUTANT = Mutant(
    "upgrade_is_noop",
    "A write fault on an entry of a contiguous block is answered without a change of the entry.",
    operations=(Operation(*WP_PAGE_REUSE, wp_page_reuse),),
)
