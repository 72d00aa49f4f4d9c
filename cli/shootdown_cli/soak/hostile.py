"""A hostile peer of a round's testbed: it sends what is no message, and counts the refusals."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from random import Random

import zmq

MESSAGES = 40
"""How many bad messages a round's testbed is sent."""
LONGEST = 300
POLL_S = 0.02
ANSWER_MS = 200


class HostilePeer(threading.Thread):
    """Sends bad messages to both planes of a testbed from the moment that it is there."""

    def __init__(self, folder: Path, seed: int) -> None:
        """Wait for a testbed's folder; ``refused`` counts what it was answered."""
        super().__init__(daemon=True)
        self.refused = 0
        self._folder = folder
        self._random = Random(f"hostile:{seed}")
        self._over = threading.Event()

    def end(self) -> int:
        """Leave; gives how many bad messages were refused."""
        self._over.set()
        self.join()
        return self.refused

    def run(self) -> None:
        """Go on until told to leave."""
        control = self._folder / "control"
        while not control.exists():
            if self._over.wait(POLL_S):
                return
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        try:
            sockets = [self._connect(context, plane) for plane in ("control", "device")]
            for _ in range(MESSAGES):
                if self._over.is_set():
                    break
                self._bother(self._random.choice(sockets))
                time.sleep(POLL_S)
            for socket in sockets:
                socket.close(linger=0)
        finally:
            context.term()

    def _connect(self, context: zmq.Context[zmq.Socket[bytes]], plane: str) -> zmq.Socket[bytes]:
        socket = context.socket(zmq.DEALER)
        socket.setsockopt(zmq.LINGER, 0)
        socket.connect(f"ipc://{self._folder / plane}")
        return socket

    def _bother(self, socket: zmq.Socket[bytes]) -> None:
        data = self._random.randbytes(self._random.randint(0, LONGEST))
        try:
            socket.send(data, zmq.NOBLOCK)
        except zmq.Again:
            return
        if socket.poll(ANSWER_MS):
            socket.recv()
            self.refused += 1
