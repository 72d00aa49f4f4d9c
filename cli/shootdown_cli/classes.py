"""Reads ``--device [DEVICE=]SPEC``: which class each of a scenario's devices is of."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from shootdown_device_agent.shell.classes import load_device, split_spec
from shootdown_protocol.errors import ErrorCode, UsageError
from shootdown_verify.source import nearest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shootdown_protocol.program import Program

__all__ = ["absolute", "device_classes", "load_device"]


def device_classes(given: Iterable[str], program: Program) -> tuple[str, ...]:
    """For each device of a program the class that was asked for, or empty for the right one.

    ``DEVICE=SPEC`` is for one device, ``SPEC`` for all that are not named. Every class is loaded
    once, so that what is wrong with it is said before anything starts; files become absolute.
    """
    everyone = ""
    of_device: dict[str, str] = {}
    for word in given:
        name, equals, spec = word.partition("=")
        if not equals or "/" in name or name.endswith(".py"):
            everyone = _checked(word)
        else:
            of_device[_device_called(name, program)] = _checked(spec)
    classes = tuple(of_device.get(name, everyone) for name in program.devices)
    return classes if any(classes) else ()


def _device_called(name: str, program: Program) -> str:
    """The device of a name, or the one that a column of this name belongs to."""
    number = program.device_called(name)
    if number >= 0:
        return program.devices[number]
    known = program.device_names()
    like = nearest(name, known)
    hint = f"; did you mean {like}?" if like else ""
    raise UsageError(
        ErrorCode.NO_SUCH_DEVICE,
        seen=repr(name) + hint,
        expected=f"one of {', '.join(known) or 'none: the scenario has no device'}",
        where="--device",
    )


def _checked(spec: str) -> str:
    load_device(spec)
    file, name = split_spec(spec)
    if not file:
        return spec
    path = str(Path(file).resolve())
    return f"{path}:{name}" if name else path


def absolute(spec: str) -> str:
    """A ``FILE.py:NAME`` with the file's whole path, for a process elsewhere; else as it is."""
    file, colon, name = spec.rpartition(":")
    return f"{Path(file).resolve()}:{name}" if colon else spec
