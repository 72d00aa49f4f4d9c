"""What all benchmarks share: rows of ratios, rounds, pinning, processes whose result is kept.

A time by itself says more of the machine and of its neighbours than of this project, so a row is
always a ratio of two things that were measured by turns in the same rounds.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Effort(NamedTuple):
    """How much is done: ``rounds`` of each comparison, ``share`` of the work of one round."""

    rounds: int
    share: float

    def of(self, count: int) -> int:
        """A count of repetitions, cut down by the share, at least 2."""
        return max(2, int(count * self.share))


FULL = Effort(7, 1.0)
QUICK = Effort(1, 0.02)


@dataclass(frozen=True)
class Row:
    """One comparison: ``ours`` and ``floor`` hold a value a round, both in ``unit``.

    ``target`` is the largest median ratio that is good enough, None when there is no such
    promise; ``note`` is what else was seen.
    """

    benchmark: str
    name: str
    ours: Sequence[float]
    floor: Sequence[float]
    unit: str
    target: float | None = None
    note: str = ""
    ratios: tuple[float, ...] = field(init=False)

    def __post_init__(self) -> None:
        """Compare round by round."""
        ratios = tuple(one / other for one, other in zip(self.ours, self.floor, strict=True))
        object.__setattr__(self, "ratios", ratios)

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        median = statistics.median(self.ratios)
        return {
            "benchmark": self.benchmark,
            "name": self.name,
            "ratio_min": min(self.ratios),
            "ratio_median": median,
            "ratios": self.ratios,
            "target": self.target,
            "met": None if self.target is None else median <= self.target,
            "ours_median": statistics.median(self.ours),
            "floor_median": statistics.median(self.floor),
            "unit": self.unit,
            "note": self.note,
        }

    def as_line(self) -> str:
        """For people."""
        told = self.as_dict()
        target = "" if self.target is None else f"<= {self.target:.1f}"
        missed = "  missed" if told["met"] is False else ""
        ours, floor = (f"{told[key]:,.1f}" for key in ("ours_median", "floor_median"))
        return (
            f"  {self.name:<44} {told['ratio_min']:6.2f} / {told['ratio_median']:6.2f}  "
            f"{target:<7} {ours:>9} : {floor:>9} {self.unit}{missed}"
            + (f"\n      {self.note}" if self.note else "")
        )


def seconds(work: Callable[[], object]) -> float:
    """How long a piece of work takes."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def pin(core: int) -> None:
    """Keep this process, and the threads that it will start, on one core."""
    os.sched_setaffinity(0, {core})


def cores() -> list[int]:
    """Cores that may be used."""
    return sorted(os.sched_getaffinity(0))


def fork(work: Callable[[], object]) -> int:
    """Do some work in a child process; gives its pid. No ZeroMQ context may exist yet."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        work()
        status = 0
    except BaseException:  # noqa: BLE001 - the last stop of a child: it must not return
        import traceback  # noqa: PLC0415 - only a failure needs it

        traceback.print_exc()
    finally:
        os._exit(status)


def in_child(work: Callable[[], Any]) -> Any:  # noqa: ANN401 - whatever JSON can say
    """Do some work in a child process and give its result, which must be JSON."""
    reader, writer = os.pipe()

    def tell() -> None:
        os.close(reader)
        with open(writer, "w", encoding="utf-8") as pipe:  # noqa: PTH123 - a file descriptor
            json.dump(work(), pipe)

    pid = fork(tell)
    os.close(writer)
    with open(reader, encoding="utf-8") as pipe:  # noqa: PTH123 - a file descriptor
        text = pipe.read()
    _, status = os.waitpid(pid, 0)
    if status:
        raise RuntimeError(f"a child ended with {os.waitstatus_to_exitcode(status)}")
    return json.loads(text)


@contextmanager
def children() -> Iterator[list[int]]:
    """Pids put into the list are waited for at the end, or killed if something went wrong."""
    pids: list[int] = []
    try:
        yield pids
    except BaseException:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        raise
    finally:
        for pid in pids:
            os.waitpid(pid, 0)
