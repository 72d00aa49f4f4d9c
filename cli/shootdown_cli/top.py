"""`top`: what a live testbed does, said anew every little while, with what its daemon publishes."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Mapping
from types import TracebackType
from typing import Self

import zmq

from shootdown_cli import places
from shootdown_cli.client import ControlClient
from shootdown_cli.exits import EXIT_OK
from shootdown_cli.testbed import TestbedFailed
from shootdown_protocol import codec
from shootdown_protocol.errors import RemoteProtocolError
from shootdown_protocol.messages import Event, StatusReply

EVENTS_SHOWN = 8
"""How many of the last events are shown."""
PROGRESS = "run_progress"
"""Published often, and not shown: the counters say it."""
HOME_AND_CLEAR = "\x1b[H\x1b[J"


class Events:
    """What a daemon publishes for observers, from now on; what PUB drops is counted."""

    def __init__(self, endpoint: str) -> None:
        """Subscribe to everything."""
        self.last: deque[tuple[str, Event]] = deque(maxlen=EVENTS_SHOWN)
        self.missed = 0
        self._expected = 0
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.SUB)
        self._socket.setsockopt(zmq.SUBSCRIBE, b"")
        self._socket.connect(endpoint)

    def __enter__(self) -> Self:
        """Use as a context, so that the socket is closed whatever happens."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        self._socket.close(linger=0)
        self._context.term()

    def take(self, until_s: float) -> None:
        """Take in what is published until then (CLOCK_MONOTONIC, seconds)."""
        while (left_s := until_s - time.monotonic()) > 0:
            if self._socket.poll(int(left_s * 1000) + 1):
                self.hear(self._socket.recv())

    def hear(self, data: bytes) -> None:
        """Take in one message; one that is no event counts as missed."""
        try:
            event = codec.decode_event(data)
        except RemoteProtocolError:
            self.missed += 1
            return
        if self._expected:
            self.missed += max(0, event.sequence - self._expected)
        self._expected = event.sequence + 1
        if event.name != PROGRESS:
            self.last.append((time.strftime("%H:%M:%S"), event))


def top(on: str | None, every_s: int, times: int) -> int:
    """Show a testbed every so many seconds, so often (0: until it ends or Ctrl-C)."""
    record = places.find_testbed(on)
    before: dict[str, int] = {}
    shown = 0
    with (
        ControlClient(record.endpoint("control")) as client,
        Events(record.endpoint("events")) as events,
    ):
        try:
            while not times or shown < times:
                began_s = time.monotonic()
                try:
                    reply = client.status()
                except TestbedFailed:
                    if places.is_live(record.path):
                        raise
                    print(f"{record.name} has ended")
                    return EXIT_OK
                _show(picture(reply, before, every_s * bool(shown), events))
                before = totals(reply)
                shown += 1
                events.take(began_s + every_s)
        except KeyboardInterrupt:
            return EXIT_OK
    return EXIT_OK


def totals(reply: StatusReply) -> dict[str, int]:
    """Every counter of every process, by the names of both."""
    return {
        f"{process.name} {name}": count
        for process in reply.processes
        for name, count in process.counters.items()
    }


def picture(
    reply: StatusReply, before: Mapping[str, int], elapsed_s: float, events: Events
) -> list[str]:
    """Lines that show a testbed: its processes, each counter with its growth a second, events.

    ``before`` are the `totals` of so many seconds ago; a process that was started anew since then,
    and so counts from 0 again, shows no growth.
    """
    doing = f"running {reply.scenario}" if reply.run else "idle"
    lines = [f"{reply.testbed}: {doing}"]
    lines += [f"  the load has ended: {reply.load_ended}"] * bool(reply.load_ended)
    for process in reply.processes:
        counters = []
        for name, count in process.counters.items():
            grown = count - before.get(f"{process.name} {name}", count)
            rate = f" (+{grown / elapsed_s:,.0f}/s)" if elapsed_s and grown > 0 else ""
            counters.append(f"{name} {count:,}{rate}")
        lines.append(
            f"  {process.name:<10} pid {process.pid:<8} {process.state.value:<8} "
            f"{', '.join(counters)}".rstrip()
        )
    if events.last or events.missed:
        missed = f", {events.missed} missed" if events.missed else ""
        lines.append(f"events{missed}")
    for when, event in events.last:
        fields = ", ".join(f"{name} {value}" for name, value in event.fields.items())
        lines.append(f"  {when} {event.name}{': ' * bool(fields)}{fields}")
    return lines


def _show(lines: list[str]) -> None:
    """Draw over what was shown before on a terminal; elsewhere add to it."""
    terminal = sys.stdout.isatty()
    print((HOME_AND_CLEAR if terminal else "") + "\n".join(lines), flush=True)
    if not terminal:
        print(flush=True)
