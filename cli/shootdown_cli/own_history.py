"""A history of ours for ``shootdown check``: a run directory, or its history files."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Final, NamedTuple

from shootdown_cli.checked import HISTORY_SUFFIX, SHOOTDOWN, Checked
from shootdown_cli.recorded_facts import RecordedFacts, read_facts
from shootdown_cli.scenarios import load_scenario
from shootdown_daemon.machine.disciplines import DISCIPLINES
from shootdown_daemon.machine.operations import OPERATIONS
from shootdown_daemon.shell.running import FACTS_FILE
from shootdown_protocol.errors import ErrorCode, HistoryError, UsageError
from shootdown_protocol.history import Access, Ended, Kind, Resident, Stamped
from shootdown_protocol.history_file import History, read_history
from shootdown_protocol.program import Program
from shootdown_verify.check.finding import Finding, Model
from shootdown_verify.check.passes import MODEL_KEY, NOT_JUDGED, models_from, pass_of
from shootdown_verify.judge.batches import Batch, read_batches
from shootdown_verify.judge.run import VIOLATION, Example, RunJudge, RunVerdict
from shootdown_verify.litmus import Scenario, parse

SCENARIO_FILE: Final = "scenario.litmus"
BOUNDED: Final = "judged batch by batch: memory holds one batch, by every pass"
AS_ONE: Final = "judged as one batch, since nothing tells their size: memory holds the whole run"
_NO_BATCHES: Final = 1 << 62
"""More instances, and more agents, than a run has."""


class Recorded(NamedTuple):
    """Where a history of ours lies, and what is known of the run that left it."""

    name: str
    files: list[Path]
    scenario: Scenario
    facts: RecordedFacts


def check_own(paths: list[Path], scenario: str) -> Checked:
    """Judge a history as the run that left it would have."""
    recorded = _find(paths, scenario)
    verdict, notes = _judge(recorded)
    return Checked(
        path=recorded.name,
        format=SHOOTDOWN,
        verdict=verdict.verdict,
        models=models_of(verdict.weakest_model, judged=verdict.instances > 0),
        findings=list(_findings(verdict, recorded.scenario.program)),
        records=verdict.records,
        text=list(_text(recorded, verdict, notes)),
        reasons=list(verdict.reasons),
        notes=notes,
    )


def _find(paths: list[Path], scenario: str) -> Recorded:
    """The files of a run, its scenario, and what the daemon noted beside them."""
    first = paths[0]
    if first.is_dir():
        folder = first / "history" if (first / "history").is_dir() else first
        files = sorted(folder.glob(f"*{HISTORY_SUFFIX}"))
        if not files:
            raise UsageError(
                ErrorCode.USAGE,
                seen=f"a directory without *{HISTORY_SUFFIX}",
                expected="a run directory, as `shootdown run` makes it, or its history folder",
                where=str(first),
            )
    else:
        folder, files = first.parent, paths
    facts = read_facts(folder)
    name = str(first if first.is_dir() else folder)
    return Recorded(name, files, _scenario(folder, facts, scenario), facts)


def _scenario(folder: Path, facts: RecordedFacts, given: str) -> Scenario:
    """What ran: as it lies beside the history, else as the command line says, else by its name.

    A scenario on the command line that is not the one that ran is an error, never a verdict.
    """
    places = (folder.parent / SCENARIO_FILE, folder / SCENARIO_FILE)
    beside = next((path for path in places if path.is_file()), None)
    kept = None if beside is None else _recorded_scenario(beside)
    if facts.scenario and kept is not None:
        _check_name(facts.scenario, kept.name, str(beside))
    if given:
        told = load_scenario(given)
        ran = facts.scenario or (kept.name if kept is not None else "")
        if ran:
            _check_name(ran, told.name, f"--scenario {given}")
        return kept or told
    if kept is not None:
        return kept
    if facts.scenario:
        return load_scenario(facts.scenario)
    raise UsageError(
        ErrorCode.USAGE,
        seen=f"neither {SCENARIO_FILE} nor {FACTS_FILE} beside the history",
        expected="the scenario that ran, with --scenario",
        where=str(folder),
    )


def _check_name(ran: str, told: str, where: str) -> None:
    """Refuse a scenario that is not the one that ran (`UsageError`)."""
    if told != ran:
        expected = f"{ran}: this run was of {ran}"
        raise UsageError(ErrorCode.USAGE, seen=f"scenario {told}", expected=expected, where=where)


def _recorded_scenario(path: Path) -> Scenario:
    """The scenario that a run kept, which has its own name and not the file's.

    Its claims may name devices and mutants that lay beside it where it came from: any word will do.
    """
    text = path.read_text()
    words = frozenset(text.split())
    name = next(iter(text.split()[1:2]), "")
    return parse(
        text,
        f"{path.parent}/{name}.litmus",
        operations=frozenset(OPERATIONS),
        disciplines=frozenset(DISCIPLINES) | words,
        faulty_devices=words,
        mutants=words,
    )


def _judge(recorded: Recorded) -> tuple[RunVerdict, list[str]]:
    """Judge batch after batch; a file that cannot be read to its end is a reason against ok.

    Where it is not known which instances were a batch, all are taken for one: each is judged, and
    nothing is said of what only a whole batch shows.
    """
    facts = recorded.facts
    size = facts.instances_per_batch if facts.are_whole else _NO_BATCHES
    streams = [Stream(path) for path in recorded.files]
    missing = facts.histories - {path.stem for path in recorded.files}
    run = RunJudge(
        recorded.scenario,
        discipline=facts.discipline,
        agents=max(1, len(facts.agents)) if facts.are_whole else _NO_BATCHES,
    )
    fits = False
    for batch in read_batches(streams, size):
        if not fits:
            _check_fit(batch, recorded)
            fits = True
        whole = facts.are_whole and not missing
        whole = whole and all(each.reaches_beyond(batch.number, size) for each in streams)
        run.judge_batch(batch, ended=whole and _is_ended(batch))
    doubts = [each.doubt for each in streams if each.doubt]
    doubts += [f"the records of {name} are missing" for name in sorted(missing)]
    doubts += [facts.doubt] if facts.doubt else []
    return run.finish(doubts), [BOUNDED if facts.are_whole else AS_ONE]


def _check_fit(batch: Batch, recorded: Recorded) -> None:
    """Refuse a scenario that lacks what records are of (`UsageError`): it is not what ran."""
    program = recorded.scenario.program
    columns = [column.name for column in program.columns]
    for stamped in chain.from_iterable(batch.instances.values()):
        record = stamped.record
        seen = ""
        if isinstance(record, Ended) and columns[record.column : record.column + 1] != [
            stamped.task
        ]:
            seen = f"column {record.column} is {stamped.task}"
        elif getattr(record, "location", -1) >= len(program.locations):
            seen = f"{stamped.task} was at a location of number {getattr(record, 'location', 0)}"
        if seen:
            where = f"{recorded.name}, instance {stamped.instance}"
            has = f"columns {', '.join(columns)} and {len(program.locations)} locations"
            expected = f"records of {recorded.scenario.name}, which has {has}"
            raise UsageError(ErrorCode.USAGE, seen=seen, expected=expected, where=where)


class Stream:
    """One process's records up to where they are damaged; ``doubt`` then says where that is."""

    def __init__(self, path: Path) -> None:
        """Take a file; one that cannot be opened at all is an error."""
        self.doubt = ""
        self._history: History | None = None
        self._name = path.name
        self._last = -1
        try:
            self._history = read_history(path)
        except HistoryError as error:
            if error.code is ErrorCode.HISTORY_REFUSED:
                raise
            self.doubt = str(error)

    def __iter__(self) -> Iterator[Stamped]:
        if self._history is None:
            return
        try:
            for stamped in self._history:
                self._last = stamped.instance
                yield stamped
        except HistoryError as error:
            self.doubt = str(error)
        end = self._history.end
        if end is not None and end.torn_bytes:
            torn = f"a torn tail of {end.torn_bytes} bytes"
            self.doubt = f"{self._name} has {torn}: judged up to it"

    def reaches_beyond(self, batch: int, size: int) -> bool:
        """Whether nothing of a batch that was read can be missing."""
        return not self.doubt or self._last // size > batch


