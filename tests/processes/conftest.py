"""Every test here has a place of its own, and fails if it leaves anything there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.processes.ground import Ground
from tests.processes.ground import ground as make_ground


@pytest.fixture
def ground() -> Iterator[Ground]:
    """A runtime folder of its own; a process, socket, segment or folder left in it is an error."""
    yield from make_ground()
