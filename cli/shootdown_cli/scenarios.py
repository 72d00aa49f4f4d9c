"""Finds scenarios and what they name for commands; nothing else, so that no command waits for it.

What lies in a Python file beside a scenario may be named by it: ``caught mutant mine`` is the
``MUTANT`` of ``mine.py``, and ``caught device mine`` its ``DEVICE``.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import msgspec

from shootdown_cli import places
from shootdown_daemon.machine.disciplines import DISCIPLINES
from shootdown_daemon.machine.operations import OPERATIONS
from shootdown_protocol.device_options import DEVICE_OPTIONS, expected, takes
from shootdown_protocol.errors import ErrorCode, UsageError
from shootdown_verify.litmus import Configuration, Scenario, load, parse, render
from shootdown_verify.litmus.vocabulary import DEVICE, MUTANT
from shootdown_verify.source import nearest


def load_scenario(name: str, settings: tuple[str, ...] = ()) -> Scenario:
    """A scenario by path or shipped name, checked against what this kernel knows.

    With ``settings``, each ``NAME=VALUE``, it is another one: the same in its canonical form, with
    these options of devices.
    """
    path = places.find_config("scenarios", name, ".litmus")
    scenario = read_scenario(path)
    if not settings:
        return scenario
    options = {**scenario.program.options, **dict(map(_setting, settings))}
    told = msgspec.structs.replace(scenario.program, options=options)
    text = render(dataclasses.replace(scenario, program=told))
    return parse(text, path, **_names(path))


def read_scenario(path: Path) -> Scenario:
    """A scenario by path."""
    return load(path, **_names(path))


def _names(path: Path) -> dict[str, frozenset[str]]:
    """What a scenario may name: what this kernel knows, and what lies beside it.

    Faulty devices and mutants are several dozen modules, which a scenario that claims nothing of
    them does without.
    """
    beside = frozenset(found.stem for found in path.parent.glob("*.py"))
    lines = path.read_bytes().split(b"\n")
    claims = b" ".join(line for line in lines if line.lstrip().startswith((b"caught", b"safe")))
    devices = mutants = beside
    if DEVICE.encode() in claims:
        from shootdown_device_agent.machine.zoo import ZOO

        devices |= frozenset(ZOO)
    if MUTANT.encode() in claims:
        from shootdown_daemon.machine.mutants import MUTANTS

        mutants |= frozenset(MUTANTS)
    return {
        "operations": frozenset(OPERATIONS),
        "disciplines": frozenset(DISCIPLINES),
        "faulty_devices": devices,
        "mutants": mutants,
    }


def _setting(text: str) -> tuple[str, str]:
    """Read ``NAME=VALUE``."""
    option, _, value = text.partition("=")
    if option not in DEVICE_OPTIONS:
        hint = nearest(option, DEVICE_OPTIONS)
        meant = f"; did you mean {hint}?" if hint else ""
        wanted = f"NAME=VALUE with a name of {', '.join(DEVICE_OPTIONS)}{meant}"
        raise UsageError(ErrorCode.USAGE, seen=repr(text), expected=wanted, where="--option")
    if not takes(option, value):
        wanted = f"{option}= {expected(option)}"
        raise UsageError(ErrorCode.USAGE, seen=repr(text), expected=wanted, where="--option")
    return option, value


def as_options(scenario: Scenario, configuration: Configuration) -> Configuration:
    """What a scenario's claim names, as the options of a command line name it."""
    from shootdown_daemon.machine.mutants import MUTANTS
    from shootdown_device_agent.machine.zoo import ZOO

    folder = Path(scenario.path).parent
    device, mutant = configuration.device, configuration.mutant
    if device and device not in ZOO:
        device = f"{folder / device}.py:DEVICE"
    if mutant and mutant not in MUTANTS:
        mutant = f"{folder / mutant}.py:MUTANT"
    return Configuration(configuration.discipline, device, mutant)