def _is_ended(batch: Batch) -> bool:
    """Whether the daemon had found all quiet: it then looked at what is mapped."""
    return any(
        isinstance(stamped.record, Resident) and stamped.record.final
        for records in batch.instances.values()
        for stamped in reversed(records)
    )


def models_of(weakest: Model | None, *, judged: bool) -> dict[str, str]:
    """A word for each model by its key."""
    if not judged and weakest is None:
        return dict.fromkeys(MODEL_KEY.values(), NOT_JUDGED)
    return {MODEL_KEY[model]: word for model, word in models_from(weakest).items()}


def _findings(verdict: RunVerdict, program: Program) -> Iterator[dict[str, object]]:
    """Each kind of finding by its first example, with how many instances had it."""
    for kind, example in verdict.examples.items():
        finding = next(f for f in example.verdict.findings if (f.check, f.title) == kind)
        model = finding.model or example.verdict.weakest_model
        yield {
            **finding_object(finding, model, example.records, program),
            "instance": example.instance,
            "count": verdict.findings[kind],
        }


def finding_object(
    finding: Finding, model: Model | None, records: tuple[Stamped, ...], program: Program
) -> dict[str, object]:
    """One finding as plain values."""
    by_value = finding.events and len(finding.events) > 1
    named = model if by_value or finding.model is not None else None
    return {
        "pass": pass_of(finding),
        "model": None if named is None else MODEL_KEY[named],
        "events": [_event(records[at], program) for at in finding.events if at < len(records)],
        "why": "; ".join((finding.sentence, *finding.edges)),
        "check": finding.check,
        "title": finding.title,
    }


