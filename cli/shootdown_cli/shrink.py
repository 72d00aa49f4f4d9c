"""``explore --shrink``: the smallest part of a scenario that goes wrong in the same way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from shootdown_cli.declared import DISCIPLINE
from shootdown_cli.replay import follow_here
from shootdown_daemon.machine.disciplines import DISCIPLINES
from shootdown_daemon.machine.operations import OPERATIONS
from shootdown_verify.explore import Counterexample
from shootdown_verify.litmus import Scenario, parse
from shootdown_verify.replay_file import Replay
from shootdown_verify.shrinking import Search, Shrunk, claim_of, shrink

if TYPE_CHECKING:
    from shootdown_cli.explore import ExploreOptions

TIMES: Final = 10
"""How often what was found is made again."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What was found, where its replay file is, and how often it was the same of `TIMES`."""

    shrunk: Shrunk
    replay: Path
    same: int
    times: int = TIMES

    @property
    def without(self) -> str:
        """What was left out, in words."""
        return said(self.shrunk)

    @property
    def size(self) -> str:
        """``3 threads, 1 location, 17 steps``."""
        program, found = self.shrunk.scenario.program, self.shrunk.counterexample
        counts = (
            (len(program.columns), "thread"),
            (len(program.locations), "location"),
            (len(found.steps), "step"),
        )
        return ", ".join(f"{count} {what}{'s' * (count != 1)}" for count, what in counts)

    def as_dict(self) -> dict[str, object]:
        """For ``--json``."""
        found = self.shrunk.counterexample
        return {
            "without": list(self.shrunk.dropped),
            "tried": self.shrunk.tried,
            "threads": [column.name for column in self.shrunk.scenario.program.columns],
            "locations": [place.name for place in self.shrunk.scenario.program.locations],
            "digest": self.shrunk.scenario.digest,
            "steps": len(found.steps),
            "shortest": self.shrunk.shortest,
            "preemptions": found.preemptions,
            "counterexample": [
                {"task": step.task, "step": step.step, "effect": step.effect}
                for step in found.steps
            ],
            "times": self.times,
            "same": self.same,
            "replay": str(self.replay),
        }


def said(shrunk: Shrunk) -> str:
    """``without thread CPU1, location B``."""
    return f"without {', '.join(shrunk.dropped)}"


def shrink_found(
    scenario: Scenario,
    options: ExploreOptions,
    found: Counterexample,
    search: Search,
    keep: Callable[[Scenario, Counterexample, str], tuple[Path, Replay]],
) -> Kept | None:
    """Shrink, write a replay file and follow it again; None if nothing could be left out.

    At most half of the time that the search had is spent on it.
    """

    def read(text: str) -> Scenario:
        return parse(text, scenario.path, operations=OPERATIONS, disciplines=DISCIPLINES)

    subjects = [("device", options.device)] * bool(options.device)
    subjects += [("mutant", options.mutant)] * bool(options.mutant)
    if options.discipline != DISCIPLINE or not subjects:
        subjects.insert(0, ("", options.discipline))
    shrunk = shrink(
        scenario,
        found,
        read,
        search,
        claim=claim_of(subjects, found.findings[0].check),
        seconds=options.budget.seconds / 2,
    )
    if shrunk is None:
        return None
    path, replay = keep(shrunk.scenario, shrunk.counterexample, said(shrunk))
    attempts = follow_here(replay, shrunk.scenario, TIMES)
    return Kept(shrunk, path, sum(attempt.same_as(replay) for attempt in attempts))
