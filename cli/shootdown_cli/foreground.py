"""``shootdown daemon`` and ``shootdown agent``: one process in the foreground."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from shootdown_cli import places
from shootdown_cli.exits import EXIT_FAILED
from shootdown_cli.remote import remote_plane
from shootdown_cli.testbed import daemon_config, new_record
from shootdown_cli.up import Load, Where, load_request
from shootdown_daemon.shell.log import ProcessLog
from shootdown_daemon.shell.server import serve as serve_daemon
from shootdown_device_agent.shell.agent import serve as serve_agent
from shootdown_device_agent.shell.config import AgentConfig
from shootdown_verify.testbed import load_testbed


def daemon(where: Where, load: Load) -> int:
    """Run a daemon until it is told to stop (Ctrl-C, SIGTERM or `shootdown down`)."""
    name, logs = where.name, where.out
    testbed = load_testbed(places.find_config("testbeds", where.testbed, ".toml"))
    remote = remote_plane(testbed, where.listen, insecure=where.insecure)
    request = load_request(load)
    for removed in places.sweep():
        print(f"removed what a dead testbed had left: {removed}", file=sys.stderr)
    record = new_record(testbed, name)
    lock = places.hold_lock(record.path)
    config = daemon_config(testbed, record, logs, None, remote=remote)

    def ready() -> None:
        record.daemon = os.getpid()
        record.save()
        print(f"{name}: ready at {config.device_endpoint}, {testbed.agents} agents expected")
        sys.stdout.flush()

    try:
        return serve_daemon(config, time.time_ns() % (1 << 48), ready, request)
    finally:
        places.remove(record.path)
        del lock


def agent(name: str, on: str | None, logs: Path) -> int:
    """Run an agent until its daemon ends; Ctrl-C ends it at once."""
    record = places.find_testbed(on)
    log = Log(logs, name)
    config = AgentConfig(record.endpoint("device"), name, record.token, daemon=record.local_daemon)
    signal.signal(signal.SIGTERM, _interrupted)
    status = EXIT_FAILED
    try:
        status = serve_agent(config, log, lambda: print(f"{name}: welcome at {record.name}"))
    except KeyboardInterrupt:
        log.why = "interrupted"
    finally:
        log.close()
    print(f"{name}: {log.why}", file=sys.stderr if status else sys.stdout)
    return status


class Log(ProcessLog):
    """A process's log that remembers why the process ended, and the code if it was refused."""

    why = "ended"
    code = 0

    def info(self, event: str, **fields: object) -> None:
        """Keep the last reason given."""
        self.why = str(fields.get("why", self.why))
        code = fields.get("code")
        self.code = code if isinstance(code, int) else self.code
        super().info(event, **fields)


def _interrupted(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt
