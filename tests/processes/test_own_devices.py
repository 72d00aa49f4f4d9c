"""Devices of one's own, and faulty ones, on real processes."""

from __future__ import annotations

from tests.processes.ground import Ground

MINE = """
from shootdown_device_agent.machine.zoo.ignores_invalidation import IgnoresInvalidation


class Mine(IgnoresInvalidation):
    pass
"""

RAISES = """
from shootdown_device_agent.sdk import Device


class Mine(Device):
    def obey(self, store, request):
        raise RuntimeError("mine")
"""
WHY = "RuntimeError: mine; in d0.invalidate, step 'atc_invalidate'; "


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


def test_an_exception_in_a_device_is_why_its_agent_was_lost(ground: Ground) -> None:
    """A run of an own device that raises has failed, and says where in which file."""
    (ground.root / "mine.py").write_text(RAISES)

    ended = ground.run("cow-two-pages", "--device", "mine.py:Mine")

    assert ended.status == 4, str(ended)
    assert WHY in ended.told["error"]
    assert "mine.py:7" in ended.told["error"]


def test_an_attached_device_that_raises_ends_with_status_4(ground: Ground) -> None:
    """Nothing was judged, so it is no violation; the testbed goes on without it."""
    (ground.root / "mine.py").write_text(RAISES)
    ground.up("lab", "--load", "cow-two-pages")

    ended = ground.do("attach", "mine.py:Mine", "--as", "DEV0", "--on", "lab")

    assert ended.status == 4, str(ended)
    assert WHY in ended.errors
    assert ended.errors.rstrip().endswith("mine.py:7")
    assert ground.do("down", "--on", "lab").status == 0


def test_an_agent_alone_that_raises_ends_with_status_4(ground: Ground) -> None:
    """So does one that is nothing but an agent, as `conformance` starts them."""
    (ground.root / "mine.py").write_text(RAISES)

    ended = ground.do("conformance", "mine.py:Mine")

    assert "it ended with status 4: RuntimeError: mine" in ended.output, str(ended)
