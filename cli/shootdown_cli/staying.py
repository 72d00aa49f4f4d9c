"""``shootdown status`` and ``down``: what is asked of a testbed that stays."""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time

import msgspec

from shootdown_cli import places
from shootdown_cli.client import ControlClient
from shootdown_cli.exits import EXIT_FAILED, EXIT_OK
from shootdown_cli.testbed import TestbedFailed
from shootdown_protocol import messages
from shootdown_protocol.messages import PROTOCOL_VERSION
from shootdown_protocol.process_status import ProcessRole

DOWN_S = 40.0
"""How long a testbed may take to end: the batch under way is finished first."""


def status(on: str | None, agent: str, *, as_json: bool) -> int:
    """Show every process of a testbed; the testbed has failed when ``agent`` is no member."""
    record = places.find_testbed(on)
    with ControlClient(record.endpoint("control")) as client:
        reply = client.status()
    members = [each.name for each in reply.processes if each.role is ProcessRole.AGENT]
    if agent and agent not in members:
        there = ", ".join(members) or "none"
        message = f"{agent} is not among the agents of {record.name} ({there})"
        raise TestbedFailed(message)
    if as_json:
        told = {"command": "status", **msgspec.to_builtins(reply)}
        told.pop("request")
        told.pop("type")
        print(json.dumps(told))
        return EXIT_OK
    doing = f"running {reply.scenario}, {reply.instances:,} instances" if reply.run else "idle"
    print(f"{reply.testbed}: {doing}")
    if reply.load_ended:
        print(f"  the load has ended: {reply.load_ended}")
    for process in reply.processes:
        counters = ", ".join(f"{name} {count:,}" for name, count in process.counters.items())
        print(f"  {process.name:<10} pid {process.pid:<8} {process.state.value:<8} {counters}")
    return EXIT_OK


def down(on: str | None) -> int:
    """End a testbed: ask, wait, kill a daemon that hangs, and remove what it leaves."""
    record = places.find_testbed(on)
    pidfd = _open_process(record.local_daemon)
    how = "is down"
    with ControlClient(record.endpoint("control")) as client:
        wait_s = DOWN_S if _is_asked(client) else 0.0
        if pidfd is not None and not select.select([pidfd], [], [], wait_s)[0]:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            how = f"is down: its daemon ({record.daemon}) hung and was killed"
    deadline = time.monotonic() + (2.0 if pidfd is not None else wait_s)
    while places.is_live(record.path) and time.monotonic() < deadline:
        time.sleep(0.01)
    if pidfd is not None:
        os.close(pidfd)
    if places.is_live(record.path):
        print(f"{record.name} has not ended: somebody still holds {record.path}", file=sys.stderr)
        return EXIT_FAILED
    places.remove(record.path)
    print(f"{record.name} {how}")
    return EXIT_OK


def _is_asked(client: ControlClient) -> bool:
    """Ask a testbed to end; False when its daemon does not even answer."""
    try:
        client.ask(messages.Stop(client.number(), PROTOCOL_VERSION, "shootdown down"))
    except TestbedFailed:
        return False
    return True


def _open_process(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except (OSError, ValueError):
        return None
