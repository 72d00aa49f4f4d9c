"""Cells: one operation under one discipline, each of the row's clients explored.

A cell is *broken* when some client's run goes wrong, *safe* when every client was explored to its
end and some run went through a translation whose entry had changed (else nothing was put to the
test), and *inconclusive* otherwise.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Final, NamedTuple

from shootdown_daemon.machine.disciplines import DISCIPLINES, LAZY, LEAF_ONLY, bind_operation
from shootdown_daemon.machine.operations import OPERATIONS
from shootdown_device_agent.machine.device import Device
from shootdown_device_agent.machine.zoo import ZOO
from shootdown_verify.explore import Budget, Verdict, explore
from shootdown_verify.litmus import Scenario, parse
from shootdown_verify.matrix.clients import ClientText, clients_of
from shootdown_verify.matrix.rows import Row
from shootdown_verify.matrix.rule import BROKEN, INCONCLUSIVE, SAFE
from shootdown_verify.replay_file import VERSION, Replay, count_occurrences
from shootdown_verify.replaying import in_known_order

CLIENT_SECONDS: Final = 30.0
"""How long one client may be explored."""


class Job(NamedTuple):
    """One cell, to be filled by whichever process is free."""

    row: Row
    discipline: str
    seconds: float


@dataclass(frozen=True, slots=True)
class ClientResult:
    """What exploring one client gave; ``replay`` is empty unless it went wrong."""

    client: str
    verdict: str
    check: str
    title: str
    steps: int
    states: int
    stale_hits: int
    stopped_by: str
    replay: Replay | None


@dataclass(slots=True)
class Cell:
    """One cell, filled client by client until one of them goes wrong."""

    row: Row
    discipline: str
    clients: int
    results: list[ClientResult] = field(default_factory=list)

    @property
    def worst(self) -> ClientResult | None:
        """The violation with the fewest steps."""
        wrong = [result for result in self.results if result.verdict == Verdict.VIOLATION]
        return min(wrong, key=lambda result: (result.steps, result.client), default=None)

    @property
    def states(self) -> int:
        """States looked at, all clients together."""
        return sum(result.states for result in self.results)

    @property
    def verdict(self) -> str:
        """``safe``, ``broken`` or ``inconclusive``."""
        if self.worst is not None:
            return BROKEN
        return INCONCLUSIVE if self.reason else SAFE

    @property
    def reason(self) -> str:
        """Why a cell that nothing broke is not safe; empty for any other."""
        if self.worst is not None:
            return ""
        undecided = [r for r in self.results if r.verdict != Verdict.OK]
        if undecided:
            return f"{undecided[0].client}: {undecided[0].stopped_by or 'not decided'}"
        if len(self.results) < self.clients:
            return f"{self.clients - len(self.results)} clients were not explored"
        if not sum(result.stale_hits for result in self.results):
            return "no translation could have been stale"
        return ""

    @property
    def checks(self) -> tuple[str, ...]:
        """Which of S1 to S5 some client broke."""
        return tuple(sorted({result.check for result in self.results if result.check}))


@cache
def _scenario(name: str, text: str) -> Scenario:
    return parse(text, f"{name}.litmus", operations=OPERATIONS, disciplines=DISCIPLINES)


def fill_cell(job: Job) -> Cell:
    """Explore a cell's clients, up to the first that goes wrong."""
    cell = _empty(job)
    for client in clients_of(job.row):
        cell.results.append(explore_client(client, job.discipline, job.seconds, job.row.device))
        if cell.worst is not None:
            break
    return cell


def explore_client(
    client: ClientText, discipline: str, seconds: float, device: str = ""
) -> ClientResult:
    """Explore one client under one discipline, with the right device or a faulty one."""
    scenario = _scenario(client.name, client.text)
    result = explore(
        in_known_order(scenario.program),
        DISCIPLINES[discipline],
        make_device=ZOO[device] if device else Device,
        budget=Budget(seconds=seconds),
        samples=0,
    )
    check = title = ""
    replay = None
    if result.counterexamples:
        found = result.counterexamples[0]
        check, title = found.findings[0].check, found.findings[0].title
        replay = Replay(
            version=VERSION,
            scenario=scenario.name,
            digest=scenario.digest,
            discipline=discipline,
            device=device,
            seed=0,
            verdict=f"{check} {title}",
            outcome="",
            text=scenario.text,
            steps=count_occurrences((step.task, step.step) for step in found.steps),
        )
    return ClientResult(
        client=client.name,
        verdict=result.verdict.value,
        check=check,
        title=title,
        steps=result.shortest_steps,
        states=result.states,
        stale_hits=0 if client.disturbs else result.hazards.stale_hits,
        stopped_by=result.stopped_by,
        replay=replay,
    )


def matrix(
    rows: Sequence[Row],
    disciplines: Sequence[str],
    *,
    workers: int,
    seconds: float = CLIENT_SECONDS,
    progress: Callable[[int, int], None] = lambda _done, _of: None,
) -> list[Cell]:
    """Fill every cell, on ``workers`` processes; ``progress`` is told cells done and in all.

    Disciplines that notify a row's operation at the same points are one to it, and are explored
    once. Ctrl-C leaves the cells that are not filled by then without results.
    """
    jobs = [Job(row, discipline, seconds) for row in rows for discipline in disciplines]
    twins: dict[tuple[Row, object], list[Job]] = {}
    for job in jobs:
        twins.setdefault((job.row, _points(job.row.operation, job.discipline)), []).append(job)
    same = {alike[0]: alike for alike in twins.values()}
    cells: dict[Job, Cell] = {}
    with suppress(KeyboardInterrupt):
        for job, cell in _filled(list(same), workers):
            cells.update({twin: _as_found_by(cell, twin.discipline) for twin in same[job]})
            progress(len(cells), len(jobs))
    return [cells.get(job) or _empty(job) for job in jobs]


def _empty(job: Job) -> Cell:
    return Cell(job.row, job.discipline, len(list(clients_of(job.row))))


def _as_found_by(cell: Cell, discipline: str) -> Cell:
    """The same cell of a discipline that the row's operation cannot tell from the one explored."""
    results = [
        result
        if result.replay is None
        else replace(result, replay=replace(result.replay, discipline=discipline))
        for result in cell.results
    ]
    return replace(cell, discipline=discipline, results=results)


def _points(operation: str, discipline: str) -> object:
    """All that an operation sees of a discipline: where it notifies, and how, if oddly."""
    phases = OPERATIONS[operation].phases
    bound = bind_operation(DISCIPLINES[discipline], operation, phases)
    return discipline if discipline in {LAZY, LEAF_ONLY} else "", frozenset(bound)


def _filled(jobs: Sequence[Job], workers: int) -> Iterator[tuple[Job, Cell]]:
    if workers == 1:
        yield from ((job, fill_cell(job)) for job in jobs)
        return
    with ProcessPoolExecutor(workers, initializer=_leave_signals_alone) as pool:
        futures: dict[Future[Cell], Job] = {pool.submit(fill_cell, job): job for job in jobs}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BaseException:
            for worker in multiprocessing.active_children():
                worker.terminate()
            raise
        finally:
            pool.shutdown(cancel_futures=True)


def _leave_signals_alone() -> None:
    """Let whoever began this process end it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
