"""``shootdown explore``: every order of a scenario's steps, or as many as a budget allows."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from shootdown_cli import places
from shootdown_cli.classes import load_device
from shootdown_cli.exits import EXIT_INCONCLUSIVE, EXIT_OK, EXIT_VIOLATION
from shootdown_cli.progress import Pulse
from shootdown_cli.scenarios import load_scenario
from shootdown_daemon.shell.disciplines import load_discipline
from shootdown_daemon.shell.mutants import load_mutant
from shootdown_device_agent.machine.device import Device
from shootdown_protocol.errors import ErrorCode, UsageError
from shootdown_protocol.faults import KINDS
from shootdown_verify.explore import (
    INTERRUPTED,
    Budget,
    Counterexample,
    Exploration,
    Result,
    Strategy,
    TracedStep,
    Verdict,
    explore,
)
from shootdown_verify.fault_tasks import NO_FAULTS, Environment, environment
from shootdown_verify.judge.instance import judge_instance
from shootdown_verify.litmus import Scenario
from shootdown_verify.replay_file import VERSION, Replay, count_occurrences, render_replay
from shootdown_verify.source import nearest

if TYPE_CHECKING:
    from shootdown_cli.shrink import Kept

OVER_BUDGET = ((Strategy.PREEMPTIONS, 0.5), (Strategy.PCT, 0.25), (Strategy.POS, 0.25))
"""What is tried when an exhaustive search runs out, each with its share of the rest of the time."""
EXHAUSTIVE_SHARE = 0.5
RAISED = 8
"""Among how many searches with fewer faults, at most, the time for them is shared out evenly."""
SHRINK_SHARE = 0.1
"""What the search of one smaller scenario may take, of the time that was given."""
VACUOUS = "no translation could have been stale, so nothing was put to the test"


@dataclass(frozen=True, slots=True)
class ExploreOptions:
    """What the command line said.

    ``most_faults`` None leaves it to the scenario; ``faults`` is what follows for the one at hand.
    """

    discipline: str
    strategy: str
    preemptions: int
    budget: Budget
    seed: int
    device: str
    mutant: str
    out: Path
    as_json: bool
    shrink: bool = False
    faults: Environment = NO_FAULTS
    most_faults: int | None = None
    fault_kinds: str = ""


@dataclass(frozen=True, slots=True)
class Explored:
    """One scenario's result; ``reason`` says why it is inconclusive.

    ``further`` are searches made after an exhaustive one had run out of its budget; ``shrunk`` is
    the same violation in the smallest part of the scenario, if that was asked for.
    """

    scenario: Scenario
    options: ExploreOptions
    result: Result
    further: tuple[Result, ...]
    replay: Path | None
    shrunk: Kept | None = None

    @property
    def reason(self) -> str:
        """Why nothing follows from a search that found nothing."""
        if self.result.verdict is Verdict.VIOLATION:
            return ""
        if not self.result.complete:
            return f"stopped by {self.result.stopped_by or 'its strategy, which is not exhaustive'}"
        return "" if self.result.hazards.stale_hits else VACUOUS

    @property
    def verdict(self) -> Verdict:
        """The result's verdict, but never ok when nothing was put to the test."""
        return Verdict.INCONCLUSIVE if self.reason else self.result.verdict

    @property
    def first(self) -> Counterexample | None:
        """The counterexample to show."""
        return self.result.counterexamples[0] if self.result.counterexamples else None

    @property
    def weakest_model(self) -> str | None:
        """The weakest memory model that the counterexample breaks."""
        if self.first is None:
            return None
        records = (*self.first.records, *self.first.aftermath)
        judged = judge_instance(records, self.scenario.program, self.scenario.conditions)
        return None if judged.weakest_model is None else judged.weakest_model.label


