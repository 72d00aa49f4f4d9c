"""Judging where a run has come to: all is quiet, or nobody can move any more.

Quiet states are settled as the kernel settles a finished instance (S3 on what is mapped, poison
of free frames) and put to the scenario's condition; others are deadlocks (S5).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from shootdown_daemon.machine.host_faults import quarantine_cell
from shootdown_engine.column import HOPES
from shootdown_engine.store import Store
from shootdown_protocol.history import Resident
from shootdown_protocol.program import Op, Program
from shootdown_verify.check import liveness
from shootdown_verify.check.finding import CONDITION, Finding
from shootdown_verify.check.local import check_record
from shootdown_verify.explore.automaton import ENDED, ROOT, Node, Place
from shootdown_verify.explore.system import REGISTER, System
from shootdown_verify.explore.transition import Memo
from shootdown_verify.judge.outcome import Condition, OutcomeReader

Judged = tuple[tuple[Finding, ...], str]
"""Findings, and the outcome as histograms show it."""


class Ending:
    """Judges ends of runs, each distinct one once; ``outcomes`` are those of all quiet states."""

    def __init__(
        self,
        system: System,
        program: Program,
        conditions: Sequence[Condition],
        settle: Callable[[Store], None],
    ) -> None:
        """Take what the program and its conditions ask for."""
        self.system = system
        self.program = program
        self.outcomes: set[str] = set()
        self._settle = settle
        self._reader = OutcomeReader(program, conditions)
        self._memo = Memo(Node(-1, ENDED, Place(0), None))
        self._known: dict[int, tuple[Finding, ...]] = {}
        self._registers = [
            (column.name, line.register)
            for column in program.columns
            for line in column.instructions
            if line.op is Op.LOAD and line.register
        ]

    def quiet(self, state: int) -> tuple[Finding, ...]:
        """Judge a state in which all tasks have ended and nothing is under way."""
        findings = self._known.get(state & self._memo.mask)
        if findings is None:
            findings = self._judge(state)
            self._known[state & self._memo.mask] = findings
        return findings

    def stuck(self, state: int) -> tuple[Finding, ...]:
        """Judge a state in which nobody can move, or only prowlers for ever.

        A column that waits for something that the scenario hopes for (``when``, ``await``,
        ``sync``) and that never comes is no deadlock of the system: the run has ended without it.
        Where a device was taken for lost nothing is judged any more.
        """
        system = self.system
        if system.is_quiet(state):
            return self.quiet(state)
        if self._is_quarantined(state):
            return ()
        busy = tuple(
            Finding(liveness.NAME, "deadlock", "never ends its round", task=spec.name)
            for task, spec in enumerate(system.specs)
            if spec.server and not spec.prowler and system.node(state, task).number != ROOT
        )
        stuck = self._stuck_columns(state)
        if stuck or busy:
            ended = {n for n, c in enumerate(self.program.columns) if c.name not in stuck}
            return liveness.waits_for_ever(ended, self.program) or busy
        return self.quiet(state)

    def _is_quarantined(self, state: int) -> bool:
        read = self.system.read(state)
        return any(read(quarantine_cell(number)) for number in range(len(self.program.devices)))

    def _stuck_columns(self, state: int) -> frozenset[str]:
        """Unfinished tasks that wait for something other than what their scenario hopes for."""
        system = self.system
        names = set(system.unfinished(state))
        for task, spec in enumerate(system.specs):
            request = system.node(state, task).request
            if spec.name in names and request is not None and request.name in HOPES:
                names.remove(spec.name)
        return frozenset(names)

    def _judge(self, state: int) -> tuple[Finding, ...]:
        registers: dict[str, int | str] = {}

        def observe(store: Store) -> None:
            for task, register in self._registers:
                seen = store.get((REGISTER, task, register))
                if isinstance(seen, int | str):
                    registers[f"{task}:{register}"] = seen
            self._settle(store)

        self.system.observe(self._memo, observe, state)
        records = self.system.store.records
        found = (check_record(record, self.program) for record in records)
        findings = [finding for finding in found if finding is not None]
        finals = {
            self.program.locations[record.location].name: record.value
            for record in records
            if isinstance(record, Resident) and record.order >= 0
        }
        outcome = self._reader.read(registers, finals)
        self.outcomes.add(outcome.text)
        if outcome.forbidden is not None:
            why = f"ended with {outcome.text}, which the scenario forbids: {outcome.forbidden}"
            findings.append(Finding(CONDITION, "forbidden-outcome", why, task="the instance"))
        return tuple(findings)
