"""Finds scenarios and what they name for commands; nothing else, so that no command waits for it.

What lies in a Python file beside a scenario may be named by it: ``caught mutant mine`` is the
``MUTANT`` of ``mine.py``, and ``caught device mine`` its ``DEVICE``.
"""

from __future__ import annotations

from pathlib import Path

from shootdown_cli import places
from shootdown_daemon.machine.disciplines import DISCIPLINES
from shootdown_daemon.machine.mutants import MUTANTS
from shootdown_daemon.machine.operations import OPERATIONS
from shootdown_device_agent.machine.zoo import ZOO
from shootdown_verify.litmus import Configuration, Scenario, load


def load_scenario(name: str) -> Scenario:
    """A scenario by path or shipped name, checked against what this kernel knows."""
    return read_scenario(places.find_config("scenarios", name, ".litmus"))


def read_scenario(path: Path) -> Scenario:
    """A scenario by path."""
    beside = frozenset(found.stem for found in path.parent.glob("*.py"))
    return load(
        path,
        operations=frozenset(OPERATIONS),
        disciplines=frozenset(DISCIPLINES),
        faulty_devices=frozenset(ZOO) | beside,
        mutants=frozenset(MUTANTS) | beside,
    )


def as_options(scenario: Scenario, configuration: Configuration) -> Configuration:
    """What a scenario's claim names, as the options of a command line name it."""
    folder = Path(scenario.path).parent
    device, mutant = configuration.device, configuration.mutant
    if device and device not in ZOO:
        device = f"{folder / device}.py:DEVICE"
    if mutant and mutant not in MUTANTS:
        mutant = f"{folder / mutant}.py:MUTANT"
    return Configuration(configuration.discipline, device, mutant)