def explore_all(
    names: Sequence[str], options: ExploreOptions, settings: tuple[str, ...] = ()
) -> int:
    """Explore one scenario after the other; the worst verdict gives the exit status.

    ``settings`` say what devices are like, as ``NAME=VALUE``.
    """
    if options.strategy not in list(Strategy):
        like = nearest(options.strategy, Strategy)
        raise UsageError(
            ErrorCode.USAGE,
            seen=repr(options.strategy) + (f"; did you mean {like}?" if like else ""),
            expected=", ".join(Strategy),
            where="--strategy",
        )
    scenarios = [load_scenario(name, settings) for name in names]
    verdicts = []
    for scenario in scenarios:
        explored = _explore(scenario, options)
        print(json.dumps(_object(explored)) if options.as_json else _text(explored), flush=True)
        verdicts.append(explored.verdict)
        if explored.result.stopped_by == INTERRUPTED:
            break
    if Verdict.VIOLATION in verdicts:
        return EXIT_VIOLATION
    return EXIT_INCONCLUSIVE if Verdict.INCONCLUSIVE in verdicts else EXIT_OK


def _explore(scenario: Scenario, options: ExploreOptions) -> Explored:
    options = replace(options, faults=_faults_of(scenario, options))
    strategy = Strategy(options.strategy)
    share = EXHAUSTIVE_SHARE if strategy is Strategy.EXHAUSTIVE else 1.0
    result = _with_fewest_faults(scenario, options, strategy, share)
    further: list[Result] = []
    goes_on = result.verdict is Verdict.INCONCLUSIVE and result.stopped_by != INTERRUPTED
    if strategy is Strategy.EXHAUSTIVE and goes_on:
        for other, part in OVER_BUDGET:
            further.append(_search(scenario, options, other, part * (1 - EXHAUSTIVE_SHARE)))
            if further[-1].verdict is Verdict.VIOLATION:
                result = further.pop()
                break
            if further[-1].stopped_by == INTERRUPTED:
                break
    return _kept(scenario, options, result, tuple(further))


def _faults_of(scenario: Scenario, options: ExploreOptions) -> Environment:
    """What may go wrong: as the command line says, else as the scenario does."""
    most = scenario.faults if options.most_faults is None else options.most_faults
    kinds = options.fault_kinds or ",".join(scenario.fault_kinds)
    if options.fault_kinds and not most:
        raise UsageError(
            ErrorCode.USAGE,
            seen=f"--fault-kinds {options.fault_kinds}, and no fault",
            expected="--faults with how many may happen",
            where=scenario.name,
        )
    return environment(kinds, most)


def _with_fewest_faults(
    scenario: Scenario, options: ExploreOptions, strategy: Strategy, share: float
) -> Result:
    """Search without faults first, then with one more each time, so that none is in vain.

    Where every order was looked at and none applied all that might happen, a search with one more
    would be the same search: that result is the result for any number. The searches with fewer
    have, in all, as much time as the last.
    """
    most, seconds = options.faults.budget, options.budget.seconds * share
    for budget in range(most):
        fewer = replace(options, faults=replace(options.faults, budget=budget))
        result = _search(scenario, fewer, strategy, share / (min(most, RAISED) + 1))
        seconds -= result.elapsed_s
        is_last = result.complete and result.most_faults < budget
        if is_last or result.verdict is Verdict.VIOLATION or result.stopped_by == INTERRUPTED:
            return result
        if seconds <= 0:
            break
    return _search(scenario, options, strategy, share)


def _search(
    scenario: Scenario,
    options: ExploreOptions,
    strategy: Strategy,
    share: float,
    *,
    every: bool = False,
) -> Result:
    """Search by one strategy, in a share of the time that was given."""
    searched: list[Exploration] = []

    def told() -> str:
        far = [each.so_far() for each in searched]
        return ", ".join([f"{scenario.name}: {strategy}", *filter(None, far)])

    with Pulse(told, quiet=options.as_json):
        return explore(
            scenario.program,
            load_discipline(options.discipline),
            conditions=scenario.conditions,
            make_device=load_device(options.device) if options.device else Device,
            mutant=load_mutant(options.mutant),
            strategy=strategy,
            preemptions=options.preemptions,
            budget=replace(options.budget, seconds=options.budget.seconds * share),
            seed=options.seed,
            every=every,
            faults=options.faults,
            interruptible=True,
            watch=searched.append,
        )


