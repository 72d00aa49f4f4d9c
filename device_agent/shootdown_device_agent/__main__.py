"""``python -m shootdown_device_agent SPEC ENDPOINT [--messages]``: one agent, and nothing else.

What it serves is of class ``SPEC`` (``NAME``, ``FILE.py:Class`` or ``FILE.py``). The rest stands in
the environment, where no other user reads it: ``SHOOTDOWN_TOKEN``, ``SHOOTDOWN_NAME``,
``SHOOTDOWN_DEVICE``, and ``SHOOTDOWN_SERVER_KEY`` of a daemon that is on another host. SIGTERM and
SIGINT ask it to leave in order.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from types import FrameType

from shootdown_device_agent.shell.agent import serve
from shootdown_device_agent.shell.classes import load_device
from shootdown_device_agent.shell.config import AgentConfig
from shootdown_protocol.errors import UsageError

USAGE = 2
FAILED = 4


class _Said:
    """A log of one line: why it ended."""

    def info(self, event: str, **fields: object) -> None:
        """Say what ends an agent."""
        if "why" in fields:
            sys.stderr.write(f"{event}: {fields['why']}\n")

    def flush(self) -> None:
        """Do nothing: nothing waits."""


def main(words: list[str]) -> int:
    """Serve until the daemon ends or lets it go; gives the exit status."""
    spec, endpoint, *more = [*(word for word in words if word != "--messages"), "", ""]
    told = [os.environ.get(f"SHOOTDOWN_{key}", "") for key in ("TOKEN", "NAME", "DEVICE")]
    if not all((endpoint, *told)) or any(more):
        sys.stderr.write(__doc__ or "")
        return USAGE
    token, name, device = told
    why = ""

    def leave(number: int, _frame: FrameType | None) -> None:
        nonlocal why
        why = f"signal {signal.Signals(number).name}"

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, leave)
    try:
        make_device = load_device(spec)
    except UsageError as error:
        sys.stderr.write(f"{error}\n")
        return USAGE
    config = AgentConfig(
        endpoint,
        name,
        token,
        make_device=make_device,
        serves=(device,),
        shared_memory="--messages" not in words,
        server_key=os.environ.get("SHOOTDOWN_SERVER_KEY", ""),
        leaves=lambda: why,
    )
    try:
        return serve(config, _Said(), lambda: None)
    except (Exception, SystemExit):  # noqa: BLE001 - a user's class may raise anything
        traceback.print_exc()
        return FAILED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
