"""``shootdown up``: starts a testbed that stays. Imports only what it takes to do so."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from shootdown_cli import places
from shootdown_cli.declared import DISCIPLINE
from shootdown_cli.exits import EXIT_OK
from shootdown_cli.interrupts import Interrupts
from shootdown_cli.testbed import Processes, TestbedFailed, start
from shootdown_protocol.errors import ErrorCode, UsageError
from shootdown_verify.testbed import load_testbed

if TYPE_CHECKING:
    from shootdown_protocol.faults import Fault
    from shootdown_protocol.messages import RunScenario
    from shootdown_protocol.program import Program


class Load(msgspec.Struct, frozen=True):
    """A scenario to loop, if any, and with what kernel and what devices."""

    scenario: str | None
    discipline: str
    mutant: str
    devices: tuple[str, ...]


class Where(msgspec.Struct, frozen=True):
    """A testbed's file, its name, where its run directory is made, and where it listens."""

    testbed: str
    name: str
    out: Path
    listen: str
    insecure: bool


def up(where: Where, load: Load, fault: str | None, *, as_json: bool) -> int:
    """Start a testbed that outlives this command, and a load on it if asked for."""
    name = where.name
    places.check_name(name)
    testbed = load_testbed(places.find_config("testbeds", where.testbed, ".toml"))
    remote = None
    if where.listen or where.insecure or testbed.transport == "tcp":
        from shootdown_cli.remote import remote_plane

        remote = remote_plane(testbed, where.listen, insecure=where.insecure)
    _check_kernel(load)
    program = None if load.scenario is None else _program(load.scenario)
    classes = _classes(load, program)
    faults = _faults(fault, program, testbed.agents)
    for removed in places.sweep():
        print(f"removed what a dead testbed had left: {removed}", file=sys.stderr)
    with Interrupts() as interrupts:
        directory = places.new_run_directory(where.out, name)
        try:
            processes = start(
                testbed,
                name,
                directory / "logs",
                pids_file=directory / "pids.json",
                stays=True,
                faults=faults,
                given_up=interrupts.given_up,
                remote=remote,
            )
            try:
                if program is not None:
                    _start_load(processes, _request(1, program, load, classes), interrupts)
                interrupts.obey()
                _tell(
                    processes,
                    directory,
                    load.scenario,
                    is_remote=remote is not None,
                    as_json=as_json,
                )
            except BaseException:
                processes.end(0.0)
                raise
        except TestbedFailed:
            raise  # Its logs say why.
        except BaseException:
            places.take_back(directory)
            raise
    return EXIT_OK


def _tell(
    processes: Processes, directory: Path, load: str | None, *, is_remote: bool, as_json: bool
) -> None:
    """Say that it is up, and see that this was written: of what nobody was told nothing stays."""
    name = processes.record.name
    told = {
        "command": "up",
        "testbed": name,
        "daemon": processes.record.daemon,
        "agents": {n: pid for n, pid in processes.pids.items() if n != "daemon"},
        "load": load,
        "out": str(directory),
    }
    if is_remote:
        told["key"] = str(processes.record.path / "remote.key")
    if as_json:
        print(json.dumps(told))
    else:
        agents = ", ".join(f"{n} {pid}" for n, pid in processes.pids.items())
        print(f"{name} is up ({agents}); logs in {directory / 'logs'}")
        if is_remote:
            print(f"agents of other hosts: shootdown attach ... --key {told['key']}")
        print("next: shootdown status, shootdown run SCENARIO --on " + name + ", shootdown down")
    sys.stdout.flush()


def _check_kernel(load: Load) -> None:
    """Refuse a discipline or a mutant that does not exist, before anything is started."""
    if load.discipline != DISCIPLINE:
        from shootdown_daemon.shell.disciplines import load_discipline

        load_discipline(load.discipline)
    if load.mutant:
        from shootdown_daemon.shell.mutants import load_mutant

        load_mutant(load.mutant)


def _program(load: str) -> Program:
    from shootdown_cli.scenarios import load_scenario

    return load_scenario(load).program


def _classes(load: Load, program: Program | None) -> tuple[str, ...]:
    if not load.devices:
        return ()
    if program is None:
        raise UsageError(
            ErrorCode.USAGE,
            seen="--device without --load",
            expected="a scenario to load; `shootdown run --on` takes --device too",
            where="up",
        )
    from shootdown_cli.classes import device_classes

    return device_classes(load.devices, program)


def _faults(plan: str | None, program: Program | None, agents: int) -> tuple[Fault, ...]:
    if plan is None:
        return ()
    from shootdown_cli.faults import load_faults, shipped_programs
    from shootdown_verify.fault_plan import own_agents

    programs = shipped_programs() if program is None else [program]
    return load_faults(plan, programs, own_agents(agents))


def _start_load(processes: Processes, request: RunScenario, interrupts: Interrupts) -> None:
    from shootdown_cli.client import ControlClient
    from shootdown_protocol.messages import ErrorReply

    with ControlClient(processes.record.endpoint("control")) as client:
        answer = client.ask(request, interrupts.given_up)
        if isinstance(answer, ErrorReply):
            raise TestbedFailed(answer.why)


def load_request(load: Load) -> RunScenario | None:
    """What a daemon is asked that begins its load by itself; None when there is none."""
    if load.scenario is None:
        return None
    _check_kernel(load)
    program = _program(load.scenario)
    return _request(0, program, load, _classes(load, program))


def _request(number: int, program: Program, load: Load, classes: tuple[str, ...]) -> RunScenario:
    from shootdown_protocol import messages

    return messages.RunScenario(
        request=number,
        protocol_version=messages.PROTOCOL_VERSION,
        program=program,
        discipline=load.discipline,
        mutant=load.mutant,
        instances=0,
        seed=1,
        history="",
        device_classes=classes,
    )
