"""The catalogue of real bugs: scenarios that state a bug's facts, and what exploring them shows.

A bug is *caught* when every wrong side that its scenario claims goes wrong by a check that is
named, and *fixed* when every right side is proved: the same columns, every order. That the wrong
side fails shows that the scenario comes where it hurts, so a proof of the right one says something.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, NamedTuple

from shootdown_daemon.machine.disciplines import Discipline
from shootdown_daemon.machine.mutant import Mutant
from shootdown_verify.explore import Budget, Counterexample, Result, Verdict, explore
from shootdown_verify.judge.instance import judge_instance
from shootdown_verify.litmus import Configuration, Expectation, Facts, Scenario
from shootdown_verify.replay_file import VERSION, Replay, count_occurrences
from shootdown_verify.replaying import in_known_order
from shootdown_verify.whole import DeviceMaker

RIGHT_DISCIPLINE: Final = "clear_flush"
"""What commands take when no discipline is said."""
LIVE_INSTANCES: Final = 1000
"""Instances of a run that shows a bug live."""
SIDE_SECONDS: Final = 60.0
"""How long one side of a bug may be explored."""


class Parts(NamedTuple):
    """What a configuration names, found; ``named`` is how a command line would name it."""

    discipline: Discipline
    make_device: DeviceMaker
    mutant: Mutant
    named: Configuration


Finder = Callable[[Scenario, Configuration], Parts]
"""Finds what a scenario's configuration names; must be importable by worker processes."""


@dataclass(frozen=True, slots=True)
class Bug:
    """A scenario with facts."""

    scenario: Scenario
    facts: Facts

    @property
    def id(self) -> str:
        """The scenario's name, which is its file's."""
        return self.scenario.name

    @property
    def wrong(self) -> tuple[Expectation, ...]:
        """Claims of what is caught; the first is the bug as it was."""
        return tuple(each for each in self.scenario.expectations if each.caught)

    @property
    def right(self) -> tuple[Expectation, ...]:
        """Claims of what is safe."""
        return tuple(each for each in self.scenario.expectations if not each.caught)


@dataclass(frozen=True, slots=True)
class Side:
    """What exploring one claim of a bug gave; ``title`` says what was found, in a word or two."""

    claim: Expectation
    verdict: str
    complete: bool
    check: str
    title: str
    steps: int
    states: int
    elapsed_s: float
    stopped_by: str
    replay: Replay | None

    @property
    def held(self) -> bool:
        """Whether the claim is what exploring showed."""
        if self.claim.caught:
            return self.verdict == Verdict.VIOLATION and self.check in self.claim.by
        return self.verdict == Verdict.OK and self.complete

    @property
    def undecided(self) -> bool:
        """Whether a budget ran out before anything was known."""
        return self.verdict == Verdict.INCONCLUSIVE


class Explored(NamedTuple):
    """A side, and the whole of the search that it is read off."""

    side: Side
    result: Result


@dataclass(frozen=True, slots=True)
class Verified:
    """Both sides of a bug, explored; ``right`` is empty when only the wrong ones were."""

    id: str
    wrong: tuple[Side, ...]
    right: tuple[Side, ...]

    @property
    def caught(self) -> bool:
        """Whether every wrong side was caught."""
        return bool(self.wrong) and all(side.held for side in self.wrong)

    @property
    def fixed_safe(self) -> bool:
        """Whether every right side was proved."""
        return bool(self.right) and all(side.held for side in self.right)

    @property
    def undecided(self) -> bool:
        """Whether what does not hold was only not decided."""
        failed = [side for side in (*self.wrong, *self.right) if not side.held]
        return bool(failed) and all(side.undecided for side in failed)

    @property
    def elapsed_s(self) -> float:
        """Seconds that all sides took."""
        return sum(side.elapsed_s for side in (*self.wrong, *self.right))


def bug_of(scenario: Scenario) -> Bug:
    """The bug that a scenario shows; it must state facts."""
    assert scenario.facts is not None
    return Bug(scenario, scenario.facts)


