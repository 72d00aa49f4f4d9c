"""What an agent says as it ends is what its loss is put down to, whatever the daemon sees first."""

from __future__ import annotations

from pathlib import Path

import zmq
from tests.processes.ground import until

from shootdown_daemon.shell.links import AgentLink, DeviceRouter
from shootdown_protocol import codec, messages

REASON = "out of frames"


def say_and_go(router: DeviceRouter, endpoint: str) -> AgentLink:
    """An agent joins, says why it ends, and its connection is closed."""
    socket = router.sockets[0]
    with socket.context.socket(zmq.DEALER) as agent:
        agent.connect(endpoint)
        agent.send(b"here")
        until(lambda: socket.poll(10), "it is heard")
        ((peer, *_),) = router.receive()
        link = AgentLink(peer, "agent0", 0, 0, 0, own_process=False)
        router.join(link)
        agent.send(codec.encode_device(messages.Goodbye(0, REASON)))
    return link


def test_last_words_are_read_though_the_connection_is_gone(tmp_path: Path) -> None:
    """An agent to which nothing can be sent any more is lost once all that it sent is read."""
    endpoint = f"ipc://{tmp_path / 'device'}"
    with zmq.Context() as context, context.socket(zmq.ROUTER) as socket:
        socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        socket.bind(endpoint)
        router = DeviceRouter(socket)
        link = say_and_go(router, endpoint)

        def is_gone() -> bool:
            router.send(link, messages.Heartbeat(0, 1))
            return link in router.gone

        until(is_gone, "its connection is gone")

        assert (list(router.links.values()), router.lost) == ([link], [])
        ((_, whose, said, _),) = router.receive()
        assert (whose, said) == (link, messages.Goodbye(0, REASON))
        router.lose_gone()
        assert [lost for lost, _ in router.lost] == [link]
