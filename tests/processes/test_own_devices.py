"""Devices of one's own, and faulty ones, on real processes."""

from __future__ import annotations

from tests.processes.ground import Ground

MINE = """
from shootdown_device_agent.machine.zoo.ignores_invalidation import IgnoresInvalidation


class Mine(IgnoresInvalidation):
    pass
"""


def test_a_device_of_ones_own_is_caught_by_a_run(ground: Ground) -> None:
    """The agent's process loads the class from its file, and the device does what it says."""
    (ground.root / "mine.py").write_text(MINE)

    ended = ground.run("cow-two-pages", "--device", "DEV0=mine.py:Mine", instances=600)

    assert ended.status == 1, str(ended)
    assert ended.told["devices"] == ["DEV0=mine.py:Mine"]


def test_a_faulty_device_is_known_by_name_on_a_testbed_that_stays(ground: Ground) -> None:
    """A testbed's agents take the class of each run from its request, and the next has none."""
    ground.up("lab")
    wrong = ("--device", "ignores_invalidation")

    caught = ground.run("cow-two-pages", "--on", "lab", *wrong, instances=600)
    right = ground.run("cow-two-pages", "--on", "lab", instances=600)

    assert (caught.status, right.status) == (1, 0), f"{caught}{right}"
    assert ground.do("down", "--on", "lab").status == 0


def test_a_wrong_device_is_refused_before_anything_starts(ground: Ground) -> None:
    """What is wrong with a class, or with the device's name, is said with the nearest right one."""
    (ground.root / "mine.py").write_text(MINE)

    misspelt = ground.run("cow-two-pages", "--device", "mine.py:Mime")
    nobody = ground.run("cow-two-pages", "--device", "DEV1=mine.py:Mine")

    assert (misspelt.status, nobody.status) == (2, 2)
    assert "did you mean Mine?" in misspelt.errors
    assert "did you mean DEV0?" in nobody.errors or "did you mean DEV2?" in nobody.errors
    assert not ground.out.exists()
