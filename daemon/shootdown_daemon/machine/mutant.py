"""What a mutant is: a kernel that is wrong in one thing, beside devices that are right.

Only the type and the right kernel may live here; the wrong ones are in `mutants`, each a whole
operation or driver of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from shootdown_daemon.machine.iommu_driver import IommuDriver

if TYPE_CHECKING:
    from shootdown_daemon.machine.operations import Operation


@dataclass(frozen=True)
class Mutant:
    """A kernel in which something is written wrong; all else is the right one's.

    ``operations`` take the place of the right ones of the same name, with phases of their own;
    ``driver`` drives the host's IOMMU. ``sentence`` says what is wrong.
    """

    name: str
    sentence: str
    operations: tuple[Operation, ...] = ()
    driver: type[IommuDriver] = IommuDriver

    def operation(self, name: str) -> Operation | None:
        """The wrong operation of a name, if it is one that is wrong."""
        return next((each for each in self.operations if each.name == name), None)


RIGHT: Final = Mutant("", "The kernel as it should be.")
"""No mutant."""
