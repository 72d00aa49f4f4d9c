"""Who is at the other end of a Unix socket."""

from __future__ import annotations

import pytest

from shootdown_protocol.peer import peer_process


def test_a_unix_peer_is_known_by_its_pid() -> None:
    """The fourth field of the address is the pid that the system saw."""
    assert peer_process("localhost:1000:1000:4711") == 4711


@pytest.mark.parametrize(
    "address", ["", "127.0.0.1", "::1", "localhost:0:0:-1", "a:b:c:d", "a:b:c:²"]
)
def test_any_other_peer_is_nobody(address: str) -> None:
    """An address of another transport, or one without a pid, names no process."""
    assert peer_process(address) == 0
