"""``shootdown up``, ``status`` and ``down``: testbeds that stay."""

from __future__ import annotations

import json
import os
import select
import sys
import time
from pathlib import Path

import msgspec

from shootdown_cli import places
from shootdown_cli.client import ControlClient
from shootdown_cli.exits import EXIT_FAILED, EXIT_OK
from shootdown_cli.run import load_scenario
from shootdown_cli.testbed import TestbedFailed, start
from shootdown_daemon.shell.disciplines import load_discipline
from shootdown_protocol import messages
from shootdown_protocol.messages import PROTOCOL_VERSION
from shootdown_verify.testbed import load_testbed

DOWN_S = 40.0
"""How long a testbed may take to end: the batch under way is finished first."""


def up(
    testbed_name: str,
    name: str,
    load: str | None,
    discipline: str,
    out: Path,
    *,
    as_json: bool,
) -> int:
    """Start a testbed that outlives this command, and a load on it if asked for."""
    testbed = load_testbed(places.find_config("testbeds", testbed_name, ".toml"))
    scenario = None if load is None else load_scenario(load)
    load_discipline(discipline)
    for removed in places.sweep():
        print(f"removed what a dead testbed had left: {removed}", file=sys.stderr)
    directory = places.new_run_directory(out, name)
    processes = start(
        testbed, name, directory / "logs", pids_file=directory / "pids.json", stays=True
    )
    with ControlClient(processes.record.endpoint("control")) as client:
        if scenario is not None:
            request = messages.RunScenario(
                request=client.number(),
                protocol_version=PROTOCOL_VERSION,
                program=scenario.program,
                discipline=discipline,
                instances=0,
                seed=1,
                history="",
            )
            answer = client.ask(request)
            if isinstance(answer, messages.ErrorReply):
                client.stop("its load could not be started")
                processes.end()
                raise TestbedFailed(answer.why)
    told = {
        "command": "up",
        "testbed": name,
        "daemon": processes.record.daemon,
        "agents": {n: pid for n, pid in processes.pids.items() if n != "daemon"},
        "load": load,
        "out": str(directory),
    }
    if as_json:
        print(json.dumps(told))
    else:
        agents = ", ".join(f"{n} {pid}" for n, pid in processes.pids.items())
        print(f"{name} is up ({agents}); logs in {directory / 'logs'}")
        print("next: shootdown status, shootdown run SCENARIO --on " + name + ", shootdown down")
    return EXIT_OK


def status(on: str | None, *, as_json: bool) -> int:
    """Show every process of a testbed."""
    record = places.find_testbed(on)
    with ControlClient(record.endpoint("control")) as client:
        reply = client.status()
    if as_json:
        told = {"command": "status", **msgspec.to_builtins(reply)}
        told.pop("request")
        told.pop("type")
        print(json.dumps(told))
        return EXIT_OK
    doing = f"running {reply.scenario}, {reply.instances:,} instances" if reply.run else "idle"
    print(f"{reply.testbed}: {doing}")
    for process in reply.processes:
        counters = ", ".join(f"{name} {count:,}" for name, count in process.counters.items())
        print(f"  {process.name:<10} pid {process.pid:<8} {process.state.value:<8} {counters}")
    return EXIT_OK


def down(on: str | None) -> int:
    """End a testbed: ask, wait, and remove what it leaves."""
    record = places.find_testbed(on)
    pidfd = _open_process(record.daemon)
    with ControlClient(record.endpoint("control")) as client:
        client.stop("shootdown down")
        if pidfd is not None:
            select.select([pidfd], [], [], DOWN_S)
            os.close(pidfd)
    deadline = time.monotonic() + 2.0
    while places.is_live(record.path) and time.monotonic() < deadline:
        time.sleep(0.01)
    if places.is_live(record.path):
        print(f"{record.name} has not ended in {DOWN_S:.0f} s (daemon {record.daemon})")
        return EXIT_FAILED
    places.remove(record.path)
    print(f"{record.name} is down")
    return EXIT_OK


def _open_process(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except (OSError, ValueError):
        return None
