"""Finds scenarios for commands and reads them; nothing else, so that no command waits for it."""

from __future__ import annotations

from shootdown_cli import places
from shootdown_daemon.machine.disciplines import DISCIPLINES
from shootdown_daemon.machine.operations import OPERATIONS
from shootdown_device_agent.machine.zoo import ZOO
from shootdown_verify.litmus import Scenario, load


def load_scenario(name: str) -> Scenario:
    """A scenario by path or shipped name, checked against what this kernel knows."""
    path = places.find_config("scenarios", name, ".litmus")
    return load(
        path,
        operations=frozenset(OPERATIONS),
        disciplines=frozenset(DISCIPLINES),
        faulty_devices=frozenset(ZOO),
    )
