"""How versions, locations, frames and accesses are called in every sentence of a report.

Only naming may live here; the names are the scenario's own.
"""

from __future__ import annotations

from shootdown_protocol.history import Access, Kind
from shootdown_protocol.program import Program
from shootdown_protocol.words import split_order


def location_name(program: Program, location: int) -> str:
    """The scenario's name of a location, or ``?`` for none."""
    if 0 <= location < len(program.locations):
        return program.locations[location].name
    return "?"


def version_name(order: int) -> str:
    """``version 2``, with the epoch where there was more than one; ``no version`` for none."""
    if order < 0:
        return "no version"
    epoch, version = split_order(order)
    return f"version {version} of epoch {epoch}" if epoch else f"version {version}"


def frame_name(pfn: int) -> str:
    """``frame 0x100007``."""
    return f"frame {pfn:#x}"


def assignment(program: Program, access: Access) -> str:
    """``A=0``, as scenarios write an outcome."""
    return f"{location_name(program, access.location)}={access.value}"


def version_met(program: Program, access: Access) -> str:
    """Which version an access met or made, and whose where it is not the location's own."""
    version = version_name(access.order)
    if access.kind == Kind.LOAD and access.source not in {-1, access.location}:
        return f"{version} of {location_name(program, access.source)}"
    return version


def did(program: Program, access: Access) -> str:
    """``read A=0 (version 0)`` or ``stored A=1 (version 1)``."""
    verb = "stored" if access.kind == Kind.STORE else "read"
    return f"{verb} {assignment(program, access)} ({version_met(program, access)})"


def deed(program: Program, access: Access, task: str) -> str:
    """The same as a noun: ``DEV0's read A=0 (version 0)``."""
    noun = "store" if access.kind == Kind.STORE else "read"
    return f"{task}'s {noun} {assignment(program, access)} ({version_met(program, access)})"
