"""Draws a round of a soak from its seed: what runs, on what, and what goes wrong meanwhile.

The same seed draws the same round; nothing of a machine or of the time is in it. Kinds of faults
take turns with the seeds, so that as many rounds as there are kinds have met them all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Final

from shootdown_cli.faults import step_names
from shootdown_device_agent.machine.zoo import ZOO
from shootdown_protocol.faults import KINDS, STEP_NEEDED, Fault, FaultKind, Target
from shootdown_verify.litmus import Scenario

MORE_MOST: Final = 4
"""Most faults of a round beside the one whose turn it is."""
SAFE_SHARE: Final = 0.7
"""Share of rounds under a discipline that the scenario calls safe, so that nothing may be found."""
RIGHT_DEVICE_SHARE: Final = 0.85
RARE: Final = frozenset({"daemon.crash_before", "daemon.crash_after"})
RARE_SHARE: Final = 0.25
"""How often a rare kind that was drawn is kept; each is the end of its run."""
NEEDS_SLOW_WALKS: Final = "agent.hoard"
"""A kind that can only be applied while a walk is cancelled, and where that is seen to happen."""
SLOW_WALKS: Final = Fault("agent.slow_walk", ms=20, prob=0.3)
SLOW_WALKS_IN: Final = "late-insertion"
ALWAYS_MADE: Final = ("lock", "range_start")
"""What the names of steps end with that an operation makes in any case."""
AT_SHARE: Final = 0.5
"""How often a fault of a thread is bound to a step."""
BY_MESSAGES_SHARE: Final = 0.2
"""How often agents have no shared memory, so that all that they do goes over their links."""
BY_MESSAGES_INSTANCES: Final = 100
"""Instances of such a round: where threads are held, a batch takes seconds."""
NEEDS_MEMORY: Final = frozenset({"agent.restart", "agent.restart_warm"})
"""Kinds that are applied to agents with shared memory alone."""
LONGEST_MS: Final = 400
PAUSE_LONGEST_MS: Final = 2500
"""Some pauses outlast the heartbeat limit of a round's testbed."""
TESTBED: Final = """\
agents = {agents}
frames = 4096
instances_per_batch = {per_batch}
window = {window}
heartbeat_ms = 100
heartbeat_limit_ms = 1500
completion_timeout_ms = 400
drain_timeout_ms = 12000
shared_memory = {shared_memory}
"""


@dataclass(frozen=True, slots=True)
class Round:
    """One round. ``safe``: the scenario says that nothing can be found with this discipline.

    ``by_messages``: its agents have no shared memory.
    """

    seed: int
    scenario: str
    discipline: str
    safe: bool
    device: str
    agents: int
    by_messages: bool
    per_batch: int
    window: int
    instances: int
    faults: tuple[Fault, ...]

    @property
    def testbed(self) -> str:
        """A testbed file."""
        return TESTBED.format(
            agents=self.agents,
            per_batch=self.per_batch,
            window=self.window,
            shared_memory="false" if self.by_messages else "true",
        )

    @property
    def plan(self) -> str:
        """A fault plan."""
        return "\n".join(_table(fault) for fault in self.faults)

    def without(self, number: int) -> Round:
        """The same round with a fault less."""
        return replace(self, faults=(*self.faults[:number], *self.faults[number + 1 :]))

    def __str__(self) -> str:
        """Say what it is, in short."""
        kinds = ", ".join(fault.kind for fault in self.faults) or "no faults"
        device = f" device {self.device}" if self.device else ""
        agents = f"{self.agents} agents" + " by messages" * self.by_messages
        return f"{self.scenario} under {self.discipline}{device}, {agents}; {kinds}"


