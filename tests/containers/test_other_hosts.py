"""``docker-compose.tcp.yml``: an agent in a container that shares nothing but a key file."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from tests.containers.compose import Compose, build, why_not

NO_ENGINE = why_not()
pytestmark = [
    pytest.mark.skipif(bool(NO_ENGINE), reason=NO_ENGINE),
    pytest.mark.timeout(400),
]


@pytest.fixture
def compose(monkeypatch: pytest.MonkeyPatch) -> Iterator[Compose]:
    """A testbed in containers with a faulty device far away."""
    if why := build():
        pytest.skip(why)
    monkeypatch.setenv("REMOTE_DEVICE", "ignores_invalidation")
    files = ("docker-compose.yml", "docker-compose.tcp.yml")
    made = Compose(f"shootdown-tcp-{os.getpid()}", *files)
    try:
        made.up("daemon", "agent0", "agent1")
        status, output, errors = made.do("up", "--detach", "remote")
        assert status == 0, output + errors
        yield made
    finally:
        made.down()


def test_a_faulty_device_far_away_is_named(compose: Compose) -> None:
    """It has neither memory nor sockets of the testbed, and the verdict is that of one that has."""
    asked = ("run", "--rm", "-T", "cli", "status", "--on", "testbed", "--agent", "remote")
    compose.wait_for(lambda: compose.do(*asked)[0] == 0, "remote is a member")

    status, told = compose.cli(
        *("run", "cow-two-pages", "--on", "testbed", "--out", "/out", "--instances", "2000")
    )

    assert (status, told["verdict"]) == (1, "violation")
    assert "remote" in str(told)
    mounts = {mount["Destination"] for mount in compose.inspect("remote")["Mounts"]}
    assert mounts == {"/keys", "/agents"}