def _kept(
    scenario: Scenario, options: ExploreOptions, result: Result, further: tuple[Result, ...]
) -> Explored:
    """Write the first counterexample's replay file into a run directory, shrunk too if asked.

    A disk that takes no file does not make the violation less of one.
    """
    explored = Explored(scenario, options, result, further, None)
    if not result.counterexamples:
        return explored
    found = result.counterexamples[0]
    folder = places.new_run_directory(options.out, scenario.name)
    try:
        path = folder / f"{scenario.name}.replay"
        path.write_text(render_replay(_replay(scenario, options, found)))
        explored = replace(explored, replay=path)
        if options.shrink:
            with Pulse(lambda: f"{scenario.name}: shrinking", quiet=options.as_json):
                explored = replace(explored, shrunk=_shrink(scenario, options, found, folder))
    except OSError as error:
        print(f"shootdown: no replay file could be kept: {error}", file=sys.stderr)
    return explored


def _shrink(
    scenario: Scenario, options: ExploreOptions, found: Counterexample, folder: Path
) -> Kept | None:
    from shootdown_cli.shrink import shrink_found

    # What is left must not need more faults than what was found.
    options = replace(options, faults=replace(options.faults, budget=len(_faults_in(found))))

    def search(smaller: Scenario, every: bool) -> Result:
        return _search(smaller, options, Strategy.EXHAUSTIVE, SHRINK_SHARE, every=every)

    def keep(smaller: Scenario, less: Counterexample, left_out: str) -> tuple[Path, Replay]:
        replay = _replay(smaller, options, less, left_out)
        beside = folder / f"{scenario.name}.shrunk.replay"
        beside.write_text(render_replay(replay))
        return beside, replay

    return shrink_found(scenario, options, found, search, keep)


def _replay(
    scenario: Scenario, options: ExploreOptions, found: Counterexample, shrunk: str = ""
) -> Replay:
    """A counterexample as a replay file has it."""
    return Replay(
        version=VERSION,
        scenario=scenario.name,
        digest=scenario.digest,
        discipline=options.discipline,
        device=options.device,
        mutant=options.mutant,
        faults=str(options.faults),
        seed=options.seed,
        verdict=f"{found.findings[0].check} {found.findings[0].title}",
        outcome=judge_instance(
            (*found.records, *found.aftermath), scenario.program, scenario.conditions
        ).outcome,
        text=scenario.text,
        steps=count_occurrences((step.task, step.step) for step in found.steps),
        shrunk=shrunk,
    )


def _object(explored: Explored) -> dict[str, object]:
    result, first = explored.result, explored.first
    return {
        "command": "explore",
        "scenario": explored.scenario.name,
        "discipline": explored.options.discipline,
        "device": explored.options.device or None,
        "mutant": explored.options.mutant or None,
        "faults": explored.options.faults.budget,
        "fault_kinds": list(explored.options.faults.kinds),
        "faults_applied": [step.task for step in _faults_in(first)],
        "strategy": result.strategy.value,
        "verdict": explored.verdict.value,
        "complete": result.complete,
        "states": result.states,
        "traces": result.traces,
        "blocked": result.blocked,
        "steps": result.steps,
        "preemptions": result.preemptions,
        "shortest_steps": result.shortest_steps,
        "shortest": result.shortest,
        "weakest_model": explored.weakest_model,
        "findings": [
            {"check": each.check, "title": each.title, "task": each.task, "why": each.sentence}
            for each in result.findings
        ],
        "hazards": {
            "accesses": result.hazards.accesses,
            "hits": result.hazards.hits,
            "stale_hits": result.hazards.stale_hits,
            "overlapping": result.hazards.overlapping,
        },
        "bounds": _bounds(result),
        "further": [
            {
                "strategy": other.strategy.value,
                "verdict": other.verdict.value,
                "traces": other.traces,
                "states": other.states,
                "preemptions": other.preemptions,
                "bounds": _bounds(other),
            }
            for other in explored.further
        ],
        "reason": explored.reason or None,
        "elapsed_s": round(result.elapsed_s, 4),
        "counterexample": [
            {"task": step.task, "step": step.step, "effect": step.effect}
            for step in (first.steps if first else ())
        ],
        "replay": None if explored.replay is None else str(explored.replay),
        "shrunk": explored.shrunk and explored.shrunk.as_dict(),
    }


