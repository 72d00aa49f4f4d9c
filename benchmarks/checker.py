"""Records a second that `shootdown check` judges, pass by pass and all together, as it grows.

The floor is Python's own ``json.loads`` of the same lines: what any checker of them would begin
with. Both are CPU time, one process on one core. The history is one that a linearizable memory
would leave, of eight threads and 64 locations, as it is and with one stale load in its middle.
"""

from __future__ import annotations

import io
import json
import math
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
from benchmarks import histories
from benchmarks.measure import Effort, Row, in_child

from shootdown_cli.scenarios import load_scenario
from shootdown_daemon.machine.disciplines import DISCIPLINES
from shootdown_protocol.history import Stamped
from shootdown_protocol.history_file import HistoryWriter, read_history
from shootdown_verify.check.finding import Model
from shootdown_verify.check.passes import PASS_OF_MODEL
from shootdown_verify.foreign.jsonl import read_jsonl, read_stream
from shootdown_verify.foreign.verdict import holds, judge
from shootdown_verify.judge.batches import read_batches
from shootdown_verify.judge.run import RunJudge
from shootdown_verify.replaying import Follower

SIZES: Final = (10_000, 100_000, 1_000_000)
ROUNDS: Final = 3
ALL: Final = "all passes"
OURS: Final = "records of ours"
TARGET_RATE: Final = 300_000
"""Records a second, by all passes together."""
US: Final = 1e6


def rows(effort: Effort) -> Iterator[Row]:
    """A row for each pass and size, then the exponent by which its time grows."""
    sizes = SIZES if effort.rounds > 1 else SIZES[:1]
    rounds = min(ROUNDS, effort.rounds)
    spent: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for size in sizes:
            for wrong in (False, True):
                path = Path(folder) / f"{size}-{wrong}.jsonl"
                path.write_bytes(histories.jsonl(size, wrong=wrong))
                told = [in_child(partial(_measure, path, wrong=wrong)) for _ in range(rounds)]
                yield from _rows_of(size, told, spent, wrong=wrong)
                path.unlink()
        own = [in_child(partial(_measure_own, max(sizes) // 10)) for _ in range(rounds)]
        yield from _rows_of(own[0][OURS]["records"], own, {}, wrong=False)


def _rows_of(
    size: int, told: list[dict[str, Any]], spent: dict[str, list[float]], *, wrong: bool
) -> Iterator[Row]:
    with_one = ", one violation" if wrong else ""
    for name in told[0]:
        us = [each[name]["s"] / size * US for each in told]
        floor = [each[name]["floor_s"] / size * US for each in told]
        rate = US / statistics.median(us)
        note = f"{rate:,.0f} records a second"
        if name == ALL:
            note += f" (target {TARGET_RATE:,}), peak memory {told[0][name]['peak_mb']:,.0f} MB"
        if not wrong:
            times = spent.setdefault(name, [])
            times.append(statistics.median(us) * size)
            if len(times) == len(SIZES):
                note += f", time grows as n^{_exponent(times):.2f}"
        yield Row("checker", f"{name}, {size:,}{with_one}", us, floor, "us", note=note)


def _exponent(times: list[float]) -> float:
    """Slope of the times over the sizes, both logarithmic."""
    return math.log(times[-1] / times[0]) / math.log(SIZES[-1] / SIZES[0])


def _cpu_s(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def _measure(path: Path, *, wrong: bool) -> dict[str, Any]:
    """All passes on a file, then each by itself on what was read."""
    _warm_up()
    verdicts = []
    all_s = _cpu_s(lambda: verdicts.append(judge(read_jsonl(path))))
    assert verdicts[0].verdict == ("violation" if wrong else "ok")
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    with path.open("rb") as file:
        floor_s = _cpu_s(lambda: [json.loads(line) for line in file])
    told = {ALL: {"s": all_s, "floor_s": floor_s, "peak_mb": peak_mb}}
    columns = read_jsonl(path)
    works: dict[str, Callable[[], object]] = {"reading": partial(read_jsonl, path)}
    works |= {PASS_OF_MODEL[model]: partial(holds, columns, model) for model in Model}
    for name, work in works.items():
        told[name] = {"s": _cpu_s(work), "floor_s": floor_s}
    return told


def _warm_up() -> None:
    """Judge a few events first, so that nothing is measured that happens once."""
    judge(read_stream(io.BytesIO(histories.jsonl(100)), "warm"))


def _measure_own(records: int) -> dict[str, Any]:
    """Records of `cow-two-pages`, judged as those of a live run are; read from a file, too."""
    scenario = load_scenario("cow-two-pages")
    follower = Follower(scenario.program, DISCIPLINES["clear_flush"])
    follower.finish()
    pattern = follower.records
    instances = max(1, records // len(pattern))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "one.history"
        with HistoryWriter(path, "one") as writer:
            for instance in range(instances):
                for stamped in pattern:
                    writer.append(_of_instance(stamped, instance))

        def work() -> None:
            judge = RunJudge(scenario, discipline="clear_flush")
            for batch in read_batches([read_history(path)], 256):
                judge.judge_batch(batch, ended=True)
            assert not judge.finish().violations

        judged_s = _cpu_s(work)
        floor_s = _cpu_s(lambda: [None for _ in read_history(path)])
    count = instances * len(pattern)
    return {OURS: {"s": judged_s, "floor_s": floor_s, "records": count}}


def _of_instance(stamped: Stamped, instance: int) -> Stamped:
    """The same record of another instance, later."""
    later = instance * 1_000_000
    return msgspec.structs.replace(
        stamped, instance=instance, begin=stamped.begin + later, end=stamped.end + later
    )
