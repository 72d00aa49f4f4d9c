"""The faults of a testbed: which there are, whether one is applied now, how often each was.

Whoever can apply a kind asks `FaultSet.take` at the moment at which it could. A fault ends by
itself: after ``for_ms``, after ``count`` applications, or with the run that it came with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from random import Random
from typing import NamedTuple

import msgspec

from shootdown_protocol.errors import ErrorCode, UsageError
from shootdown_protocol.faults import (
    ALL_AGENTS,
    AT_START,
    COUNTER,
    KINDS,
    RANDOM_AGENT,
    Fault,
    FaultStatus,
    lasting,
    misfits,
)
from shootdown_protocol.limits import FAULTS_MAX

AGENT_APPLIES = frozenset(
    {
        "completion.early",
        "agent.slow_walk",
        "agent.stale",
        "agent.hoard",
    }
)
"""Kinds that happen inside a device, so that the agent applies them, and counts."""


class LiveFault:
    """One fault, its count, and when it heals (by the clock of its set, seconds)."""

    __slots__ = (
        "agent",
        "applied",
        "by_agent",
        "fault",
        "heals_s",
        "holds_until_s",
        "number",
        "of_run",
        "sharers",
        "shares",
        "taken_s",
    )

    def __init__(
        self, number: int, fault: Fault, agent: str, heals_s: float, *, of_run: bool
    ) -> None:
        """Begin with no application; ``agent`` is the name of the one meant, or empty for all."""
        self.number = number
        self.fault = fault
        self.agent = agent
        self.heals_s = heals_s
        self.of_run = of_run
        self.applied = 0
        self.by_agent: dict[str, int] = {}
        self.sharers = 0
        """Among how many agents its count was divided, once it was."""
        self.shares: dict[str, int] = {}
        self.taken_s = self.holds_until_s = 0.0
        """When it was applied last, and when the last of what it holds will go on."""

    @property
    def spent(self) -> bool:
        """Whether it has been applied as often as it may."""
        return bool(self.fault.count) and self.applied >= self.fault.count

    def share(self, agent: str, sharers: int) -> int:
        """How many of its applications are an agent's that applies it itself.

        The first who ask have one more where they cannot all have the same, and whoever joins when
        all is given away has none: so the agents together never exceed the count.
        """
        count = self.fault.count
        if self.agent:
            return count
        if agent not in self.shares:
            self.sharers = self.sharers or sharers
            before = len(self.shares)
            more = before < count % self.sharers
            self.shares[agent] = (count // self.sharers + more) * (before < self.sharers)
        return self.shares[agent]

    def lasts_s(self, random: Random) -> float:
        """How long an application made now lasts."""
        jitter = self.fault.jitter_ms
        ms = max(0.0, self.fault.ms + (random.uniform(-jitter, jitter) if jitter else 0))
        self.holds_until_s = max(self.holds_until_s, self.taken_s + ms / 1000)
        return ms / 1000


class Before(NamedTuple):
    """What there was when a run began: the newest number, and what could still be applied.

    ``applied`` has by number how often each of those had been applied by then.
    """

    newest: int
    applied: Mapping[int, int]


SINCE_START = Before(0, {})
"""For the run of a testbed that is there for it alone: all that ever was is the run's."""


