"""Agents of other hosts: where a daemon listens for them, and the key file that lets them in."""

from __future__ import annotations

import ipaddress
import json
import re
from dataclasses import dataclass
from pathlib import Path

from shootdown_daemon.shell.config import RemotePlane
from shootdown_protocol.errors import ErrorCode, UsageError
from shootdown_verify.testbed import Testbed

ANY_PORT = "tcp://127.0.0.1:*"
"""Where a testbed with ``transport = "tcp"`` listens when nobody says otherwise."""
_ENDPOINT = re.compile(r"tcp://(?P<host>\[[0-9a-fA-F:]+\]|[\w.*-]+):(?P<port>\d{1,5}|\*)")


@dataclass(frozen=True, slots=True)
class Key:
    """What a key file says: where to connect, whose public CURVE key to expect, which token."""

    endpoint: str
    server_key: str
    token: str


def remote_plane(testbed: Testbed, listen: str, *, insecure: bool) -> RemotePlane | None:
    """Where to listen for agents of other hosts, if at all; `UsageError` when it is not safe."""
    endpoint = listen or (ANY_PORT if testbed.transport == "tcp" else "")
    if not endpoint:
        if insecure:
            raise _wrong("--insecure without --listen", "--listen tcp://127.0.0.1:PORT")
        return None
    found = _ENDPOINT.fullmatch(endpoint)
    if found is None:
        raise _wrong(repr(endpoint), "tcp://HOST:PORT, or * for a port that is free")
    if insecure and not _is_loopback(found["host"]):
        raise _wrong(
            f"--insecure at {found['host']}", "a loopback address: others must be encrypted"
        )
    return RemotePlane(endpoint, encrypted=not insecure)


def read_key(path: str) -> Key:
    """Read a key file; `UsageError` says what is wrong with it."""
    try:
        told = json.loads(Path(path).read_text())
        key = Key(told["endpoint"], told["server_key"], told["token"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            ErrorCode.USAGE,
            seen=f"{type(error).__name__}: {error}",
            expected="a key file, as a daemon that listens writes it into its folder",
            where=f"--key {path}",
        ) from error
    found = _ENDPOINT.fullmatch(key.endpoint)
    if found is None or (not key.server_key and not _is_loopback(found["host"])):
        raise UsageError(
            ErrorCode.USAGE,
            seen=f"{key.endpoint} without a server key" if found else repr(key.endpoint),
            expected="tcp://HOST:PORT with a CURVE key, or without one on loopback",
            where=f"--key {path}",
        )
    return key


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _wrong(seen: str, expected: str) -> UsageError:
    return UsageError(ErrorCode.USAGE, seen=seen, expected=expected, where="--listen")
