"""Whether a run can never move again: not here, not at any agent, and nothing is on its way.

A step changes what guards read, and so does a message; nothing else does. So if between two beats
nobody made a step or was sent a message, and meanwhile each side has tried whatever it has, then
all that is left waits for ever. It takes three equal looks to know that: the tries of the last
interval came after the steps of the first.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from shootdown_daemon.shell.fault_set import FaultSet
from shootdown_daemon.shell.gated_run import GatedRun
from shootdown_daemon.shell.links import AgentLink
from shootdown_daemon.shell.running import Running
from shootdown_protocol.faults import KINDS, Target

IDLE: Final = "idle"
"""Counter of an agent: rounds since it last had anything to try that could go."""
LOOKS: Final = 3


class _Look(NamedTuple):
    """What does not change while nothing moves: steps made and messages sent, but heartbeats."""

    steps: int
    of_agents: tuple[tuple[int, int, int], ...]


class Standstill:
    """Looks at a run with every heartbeat."""

    def __init__(self) -> None:
        """Begin with no look."""
        self._run: Running | None = None
        self._looks: list[_Look] = []
        self._idle: list[int] = []

    def look(self, run: Running, faults: FaultSet) -> bool:
        """Look once more; True when the run can never move again."""
        links = list(run.links.values())
        if run is not self._run or not _may_stand(run, faults) or not _all_answered(links):
            self._run, self._looks = run, []
            return False
        look = _Look(run.live.runner.steps, tuple(map(_of_agent, links)))
        idle = [link.counters[IDLE] for link in links]
        moved = self._looks and look != self._looks[-1]
        tried = all(now > before > 0 for now, before in zip(idle, self._idle, strict=False))
        self._looks = [look] if moved or not tried else [*self._looks, look]
        self._idle = idle
        return len(self._looks) >= LOOKS


def _may_stand(run: Running, faults: FaultSet) -> bool:
    """Whether a batch is under way, and no fault that is or was there can be why it waits.

    What a fault has lost is made good by a time-out, and what it holds goes on.
    """
    if isinstance(run.live, GatedRun) or run.absent or run.unloading_s or not run.live.races:
        return False
    if run.live.faults is not None and run.live.faults.holds:
        return False
    met = (*faults.present, *faults.ended)
    return not any(each.applied and KINDS[each.fault.kind].target is Target.AGENT for each in met)


def _all_answered(links: Iterable[AgentLink]) -> bool:
    """Whether every agent has answered the last heartbeat, and tells of its rounds."""
    return all(
        link.asked_s is None and not link.leaving and not link.queue and IDLE in link.counters
        for link in links
    )


def _of_agent(link: AgentLink) -> tuple[int, int, int]:
    sent, heard = link.sent - link.beats, link.incoming.expected - link.beats
    return sent, heard, link.counters["steps"]