def _event(stamped: Stamped, program: Program) -> dict[str, object]:
    """A record by who made it, what it was, and when."""
    record = stamped.record
    told: dict[str, object] = {"thread": stamped.task, "start": stamped.begin, "end": stamped.end}
    if isinstance(record, Access):
        told["kind"] = "store" if record.kind == Kind.STORE else "load"
        told["location"] = program.locations[record.location].name
        told["value"] = record.value
        told["order"] = record.order
    else:
        told["kind"] = type(record).__name__.lower()
    return told


def _text(recorded: Recorded, verdict: RunVerdict, notes: list[str]) -> Iterator[str]:
    """What a person is shown."""
    from shootdown_verify.report.verdict import RunFacts, verdict_line

    discipline = recorded.facts.discipline or "?"
    under = RunFacts("check", recorded.scenario.name, discipline, 0, 0.0, recorded.name)
    yield verdict_line(verdict, under)
    yield (
        f"           {recorded.name}: {verdict.records:,} records, {verdict.instances:,} "
        f"instances, {verdict.violations:,} violations"
    )
    words = models_of(verdict.weakest_model, judged=verdict.instances > 0)
    yield "models  " + ", ".join(f"{key} {word}" for key, word in words.items())
    yield from (f"        {note}" for note in notes)
    if verdict.verdict == VIOLATION:
        yield from (f"        {reason}" for reason in verdict.reasons)
    for kind, example in verdict.examples.items():
        yield from _why(kind, example, verdict.findings[kind])


def _why(kind: tuple[str, str], example: Example, count: int) -> Iterator[str]:
    finding = next(f for f in example.verdict.findings if (f.check, f.title) == kind)
    where = f"instance {example.instance}" if example.instance >= 0 else "the history"
    yield ""
    kind_of = f"{pass_of(finding)}: {finding.title} ({finding.check})"
    yield f"why     {kind_of}, {count:,} times, first in {where}"
    yield f"        {finding.sentence}"
    yield from (f"        - {edge}" for edge in finding.edges)
