"""A kernel that sends the CPUs their IPIs and does not wait until they have taken them."""

from __future__ import annotations

from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.cpu_tlb import CpuTlb
from shootdown_daemon.machine.mutant import Mutant
from shootdown_daemon.machine.phases import InvalidateRange


class NeverWaits(CpuTlb):
    """Goes on while other CPUs may still use what it has taken away."""

    async def flush(self, cpu: Cpu, span: InvalidateRange) -> None:
        """Ask the others, and no more."""
        await cpu.step("flush_tlb_multi", self.step_send, cpu.kslot, cpu.cpu, cpu.task, span)


MUTANT = Mutant(
    "never_waits_for_ipis",
    "A TLB flush asks the other CPUs by IPI and does not wait until they have flushed.",
    primary=NeverWaits,
)
