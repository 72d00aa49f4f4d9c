"""``shootdown attach``: a device agent of one's own joins a testbed that is running."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from shootdown_cli import places
from shootdown_cli.client import ControlClient
from shootdown_cli.exits import EXIT_FAILED, EXIT_OK, EXIT_USAGE
from shootdown_cli.foreground import Log
from shootdown_cli.places import TestbedRecord
from shootdown_cli.programs import fill, start_program, words_of
from shootdown_cli.remote import Key, read_key
from shootdown_device_agent.shell.agent import serve as serve_agent
from shootdown_device_agent.shell.classes import load_device
from shootdown_device_agent.shell.config import AgentConfig
from shootdown_protocol.errors import ErrorCode, UsageError

JOIN_S = 10.0
"""How long a program may take until the daemon has welcomed it."""
LOOK_S = 0.05
_A_PERSONS = (ErrorCode.NO_SUCH_DEVICE, ErrorCode.DEVICE_BUSY, ErrorCode.NOT_RUNNING)
"""Refusals that a person can mend by another command line."""


@dataclass(frozen=True, slots=True)
class AttachOptions:
    """What the command line said."""

    spec: str
    device: str
    on: str | None
    program: str
    name: str
    messages: bool
    key: str
    logs: Path
    as_json: bool


def attach(options: AttachOptions) -> int:
    """Serve a device until told to leave; gives the exit status."""
    if bool(options.spec) == bool(options.program):
        raise UsageError(
            ErrorCode.USAGE,
            seen="both a class and --exec" if options.spec else "neither a class nor --exec",
            expected='FILE.py:Class, or --exec "PROGRAM {endpoint}"',
            where="attach",
        )
    make_device = load_device(options.spec) if options.spec else None
    key = read_key(options.key) if options.key else None
    record = places.find_testbed(options.on) if key is None else _elsewhere(key)
    name = options.name or f"{options.device}-{os.getpid()}"
    places.check_name(name)
    if make_device is None:
        if options.messages:
            raise UsageError(
                ErrorCode.USAGE,
                seen="--messages with --exec",
                expected="one of them: a program says in its Hello whether it maps the memory",
                where="attach",
            )
        return _Program(options, record, name, key).run()
    leave = _Leave()
    config = AgentConfig(
        record.endpoint("device") if key is None else key.endpoint,
        name,
        record.token,
        make_device=make_device,
        serves=(options.device,),
        shared_memory=not options.messages and key is None,
        server_key="" if key is None else key.server_key,
        leaves=lambda: leave.why,
    )
    log = Log(options.logs, name)
    try:
        status = serve_agent(config, log, lambda: _say_joined(options, record, name, os.getpid()))
    except KeyboardInterrupt:
        log.why, status = "interrupted twice", EXIT_FAILED
    finally:
        log.close()
    print(f"{name}: {log.why}", file=sys.stderr)
    return EXIT_USAGE if log.code in _A_PERSONS else status


def _elsewhere(key: Key) -> TestbedRecord:
    """A testbed of which no more is known here than where its daemon listens."""
    return TestbedRecord(name=key.endpoint, folder="", segment="", token=key.token, agents=0)


def _say_joined(options: AttachOptions, record: TestbedRecord, name: str, pid: int) -> None:
    """Say, at once, that the daemon has welcomed the agent."""
    told = {
        "command": "attach",
        "testbed": record.name,
        "device": options.device,
        "agent": name,
        "pid": pid,
    }
    what = options.spec or options.program
    asks = options.program and options.key
    verb = "was started to serve" if asks else "is served by"
    served = f"{options.device} on {record.name}"
    text = f"{what} {verb} {served}" if asks else f"{served} {verb} {what}"
    text += f" (agent {name}, pid {pid})"
    print(json.dumps(told) if options.as_json else text, flush=True)


class _Leave:
    """Ctrl-C or SIGTERM asks the agent to leave in order; a second one does not wait for that."""

    def __init__(self) -> None:
        self.why = ""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._ask)

    def _ask(self, number: int, _frame: FrameType | None) -> None:
        if self.why:
            raise KeyboardInterrupt
        self.why = f"signal {signal.Signals(number).name}"


class _Program:
    """Any program that speaks the wire, as a child process."""

    def __init__(
        self, options: AttachOptions, record: TestbedRecord, name: str, key: Key | None
    ) -> None:
        """Start it; where to connect and as whom stands in its words and in its environment.

        Token and key stand in the latter alone, where no other user reads them.
        """
        self.options = options
        self.record = record
        self.name = name
        self.is_elsewhere = key is not None
        self.asked = 0
        told = {
            "endpoint": record.endpoint("device") if key is None else key.endpoint,
            "name": name,
            "device": options.device,
            "token": record.token,
            "server_key": "" if key is None else key.server_key,
        }
        self.process = start_program(fill(words_of(options.program), told), told)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._pass_on)

    def run(self) -> int:
        """Say when it is welcome, and wait for its end.

        What a daemon elsewhere thinks of it cannot be seen from here; its exit status says that.
        """
        if not self.is_elsewhere and not self._is_welcome():
            self.process.kill()
            self.process.wait()
            print(f"{self.name}: not welcome within {JOIN_S:.0f} s", file=sys.stderr)
            return EXIT_FAILED
        if self.process.poll() is None:
            _say_joined(self.options, self.record, self.name, self.process.pid)
        while True:
            try:
                status = self.process.wait()
                break
            except KeyboardInterrupt:
                continue
        how = f"ended with status {status}" if status >= 0 else f"killed by signal {-status}"
        print(f"{self.name}: {how}", file=sys.stderr)
        return EXIT_OK if status == 0 else EXIT_USAGE if status == EXIT_USAGE else EXIT_FAILED

    def _is_welcome(self) -> bool:
        """Wait until the daemon counts it among its agents, or it has ended."""
        deadline = time.monotonic() + JOIN_S
        with ControlClient(self.record.endpoint("control")) as client:
            while self.process.poll() is None and not self._is_member(client):
                if time.monotonic() > deadline:
                    return False
                time.sleep(LOOK_S)
        return True

    def _is_member(self, client: ControlClient) -> bool:
        return any(process.name == self.name for process in client.status().processes)

    def _pass_on(self, _number: int, _frame: FrameType | None) -> None:
        """Ask it to leave in order; a second time, end it."""
        self.asked += 1
        self.process.send_signal(signal.SIGTERM if self.asked == 1 else signal.SIGKILL)
