"""``docker-compose.yml``: a daemon, two agents and the command line, each in a container.

``docker-compose.tcp.yml`` adds an agent that shares nothing with them but a key file. All of it is
in one file so that one process builds the image, once.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from tests.containers.compose import Compose, build, docker, why_not

NO_ENGINE = why_not()
pytestmark = [
    pytest.mark.skipif(bool(NO_ENGINE), reason=NO_ENGINE),
    pytest.mark.timeout(400),
]


@pytest.fixture(scope="module")
def compose() -> Iterator[Compose]:
    """A testbed in containers that is up."""
    if why := build():
        pytest.skip(why)
    made = Compose(f"shootdown-test-{os.getpid()}")
    try:
        made.up("daemon", "agent0", "agent1")
        yield made
    finally:
        made.down()


@pytest.fixture
def far(monkeypatch: pytest.MonkeyPatch) -> Iterator[Compose]:
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


def race(compose: Compose, discipline: str, instances: int) -> tuple[int, dict[str, object]]:
    """The founding scenario on the testbed in containers."""
    return compose.cli(
        *("run", "cow-two-pages", "--on", "testbed", "--out", "/out"),
        *("--discipline", discipline, "--instances", str(instances)),
    )


def test_the_founding_bug_crosses_containers(compose: Compose) -> None:
    """Devices in two containers see the old page under range_end, and never under clear_flush."""
    broken, told = race(compose, "range_end", 4000)
    right, also = race(compose, "clear_flush", 4000)

    assert (broken, told["verdict"]) == (1, "violation")
    assert (right, also["verdict"], also["instances"]) == (0, "ok", 4000)


def test_containers_have_no_more_rights_than_they_need(compose: Compose) -> None:
    """No root, no capability, no network, no root file system that can be written."""
    for service in ("daemon", "agent0", "agent1"):
        facts = compose.inspect(service)

        assert facts["Config"]["User"] == "10001:10001"
        assert facts["HostConfig"]["ReadonlyRootfs"] is True
        assert facts["HostConfig"]["CapDrop"] == ["ALL"]
        assert facts["HostConfig"]["NetworkMode"] == "none"
        refused = compose.do("exec", "-T", service, "touch", "/opt/shootdown/x")
        assert refused[0] != 0


@pytest.mark.parametrize(("how", "agent"), [("pause", "agent1"), ("kill", "agent0")])
def test_a_lost_container_ends_the_run_and_is_named(compose: Compose, how: str, agent: str) -> None:
    """Nobody waits for ever: the run ends, says who was lost, and a new agent takes its place."""
    running = compose.start(
        *("run", "--rm", "-T", "cli", "run", "cow-two-pages", "--on", "testbed"),
        *("--out", "/out", "--instances", "2000000"),
    )
    compose.wait_for(lambda: compose.cli("status")[1]["run"] > 0, "the run is under way")
    container = compose.container(agent)
    docker(how, container)
    output, errors = running.communicate(timeout=60)
    if how == "pause":
        docker("unpause", container)

    assert running.returncode in (3, 4), output + errors
    assert agent in output + errors
    compose.wait_for(lambda: not compose.inspect(agent)["State"]["Running"], f"{agent} has ended")
    compose.up(agent)
    assert race(compose, "clear_flush", 1000)[0] == 0


def test_a_faulty_device_far_away_is_named(far: Compose) -> None:
    """It has neither memory nor sockets of the testbed, and the verdict is that of one that has."""
    asked = ("run", "--rm", "-T", "cli", "status", "--on", "testbed", "--agent", "remote")
    far.wait_for(lambda: far.do(*asked)[0] == 0, "remote is a member")

    status, told = far.cli(
        *("run", "cow-two-pages", "--on", "testbed", "--out", "/out", "--instances", "2000")
    )

    assert (status, told["verdict"]) == (1, "violation")
    assert "remote" in str(told)
    mounts = {mount["Destination"] for mount in far.inspect("remote")["Mounts"]}
    assert mounts == {"/keys", "/agents"}
