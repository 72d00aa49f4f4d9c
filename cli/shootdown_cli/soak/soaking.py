"""Goes through the rounds of a soak, a line each, shrinks what fails, and ends with counts."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from pathlib import Path

from shootdown_cli import places
from shootdown_cli.exits import EXIT_INCONCLUSIVE, EXIT_OK, EXIT_VIOLATION
from shootdown_cli.faults import shipped_scenarios
from shootdown_cli.scenarios import load_scenario
from shootdown_cli.soak.drawing import Round, draw_round
from shootdown_cli.soak.judging_rounds import Outcome, run_round
from shootdown_daemon.machine.disciplines import DISCIPLINES

ATTEMPTS = 2
"""How often a smaller plan is tried before its round counts as kept: no two runs are the same."""
SLOW = frozenset({"first-touch", "uffd-write-protect", "pagemap-scan", "soft-dirty"})
"""Scenarios whose instances take several times as long as others'."""


class Tally:
    """Counts of a soak."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.rounds = 0
        self.applied: Counter[str] = Counter()
        self.verdicts: Counter[str] = Counter()
        self.kills = self.refused = self.resent = self.leaks = self.hangs = 0
        self.failed: list[int] = []

    def count(self, drawn: Round, outcome: Outcome) -> None:
        """Count a round."""
        self.rounds += 1
        self.applied.update(outcome.applied)
        self.verdicts[outcome.verdict or "none"] += 1
        self.refused += outcome.refused
        self.resent += outcome.resent
        self.leaks += outcome.leaks
        self.hangs += outcome.hung
        if outcome.broken:
            self.failed.append(drawn.seed)
        else:
            self.kills += outcome.kills

    def as_dict(self) -> dict[str, object]:
        """As ``--json`` tells of it."""
        return {
            "rounds": self.rounds,
            "faults_applied": dict(sorted(self.applied.items())),
            "verdicts": dict(sorted(self.verdicts.items())),
            "kills_survived": self.kills,
            "invalidations_resent": self.resent,
            "bad_messages_refused": self.refused,
            "leaks": self.leaks,
            "hangs": self.hangs,
            "failed_seeds": self.failed,
        }


def soak(minutes: float, seed: int, rounds: int, out: Path, *, as_json: bool) -> int:
    """Go on for so many minutes, or so many rounds; gives the exit status.

    Ctrl-C ends it with the counts of the rounds that have ended, and is inconclusive.
    """
    scenarios = [load_scenario(str(path)) for path in shipped_scenarios() if path.stem not in SLOW]
    scenarios = [each for each in scenarios if each.facts is None]
    tally = Tally()
    deadline = time.monotonic() + minutes * 60
    folder: Path | None = None
    status = EXIT_OK
    try:
        while tally.rounds < rounds or (not rounds and time.monotonic() < deadline):
            drawn = draw_round(seed + tally.rounds, scenarios, sorted(DISCIPLINES))
            outcome = run_round(drawn)
            tally.count(drawn, outcome)
            if not as_json:
                print(_line(drawn, outcome), flush=True)
            if outcome.broken:
                folder = folder or places.new_run_directory(out, "soak")
                _report(drawn, outcome, folder, quiet=as_json)
    except KeyboardInterrupt:
        print("shootdown: interrupted, not all rounds were run", file=sys.stderr)
        status = EXIT_INCONCLUSIVE
    _end(tally, seed, as_json=as_json)
    return EXIT_VIOLATION if tally.failed else status


def _line(drawn: Round, outcome: Outcome) -> str:
    times = sum(outcome.applied.values())
    said = "; ".join(outcome.broken) or outcome.verdict
    return (
        f"--seed {drawn.seed:<6} {'BROKEN' if outcome.broken else 'kept':<7}"
        f"{outcome.elapsed_s:5.1f} s  {times:>3} faults  {said:<13} {drawn}"
    )


def _report(drawn: Round, outcome: Outcome, folder: Path, *, quiet: bool) -> None:
    """Write down a failing round, with the fewest faults that still make it fail."""
    smaller = shrink(drawn, outcome)
    name = f"round-{drawn.seed}"
    (folder / f"{name}.testbed.toml").write_text(smaller.testbed)
    (folder / f"{name}.faults.toml").write_text(smaller.plan)
    (folder / f"{name}.txt").write_text("\n".join((str(smaller), *outcome.broken)) + "\n")
    if not quiet:
        print(f"    shrunk from {len(drawn.faults)} faults to {len(smaller.faults)}: {smaller}")
        print(f"    again: shootdown soak --seed {drawn.seed} --rounds 1; files {folder}/{name}.*")


def shrink(drawn: Round, outcome: Outcome) -> Round:
    """Leave out one fault after the other as long as the round still breaks the same promise."""
    wanted = _what(outcome)
    smaller, number = drawn, 0
    while number < len(smaller.faults):
        less = smaller.without(number)
        if any(_what(run_round(less)) & wanted for _ in range(ATTEMPTS)):
            smaller = less
        else:
            number += 1
    return smaller


def _what(outcome: Outcome) -> set[str]:
    """What was broken, without its particulars."""
    return {
        words.partition(":")[0].partition("(")[0].rstrip("0123456789 ") for words in outcome.broken
    }


def _end(tally: Tally, seed: int, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"command": "soak", "seed": seed, **tally.as_dict()}))
        return
    print(f"\n{tally.rounds} rounds, {sum(tally.applied.values()):,} faults applied:")
    for kind, times in sorted(tally.applied.items()):
        print(f"  {times:>8,}  {kind}")
    verdicts = ", ".join(f"{name} {count}" for name, count in sorted(tally.verdicts.items()))
    print(f"verdicts: {verdicts}; invalidations sent again {tally.resent}")
    print(
        f"kills survived {tally.kills}, bad messages refused {tally.refused}, "
        f"leaks {tally.leaks}, hangs {tally.hangs}, promises broken in {len(tally.failed)} rounds"
    )
