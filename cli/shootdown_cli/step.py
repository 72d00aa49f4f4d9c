"""``shootdown step``: a person chooses each next step of a scenario, and sees what it changes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from shootdown_cli import places
from shootdown_cli.classes import load_device
from shootdown_cli.exits import EXIT_OK, EXIT_VIOLATION
from shootdown_cli.scenarios import load_scenario
from shootdown_daemon.shell.disciplines import load_discipline
from shootdown_daemon.shell.mutants import load_mutant
from shootdown_device_agent.machine.device import Device
from shootdown_verify.litmus import Scenario
from shootdown_verify.replay_file import VERSION, Replay, render_replay
from shootdown_verify.replaying import in_known_order
from shootdown_verify.report.verdict import under_what
from shootdown_verify.source import nearest
from shootdown_verify.stepping import StepMade, Stepping

HELP = """\
NUMBER or TASK  make that step        u  undo the last step
s [FILE]        save a replay file    j  judge, if what is left ran freely
q               quit                  ?  this help"""


@dataclass(frozen=True, slots=True)
class StepOptions:
    """What the command line said; ``device`` and ``mutant`` empty mean the right ones."""

    discipline: str
    device: str
    mutant: str
    out: Path


def step(name: str, options: StepOptions) -> int:
    """Ask for steps until there is no more input; 1 if one of those made was wrong."""
    scenario = load_scenario(name)
    stepping = Stepping(
        in_known_order(scenario.program),
        load_discipline(options.discipline),
        scenario.conditions,
        load_device(options.device) if options.device else Device,
        load_mutant(options.mutant),
    )
    under = under_what(
        scenario.name, options.discipline, device=options.device, mutant=options.mutant
    )
    print(f"{under}\n{HELP}")
    dialogue = Dialogue(scenario, options, stepping)
    dialogue.run(_lines())
    wrong = any(made.findings for made in stepping.made)
    return EXIT_VIOLATION if wrong else EXIT_OK


def _lines() -> Callable[[], str | None]:
    """Reads a line, None at the end; what is piped in is printed, for the reader of the output."""
    typed = sys.stdin.isatty()

    def read() -> str | None:
        print("> ", end="", flush=True)
        line = sys.stdin.readline()
        if not line:
            print()
            return None
        if not typed:
            print(line.rstrip("\n"))
        return line.strip()

    return read


class Dialogue:
    """Obeys one line after the other."""

    def __init__(self, scenario: Scenario, options: StepOptions, stepping: Stepping) -> None:
        """Begin with whatever has been made."""
        self.scenario = scenario
        self.options = options
        self.stepping = stepping

    def run(self, read: Callable[[], str | None]) -> None:
        """Go on until the end of input or ``q``."""
        self._show_enabled()
        while (line := read()) is not None and line != "q":
            word, _, rest = line.partition(" ")
            match word:
                case "":
                    self._show_enabled()
                case "?":
                    print(HELP)
                case "u":
                    self._undo()
                case "s":
                    self._save(rest.strip())
                case "j":
                    self._judge()
                case _:
                    self._make(word)

    def _make(self, word: str) -> None:
        able = self.stepping.enabled()
        if word.isdecimal() and 0 < int(word[:6]) <= len(able):
            task = able[int(word[:6]) - 1].task
        else:
            task = next((each.task for each in able if each.task.lower() == word.lower()), "")
        if not task:
            print(self._refusal(word))
            return
        _show_made(len(self.stepping.made) + 1, self.stepping.make(task))
        self._show_enabled()

    def _refusal(self, word: str) -> str:
        for each in self.stepping.waiting():
            if each.task.lower() == word.lower():
                return f"{each.task} waits: the guard of {each} is false"
        names = [each.task for each in self.stepping.enabled()]
        like = nearest(word, names)
        hint = f"; did you mean {like}?" if like else ""
        return f"{word!r} is no step that can be made now{hint} (? for help)"

    def _undo(self) -> None:
        undone = self.stepping.undo()
        print(f"undone: {undone.task} {undone.step}" if undone else "there is nothing to undo")
        self._show_enabled()

    def _judge(self) -> None:
        findings, outcome = self.stepping.judged()
        for finding in dict.fromkeys(each.sentence for each in findings):
            print(f"  ! {finding}")
        print(f"  {'violation' if findings else 'ok'}  {outcome}")

    def _save(self, name: str) -> None:
        if not self.stepping.made:
            print("there is nothing to save")
            return
        findings, outcome = self.stepping.judged()
        replay = Replay(
            version=VERSION,
            scenario=self.scenario.name,
            digest=self.scenario.digest,
            discipline=self.options.discipline,
            device=self.options.device,
            mutant=self.options.mutant,
            seed=0,
            verdict=f"{findings[0].check} {findings[0].title}" if findings else "ok",
            outcome=outcome,
            text=self.scenario.text,
            steps=self.stepping.schedule(),
        )
        if name:
            path = Path(name)
        else:
            folder = places.new_run_directory(self.options.out, self.scenario.name)
            path = folder / f"{self.scenario.name}.replay"
        try:
            path.write_text(render_replay(replay))
        except OSError as error:
            print(f"not saved: {error}")
            return
        print(f"saved {path}: {replay.verdict}  {outcome}")

    def _show_enabled(self) -> None:
        able, waits = self.stepping.enabled(), self.stepping.waiting()
        width = max((len(each.task) for each in (*able, *waits)), default=0)
        print()
        for number, each in enumerate(able, 1):
            print(f"{number:>4}  {each.task:<{width}}  {each}")
        for each in waits:
            print(f"   -  {each.task:<{width}}  {each}, waits")
        if not able:
            print("nothing can go any more")
            self._judge()


def _show_made(number: int, made: StepMade) -> None:
    print(f"[{number}] {made.task} {made.step}")
    for said in made.said:
        print(f"      {said}")
    for change in made.changes:
        print(f"    = {change}")
    for finding in made.findings:
        print(f"    ! {finding.check} {finding.title}: {finding.why}")
