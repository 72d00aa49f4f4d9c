"""What a daemon is told when it starts: its folder, its sizes and its limits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from shootdown_protocol.faults import Fault


class RemotePlane(msgspec.Struct, frozen=True):
    """Where agents of other hosts connect; ``encrypted`` by CURVE, with keys made at the start."""

    endpoint: str
    encrypted: bool


class DaemonConfig(msgspec.Struct, frozen=True):
    """One daemon's settings; units are the last word of a name.

    ``directory`` holds the sockets (mode 0700); ``logs`` the log files; ``agents`` is how many
    must join before a run may start. ``token`` is what an agent must show, ``segment`` names the
    shared memory. ``device`` are the testbed's options of devices. A daemon with an ``owner`` (a
    pid) ends when that process does. ``faults`` are there from the start, so that they meet agents
    that join. ``agent_command``, with a name added, starts one of its agents anew; without it no
    agent is ever started here.
    """

    directory: Path
    logs: Path
    name: str
    token: str
    segment: str
    agents: int
    frames: int = 16_384
    board_words: int = 1 << 16
    instances_per_batch: int = 256
    window: int = 32
    iotlb: bool = True
    atc_entries: int = 0
    walk_by_level: bool = False
    heartbeat_ms: int = 200
    heartbeat_limit_ms: int = 2000
    completion_timeout_ms: int = 5000
    drain_timeout_ms: int = 30_000
    owner: int | None = None
    device: Mapping[str, str] = {}
    remote: RemotePlane | None = None
    faults: tuple[Fault, ...] = ()
    agent_command: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Without the token, which is nobody's business."""
        return f"{type(self).__name__}({self.name!r}, {str(self.directory)!r})"

    @property
    def key_file(self) -> Path:
        """What an agent of another host must have, to be copied there: address, key and token."""
        return self.directory / "remote.key"

    @property
    def device_endpoint(self) -> str:
        """Where agents connect."""
        return f"ipc://{self.directory / 'device'}"

    @property
    def control_endpoint(self) -> str:
        """Where the command line connects."""
        return f"ipc://{self.directory / 'control'}"

    @property
    def events_endpoint(self) -> str:
        """Where observers subscribe."""
        return f"ipc://{self.directory / 'events'}"
