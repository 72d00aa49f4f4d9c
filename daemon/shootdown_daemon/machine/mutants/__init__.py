"""Mutants by name: kernels with one whole operation, driver or mirror written otherwise.

Each has a file of its own and is caught by a scenario that names it, or is what a hardware's bug
needs. One that no scenario names tests nothing. Whatever `Mutant` a file here defines is shipped.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pkgutil import iter_modules
from typing import Final

from shootdown_daemon.machine.mutant import Mutant


def _shipped() -> Iterator[Mutant]:
    for found in iter_modules(__path__):
        module = import_module(f"{__name__}.{found.name}")
        yield from (value for value in vars(module).values() if isinstance(value, Mutant))


MUTANTS: Final[dict[str, Mutant]] = {mutant.name: mutant for mutant in _shipped()}
"""Every shipped mutant."""