class FaultSet:
    """Faults by number. ``changed`` is told when what agents must know has changed.

    ``agents`` gives the names of the members by their numbers, ``sharers`` how many agents there
    are to apply faults themselves when all have joined; ``now`` is a clock in seconds.
    """

    def __init__(
        self,
        now: Callable[[], float],
        agents: Callable[[], dict[int, str]],
        changed: Callable[[], None],
        sharers: Callable[[], int],
    ) -> None:
        """Begin with none."""
        self.random = Random(0)
        self.live: dict[str, list[LiveFault]] = {}
        self.ended: list[LiveFault] = []
        self._now = now
        self._agents = agents
        self._changed = changed
        self._sharers = sharers
        self._numbers = 0

    @property
    def present(self) -> list[LiveFault]:
        """Faults that may still be applied, in their order."""
        return sorted((f for faults in self.live.values() for f in faults), key=lambda f: f.number)

    def add(self, fault: Fault, *, of_run: bool = False) -> LiveFault:
        """Apply a fault from now on; `UsageError` when it makes no sense here."""
        for misfit in misfits(fault):
            raise UsageError(
                ErrorCode.USAGE, seen=misfit.seen, expected=misfit.expected, where=misfit.where
            )
        if len(self.present) >= FAULTS_MAX:
            raise UsageError(
                ErrorCode.USAGE,
                seen=f"{FAULTS_MAX} faults already",
                expected="`fault clear` first",
                where="faults",
            )
        fault = lasting(fault)
        agent = self._agent(fault)
        heals_s = self._now() + fault.for_ms / 1000 if fault.for_ms else float("inf")
        self._numbers += 1
        live = LiveFault(self._numbers, fault, agent, heals_s, of_run=of_run)
        self.live.setdefault(fault.kind, []).append(live)
        self._tell(fault.kind)
        return live

    def clear(self, which: Callable[[LiveFault], bool]) -> list[LiveFault]:
        """Apply some faults no more; gives those that were present."""
        gone = [fault for fault in self.present if which(fault)]
        for fault in gone:
            self._remove(fault)
        return gone

    def heal(self) -> list[LiveFault]:
        """Faults that have ended and hold something, which is to go on now."""
        now = self._now()
        holding = [fault for fault in self.ended if fault.holds_until_s > now]
        for fault in holding:
            fault.holds_until_s = now
        return holding

    def take(
        self, kind: str, agent: str = "", thread: str = "", step: str = ""
    ) -> LiveFault | None:
        """The fault of a kind that is applied here and now, counted; None for none."""
        for live in self.live.get(kind, ()):
            fault = live.fault
            if (
                (live.agent and live.agent != agent)
                or (fault.thread and fault.thread != thread)
                or (fault.at and fault.at != step)
            ):
                continue
            if self._now() >= live.heals_s:
                self._remove(live)
                return self.take(kind, agent, thread, step)
            if fault.prob < 1.0 and self.random.random() >= fault.prob:
                continue
            live.applied += 1
            live.taken_s = self._now()
            if live.spent:
                self._remove(live)
            return live
        return None

    def heal_due(self) -> None:
        """End the faults whose time is over, whether or not anybody has asked for them."""
        now = self._now()
        for fault in [f for f in self.present if now >= f.heals_s]:
            self._remove(fault)

    def counted(self, agent: str, counters: Mapping[str, int]) -> None:
        """Take in how often an agent has applied its faults, each in all.

        A process that has just taken another's place may not know yet, and takes nothing back.
        """
        for name, applied in counters.items():
            if name.startswith(COUNTER):
                self._count(agent, int(name.removeprefix(COUNTER)), applied)

    def _count(self, agent: str, number: int, applied: int) -> None:
        for live in (*self.present, *self.ended):
            if live.number == number:
                live.by_agent[agent] = max(applied, live.by_agent.get(agent, 0))
                live.applied = sum(live.by_agent.values())
                if live.spent and live in self.live.get(live.fault.kind, ()):
                    self._remove(live)

    def for_agent(self, name: str) -> tuple[FaultStatus, ...]:
        """What an agent is to apply itself: its share of each count, and how much it has used."""
        told = []
        for live in self.present:
            if live.fault.kind not in AGENT_APPLIES or live.agent not in {"", name}:
                continue
            fault = live.fault
            if fault.count:
                share = live.share(name, max(1, self._sharers()))
                if not share:
                    continue
                fault = msgspec.structs.replace(fault, count=share)
            applied = live.by_agent.get(name, 0)
            told.append(FaultStatus(live.number, fault, applied, healed=False))
        return tuple(told)

    def before(self) -> Before:
        """What there is as a run begins, for `within`."""
        self.heal_due()
        return Before(self._numbers, {live.number: live.applied for live in self.present})

    def within(self, before: Before) -> tuple[FaultStatus, ...]:
        """Faults that a run has met since then, each with how often it was applied in it.

        What had ended is none of them. What can only happen when a testbed starts, and did so
        before, is none unless it happened again.
        """
        told = []
        for each in self.statuses():
            if each.number <= before.newest:
                if each.number not in before.applied:
                    continue
                applied = each.applied - before.applied[each.number]
                if not applied and each.fault.kind in AT_START:
                    continue
                told.append(msgspec.structs.replace(each, applied=applied))
            else:
                told.append(each)
        return tuple(told)

    def statuses(self) -> tuple[FaultStatus, ...]:
        """Every fault, those that have ended too, as far back as a message can tell."""
        present = self.present
        ended = self.ended[-(FAULTS_MAX - len(present)) :] if len(present) < FAULTS_MAX else []
        now = self._now()
        over = [
            msgspec.structs.replace(status(live), healed=live.holds_until_s <= now)
            for live in ended
        ]
        return tuple(sorted([*over, *map(status, present)], key=lambda each: each.number))

    def _agent(self, fault: Fault) -> str:
        agents = self._agents()
        if fault.agent in {"", ALL_AGENTS}:
            return ""
        if fault.agent == RANDOM_AGENT:
            return self.random.choice(sorted(agents.values())) if agents else ""
        if fault.agent.isdecimal():
            called = f"agent{int(fault.agent)}"
            # The order in which agents have joined is chance; their names are what people see.
            return called if called in agents.values() else agents.get(int(fault.agent), called)
        return fault.agent

    def _remove(self, live: LiveFault) -> None:
        self.live[live.fault.kind].remove(live)
        if not self.live[live.fault.kind]:
            del self.live[live.fault.kind]
        self.ended.append(live)
        del self.ended[:-FAULTS_MAX]
        self._tell(live.fault.kind)

    def _tell(self, kind: str) -> None:
        assert kind in KINDS
        if kind in AGENT_APPLIES:
            self._changed()


def status(live: LiveFault) -> FaultStatus:
    """A fault as messages tell of it."""
    return FaultStatus(live.number, live.fault, live.applied, healed=False)


def numbers(faults: Iterable[LiveFault]) -> set[int]:
    """Numbers of faults."""
    return {fault.number for fault in faults}
