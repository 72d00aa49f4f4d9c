"""Who is at the other end of a Unix socket, as the system says and not as the peer does."""

from __future__ import annotations


def peer_process(address: str) -> int:
    """Pid in a ZeroMQ ``Peer-Address`` of an ipc connection, ``localhost:uid:gid:pid``.

    0 when it names none: a peer of another transport, or in a PID namespace that is not seen from
    this one, such as another container's.
    """
    fields = address.split(":")
    pid = fields[3] if len(fields) == len(("host", "uid", "gid", "pid")) else ""
    return int(pid) if pid.isascii() and pid.isdigit() else 0
