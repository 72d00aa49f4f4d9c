"""``shootdown status`` and ``down``: what is asked of a testbed that stays."""

from __future__ import annotations

import json
import os
import select
import time

import msgspec

from shootdown_cli import places
from shootdown_cli.client import ControlClient
from shootdown_cli.exits import EXIT_FAILED, EXIT_OK

DOWN_S = 40.0
"""How long a testbed may take to end: the batch under way is finished first."""


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
