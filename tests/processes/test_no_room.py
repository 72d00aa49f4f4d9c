"""Too little room, for memory or for histories: said in words, exit status 4, nothing left."""

from __future__ import annotations

import resource
from functools import partial

from tests.processes.ground import Ground

from shootdown_protocol.history_file import read_history

SMALL = 3 << 20
"""Largest file, in bytes; a testbed of 256 frames fits, a long history does not."""


def limited(size: int) -> partial[None]:
    """What makes a child that can make no larger file, shared memory included."""
    return partial(resource.setrlimit, resource.RLIMIT_FSIZE, (size, size))


def test_no_room_for_memory(ground: Ground) -> None:
    """A testbed whose memory does not fit does not start, and says how much is missing."""
    testbed = str(ground.testbed())

    ended = ground.do("run", "cow-two-pages", "--testbed", testbed, preexec_fn=limited(SMALL))

    assert ended.status == 4, str(ended)
    assert "did not start" in ended.errors
    assert "segment-no-room" in ended.errors


def test_no_room_for_a_scenario(ground: Ground) -> None:
    """Memory that holds not even two instances is refused with what it would take."""
    testbed = ground.testbed(frames=256)
    scenario = ground.root / "many.litmus"
    places = " ".join(f"L{number} = 0 cow;" for number in range(60))
    scenario.write_text(MANY.replace("PLACES", places))

    ended = ground.run(str(scenario), "--testbed", str(testbed))

    assert ended.status == 4, str(ended)
    assert "expected at least" in ended.told["error"]


MANY = """\
SHOOTDOWN many
"More locations than a small memory has frames for."
{
  A = 0 cow; PLACES
  atc DEV0 A;
}
 CPU0           | CPU1                    | DEV0      ;
 wp_page_copy A | store A 1 when writable | load A r0 ;
forbidden DEV0:r0=1 /\\ A=0
weakest none
caught none : S2
"""


def test_no_room_for_a_history(ground: Ground) -> None:
    """A run whose history finds no room fails in words, and what was written can be read."""
    testbed = str(ground.testbed(frames=256, instances_per_batch=16))
    words = ("--testbed", testbed, "--json", "--instances", "1000000")

    ended = ground.do("run", "cow-two-pages", *words, preexec_fn=limited(SMALL))

    assert ended.status == 4, str(ended)
    assert "history-no-room" in ended.told["error"]
    history = ground.out / "latest" / "history" / "daemon.history"
    assert sum(1 for _ in read_history(history)) > 1000
    assert ended.told["instances"] > 0
