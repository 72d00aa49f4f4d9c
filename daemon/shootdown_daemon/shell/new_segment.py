"""The shared memory of a testbed, as its daemon makes it."""

from __future__ import annotations

import os
from random import Random

from shootdown_daemon.shell.config import DaemonConfig
from shootdown_protocol import layout as at
from shootdown_protocol.layout import Layout
from shootdown_protocol.segment import Segment


def create_segment(config: DaemonConfig, generation: int) -> Segment:
    """Make the shared memory of a testbed; its page numbers are scrambled by its generation.

    Its frames are reserved when there is time, at the latest when a run begins.
    """
    scramble = Random(generation).randrange(config.frames // 2, config.frames) | 1
    layout = Layout(config.frames, config.board_words, scramble)
    segment = Segment.create(config.segment, layout, generation, whole=False)
    segment.words[at.H_DAEMON_PID] = os.getpid()
    return segment
