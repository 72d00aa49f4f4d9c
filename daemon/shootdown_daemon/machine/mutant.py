"""What a mutant is: a kernel that is wrong in one thing, beside devices that are right.

Only the type and the right kernel may live here; the wrong ones are in `mutants`, each a whole
operation or driver of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from shootdown_daemon.machine.cpu_tlb import CpuTlb
from shootdown_daemon.machine.iommu_driver import IommuDriver
from shootdown_daemon.machine.mirror import STYLES, Mirror

if TYPE_CHECKING:
    from shootdown_daemon.machine.operations import Operation
    from shootdown_protocol.program import Program


@dataclass(frozen=True)
class Mutant:
    """A kernel in which something is written wrong; all else is the right one's.

    ``operations`` take the place of the right ones of the same name, with phases of their own;
    ``driver`` drives the host's IOMMU, and ``mirror`` is what mirror columns use (None: the right
    one of the program's style); ``primary`` flushes the CPUs' own TLBs. ``sentence`` says what is
    wrong.
    """

    name: str
    sentence: str
    operations: tuple[Operation, ...] = ()
    driver: type[IommuDriver] = IommuDriver
    mirror: type[Mirror] | None = None
    primary: type[CpuTlb] = CpuTlb

    def operation(self, name: str) -> Operation | None:
        """The wrong operation of a name, if it is one that is wrong."""
        return next((each for each in self.operations if each.name == name), None)


def mirror_of(mutant: Mutant, program: Program) -> Mirror | None:
    """The mirror that a program's mirror columns use; None when it has none."""
    if not any(column.is_mirror for column in program.columns):
        return None
    return (mutant.mirror or STYLES[program.options.get("mirror", "hmm")])(program)


RIGHT: Final = Mutant("", "The kernel as it should be.")
"""No mutant."""