def _faults_in(found: Counterexample | None) -> list[TracedStep]:
    """Steps of the environment in a counterexample."""
    return [step for step in (found.steps if found else ()) if step.step in KINDS]


def _what_is_known(result: Result) -> list[str]:
    """What a search that found nothing is worth, in words."""
    lines = []
    if result.strategy is Strategy.PREEMPTIONS and result.preemptions >= 0:
        lines.append(f"no bug with at most {_counted(result.preemptions, 'preemption')}")
    lines += [
        f"had there been a bug of depth {bound.depth}, {bound.runs:,} runs of {result.strategy} "
        f"would miss it with probability < {bound.miss:.2g}"
        for bound in result.bounds
    ]
    if result.strategy in (Strategy.POS, Strategy.RANDOM):
        lines.append(f"nothing in {result.traces:,} runs of {result.strategy}, without a bound")
    return lines


def _bounds(result: Result) -> list[dict[str, float]]:
    return [{"depth": b.depth, "runs": b.runs, "miss_probability": b.miss} for b in result.bounds]


def _text(explored: Explored) -> str:
    from shootdown_verify.report.verdict import under_what

    result, first = explored.result, explored.first
    options = explored.options
    under = under_what(
        explored.scenario.name, options.discipline, device=options.device, mutant=options.mutant
    )
    work = f"{result.states:,} states" if result.states else f"{result.traces:,} traces"
    took = f"after {result.elapsed_s:.2f} s ({work})"
    if first is None:
        proved = "proved" + f" with at most {options.faults}" * bool(options.faults)
        head = f"{explored.verdict.value.upper()}  {'' if explored.reason else proved}"
        lines = [f"{head}{explored.reason}      {under}", f"           {took}"]
        if options.faults and result.complete and result.most_faults < options.faults.budget:
            lines.append(f"           no order applies more than {result.most_faults}")
        for other in (result, *explored.further):
            lines += [f"           {line}" for line in _what_is_known(other)]
        return "\n".join(lines)
    return "\n".join([*_head(explored, first, under, took), "", *_run(explored, first)])


def _head(explored: Explored, first: Counterexample, under: str, took: str) -> list[str]:
    model = explored.weakest_model
    order = f"  {model} order broken" if model else ""
    how = "shortest" if explored.result.shortest else "first found"
    count = f"{len(first.steps)} steps ({how}), {_counted(first.preemptions, 'preemption')}"
    if explored.options.faults:
        count += f", {_counted(len(_faults_in(first)), 'fault')}"
    lines = [
        f"VIOLATION  {first.findings[0].title}{order}      {under}",
        f"           {count}, {took}",
    ]
    kept = explored.shrunk
    if kept is not None:
        lines.append(f"           shrunk to {kept.size}, made again {kept.same}/{kept.times}:")
        lines.append(f"           {kept.without}")
    elif explored.options.shrink:
        lines.append("           nothing of the scenario can be left out")
    return lines


def _counted(count: int, what: str) -> str:
    """``1 fault``, ``2 faults``."""
    return f"{count} {what}" + "s" * (count != 1)


def _run(explored: Explored, first: Counterexample) -> list[str]:
    """The timeline of what was found, shrunk if it is, and how to see it again."""
    from shootdown_verify.report.timeline import render_timeline

    kept = explored.shrunk
    shown = first if kept is None else kept.shrunk.counterexample
    scenario = explored.scenario if kept is None else kept.shrunk.scenario
    timeline = render_timeline(
        shown.records,
        scenario.program,
        shown.findings,
        width=shutil.get_terminal_size((120, 40)).columns,
        color=sys.stdout.isatty(),
    )
    replay = explored.replay if kept is None else kept.replay
    if replay is None:
        return [timeline]
    live = " --live" * (not explored.options.faults)
    return [timeline, "", f"replay  shootdown replay {replay}{live}"]
