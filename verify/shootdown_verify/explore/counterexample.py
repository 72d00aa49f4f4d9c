"""Telling a run with findings: only what is needed of it, with few switches, and in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import msgspec

from shootdown_daemon.machine.kernel import settle
from shootdown_protocol.history import Access, AnyRecord, Stamped, Step
from shootdown_verify.check.finding import Finding
from shootdown_verify.explore.effects import Effects
from shootdown_verify.explore.result import Counterexample, TracedStep
from shootdown_verify.explore.system import System
from shootdown_verify.explore.trace import Run, causal_past, follow, gathered, preemptions
from shootdown_verify.explore.transition import Transition
from shootdown_verify.judge.scan import DEVICE_OPERATION
from shootdown_verify.whole import Whole

SETTLE = "settle"
"""Who reports what is found when a finished instance is settled."""
_LOOKUP = "atc_lookup"
_WALK = "walk"
_AFTERMATH_STEPS_MAX = 1000


class Teller:
    """Tells runs of one whole."""

    def __init__(self, whole: Whole, system: System) -> None:
        """Learn the names of its cells."""
        self.whole = whole
        self.system = system
        self.effects = Effects(whole)

    def tell(
        self, schedule: Sequence[int], findings: Sequence[Finding], *, as_it_is: bool = False
    ) -> Counterexample:
        """Tell a run, without the steps that its last one, if that has findings, does not need.

        ``as_it_is``: leave nothing out and change no order.
        """
        system = self.system
        run = follow(system, schedule)
        if run.steps and run.steps[-1].findings and not as_it_is:
            run = follow(system, causal_past(run.steps))
            findings = run.steps[-1].findings
        if not as_it_is:
            run = follow(system, gathered(run.steps))
        began: dict[int, int] = {}
        records = tuple(_stamped(system, run.steps, 0, began))
        rest = self._aftermath(run.states[-1])
        sequence = len(records)
        return Counterexample(
            findings=tuple(_placed(finding, records) for finding in findings),
            steps=tuple(self._steps(run)),
            preemptions=preemptions(system, run),
            records=records,
            aftermath=tuple(
                msgspec.structs.replace(stamped, sequence=sequence + number)
                for number, stamped in enumerate(
                    [
                        *_stamped(system, rest.steps, len(run.steps), began),
                        *self._settled(rest, run),
                    ]
                )
            ),
        )

    def _steps(self, run: Run) -> Iterator[TracedStep]:
        seen: Counter[tuple[int, str]] = Counter()
        for step, state in zip(run.steps, run.states, strict=False):
            request = step.node.request
            assert request is not None
            name = request.full_name
            seen[step.task, name] += 1
            yield TracedStep(
                task=self.system.specs[step.task].name,
                step=name,
                occurrence=seen[step.task, name],
                location=request.location,
                effect=self.effects(self.system, step, state),
            )

    def _aftermath(self, state: int) -> Run:
        """Let a run come to its end: each time the first task that can move moves."""
        system = self.system
        steps: list[Transition] = []
        states = [state]
        while len(steps) < _AFTERMATH_STEPS_MAX and not system.is_quiet(states[-1]):
            able = [s for s in system.enabled(states[-1]) if not system.specs[s.task].prowler]
            if not able:
                break
            steps.append(able[0])
            states.append(able[0].apply(states[-1]))
        return Run(tuple(steps), tuple(states))

    def _settled(self, rest: Run, run: Run) -> Iterator[Stamped]:
        if not self.system.is_quiet(rest.states[-1]):
            return
        self.system.measure(lambda store: settle(store, self.whole.kslot), rest.states[-1])
        time = 2 * (len(run.steps) + len(rest.steps))
        for record in self.system.store.records:
            yield Stamped(time, time + 1, 0, 0, SETTLE, record)


def _stamped(
    system: System, steps: Sequence[Transition], first: int, began: dict[int, int]
) -> Iterator[Stamped]:
    """Records as a live process stamps them, with the number of steps made for a clock.

    ``began`` has when each task's access began, which is its look-up.
    """
    sequence = 0
    for number, step in enumerate(steps, first):
        request = step.node.request
        assert request is not None
        name, time = request.name, 2 * number
        task = system.specs[step.task].name
        if name == _LOOKUP:
            began[step.task] = time
        records: list[AnyRecord] = list(step.records)
        if name and (request.operation != DEVICE_OPERATION or name == _WALK):
            said = Step(request.operation, name, request.location, request.detail)
            records.insert(0, said)
        for record in records:
            begin = began.get(step.task, time) if isinstance(record, Access) else time
            yield Stamped(begin, time + 1, sequence, 0, task, record)
            sequence += 1


def _placed(finding: Finding, records: Sequence[Stamped]) -> Finding:
    """A finding with the place of its record, which is the last of its task that may have it."""
    for index in range(len(records) - 1, -1, -1):
        stamped = records[index]
        if stamped.task == finding.task and not isinstance(stamped.record, Step):
            return msgspec.structs.replace(finding, index=index)
    return finding