def draw_round(seed: int, scenarios: Sequence[Scenario], disciplines: Sequence[str]) -> Round:
    """Draw the round of a seed."""
    random = Random(f"soak:{seed}")
    turn = LIVE[seed % len(LIVE)]
    scenario = random.choice(scenarios)
    if turn.name == NEEDS_SLOW_WALKS:
        scenario = next((s for s in scenarios if s.name == SLOW_WALKS_IN), scenario)
    safe = [
        each.subject
        for each in scenario.expectations
        if not each.kind and not each.other and not each.caught
    ]
    wants_safe = bool(safe) and random.random() < SAFE_SHARE
    discipline = random.choice(safe if wants_safe else disciplines)
    device = "" if random.random() < RIGHT_DEVICE_SHARE else random.choice(sorted(ZOO))
    window = random.choice((8, 16, 32))
    by_messages = Random(f"memory:{seed}").random() < BY_MESSAGES_SHARE
    by_messages &= turn.name not in NEEDS_MEMORY
    drawn = Round(
        seed=seed,
        scenario=scenario.name,
        discipline=discipline,
        safe=discipline in safe,
        device=device,
        agents=random.choice((1, 1, 2)),
        by_messages=by_messages,
        per_batch=window * random.choice((1, 2, 4)),
        window=window,
        instances=random.choice((100, 200, 400)),
        faults=_draw_faults(random, scenario, turn),
    )
    return replace(drawn, instances=BY_MESSAGES_INSTANCES) if by_messages else drawn


LIVE: Final = tuple(kind for kind in KINDS.values() if kind.is_live)


def _draw_faults(random: Random, scenario: Scenario, turn: FaultKind) -> tuple[Fault, ...]:
    """The kind whose turn it is, wherever it can be applied, and others."""
    drawn = random.sample([kind for kind in LIVE if kind is not turn], random.randint(0, MORE_MOST))
    kept = [kind for kind in drawn if kind.name not in RARE or random.random() < RARE_SHARE]
    if any("at" in kind.parameters for kind in (turn, *kept)):
        steps = sorted(_kernel_steps(scenario))
    else:
        steps = []
    more = [_draw_fault(random, kind, scenario, steps) for kind in kept]
    if turn.name == NEEDS_SLOW_WALKS:
        more = [SLOW_WALKS, *(each for each in more if each.kind != SLOW_WALKS.kind)]
    return (_whole_fault(random, turn, steps), *more)


def _whole_fault(random: Random, kind: FaultKind, steps: Sequence[str]) -> Fault:
    """A fault of a kind that is applied at the first occasion."""
    made = [step for step in steps if step.endswith(ALWAYS_MADE)] or steps
    at = random.choice(made) if kind.name in STEP_NEEDED else ""
    ms = int(LONGEST_MS ** random.random()) if "ms" in kind.parameters else 0
    return Fault(kind.name, at=at, ms=ms, count=random.randint(1, 3))


def _draw_fault(random: Random, kind: FaultKind, scenario: Scenario, steps: Sequence[str]) -> Fault:
    takes = kind.parameters
    needs_step = "ms" not in takes and "at" in takes and kind.target is Target.DAEMON
    at = (
        random.choice(steps) if "at" in takes and (needs_step or random.random() < AT_SHARE) else ""
    )
    threads = [column.name for column in scenario.program.columns if column.device < 0]
    longest = PAUSE_LONGEST_MS if kind.name == "agent.pause" else LONGEST_MS
    return Fault(
        kind.name,
        agent=random.choice(("", "0")) if kind.target is Target.AGENT else "",
        thread=random.choice(("", *threads)) if kind.target is Target.THREAD and not at else "",
        at=at,
        ms=int(longest ** random.random()) if "ms" in takes else 0,
        prob=round(random.uniform(0.05, 1.0), 2) if "prob" in takes else 1.0,
        count=random.randint(1, 5),
    )


def _kernel_steps(scenario: Scenario) -> set[str]:
    """Steps of operations, which only CPU threads make."""
    return {name for name in step_names([scenario.path]) if "." in name and "device." not in name}


def _table(fault: Fault) -> str:
    values = {
        "kind": fault.kind,
        "agent": fault.agent,
        "thread": fault.thread,
        "at": fault.at,
        "ms": fault.ms,
        "prob": fault.prob if fault.prob < 1 else 0,
        "count": fault.count,
    }
    lines = ["[[fault]]"]
    for key, value in values.items():
        if value:
            lines.append(f"{key} = " + (f'"{value}"' if isinstance(value, str) else str(value)))
    return "\n".join(lines) + "\n"