def flags(configuration: Configuration) -> str:
    """What a command line says to get a configuration; begins with a space, or is empty."""
    said = {
        "--discipline": configuration.discipline,
        "--device": configuration.device,
        "--mutant": configuration.mutant,
    }
    return "".join(
        f" {option} {value}"
        for option, value in said.items()
        if value and (option, value) != ("--discipline", RIGHT_DISCIPLINE)
    )


def live_command(wrong: Configuration, scenario: str, plan: str) -> str:
    """The command that races a wrong side live, with a fault that widens its window."""
    return f"shootdown run {scenario}{flags(wrong)} --fault {plan} --instances {LIVE_INSTANCES}"


def explore_side(bug: Bug, claim: Expectation, find: Finder, seconds: float) -> Explored:
    """Explore one side of a bug."""
    parts = find(bug.scenario, claim.configuration)
    result = explore(
        in_known_order(bug.scenario.program),
        parts.discipline,
        conditions=bug.scenario.conditions,
        make_device=parts.make_device,
        mutant=parts.mutant,
        budget=Budget(seconds=seconds),
        samples=0,
    )
    found = result.counterexamples[0] if result.counterexamples else None
    side = Side(
        claim=claim,
        verdict=result.verdict.value,
        complete=result.complete,
        check=found.findings[0].check if found else "",
        title=found.findings[0].title if found else "",
        steps=result.shortest_steps,
        states=result.states,
        elapsed_s=result.elapsed_s,
        stopped_by=result.stopped_by,
        replay=replay_of(bug, parts.named, found) if found else None,
    )
    return Explored(side, result)


def replay_of(bug: Bug, configuration: Configuration, found: Counterexample) -> Replay:
    """A counterexample as a replay file has it."""
    scenario = bug.scenario
    records = (*found.records, *found.aftermath)
    return Replay(
        version=VERSION,
        scenario=scenario.name,
        digest=scenario.digest,
        discipline=configuration.discipline,
        device=configuration.device,
        mutant=configuration.mutant,
        seed=0,
        verdict=f"{found.findings[0].check} {found.findings[0].title}",
        outcome=judge_instance(records, scenario.program, scenario.conditions).outcome,
        text=scenario.text,
        steps=count_occurrences((step.task, step.step) for step in found.steps),
    )


def verify_bug(bug: Bug, find: Finder, seconds: float, *, both: bool) -> Verified:
    """Explore the sides of one bug; only the first wrong one unless ``both`` are asked for."""

    def explored(claims: Sequence[Expectation]) -> tuple[Side, ...]:
        return tuple(explore_side(bug, claim, find, seconds).side for claim in claims)

    if both:
        return Verified(bug.id, explored(bug.wrong), explored(bug.right))
    return Verified(bug.id, explored(bug.wrong[:1]), ())


def verify(
    bugs: Sequence[Bug],
    find: Finder,
    *,
    workers: int,
    both: bool = True,
    seconds: float = SIDE_SECONDS,
    progress: Callable[[int, int], None] = lambda _done, _of: None,
) -> list[Verified]:
    """Verify bugs on ``workers`` processes; ``progress`` is told how many are done, and of all."""
    work = partial(_work, find=find, seconds=seconds, both=both)
    done: dict[str, Verified] = {}
    for verified in _each(bugs, work, workers):
        done[verified.id] = verified
        progress(len(done), len(bugs))
    return [done[bug.id] for bug in bugs]


def _work(bug: Bug, *, find: Finder, seconds: float, both: bool) -> Verified:
    verified = verify_bug(bug, find, seconds, both=both)
    return replace(verified, wrong=_bare(verified.wrong), right=_bare(verified.right))


def _bare(sides: tuple[Side, ...]) -> tuple[Side, ...]:
    """Without what only the one who looks at one bug needs."""
    return tuple(replace(side, replay=None) for side in sides)


def _each(bugs: Sequence[Bug], work: Callable[[Bug], Verified], workers: int) -> Iterator[Verified]:
    if workers == 1:
        yield from map(work, bugs)
        return
    with ProcessPoolExecutor(workers) as pool:
        futures: list[Future[Verified]] = [pool.submit(work, bug) for bug in bugs]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)
