"""Faults that an agent applies to its own devices: which there are, and how often each was applied.

`AgentRun` asks before each step, and only while the daemon has set such a fault.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping
from random import Random

from shootdown_device_agent.machine.device import Device
from shootdown_device_agent.machine.device_faults import OF_DEVICE
from shootdown_engine.store import Store
from shootdown_engine.task import Task
from shootdown_engine.trap import Request
from shootdown_protocol.faults import COUNTER, FaultStatus
from shootdown_protocol.history import Injected

SLOW_WALK = "agent.slow_walk"
WALK = "walk"
_OCCASIONS = {
    "completion.early": ("drain", True),
    "agent.stale": ("", True),
    "agent.hoard": ("atc_insert", False),
}
"""Before which step, and whether of a server, a kind is applied."""
_DRAWS_MAX = 4096


class DeviceFaults:
    """Faults of an agent's devices; ``applied`` counts by number, a last process's too."""

    def __init__(
        self, now: Callable[[], float], log: Callable[[Injected], None], seed: str
    ) -> None:
        """Begin with none; ``seed`` decides what ``prob`` comes to, so each agent has its own."""
        self.applied: dict[int, int] = {}
        self._now = now
        self._log = log
        self._present: tuple[FaultStatus, ...] = ()
        self._random = Random(seed)
        self._slow: list[tuple[float, int, Task]] = []
        self._held = 0
        self._draws: dict[tuple[int, Task], tuple[Request, bool]] = {}

    @property
    def active(self) -> bool:
        """Whether anything may be applied, or is held."""
        return bool(self._present or self._slow)

    @property
    def holds(self) -> bool:
        """Whether a task is held."""
        return bool(self._slow)

    @property
    def counters(self) -> dict[str, int]:
        """How often each was applied, as counters carry it."""
        return {f"{COUNTER}{number}": times for number, times in self.applied.items()}

    def set(self, faults: Iterable[FaultStatus]) -> None:
        """Apply these from now on, and no others."""
        self._present = tuple(faults)
        for status in self._present:
            self.applied.setdefault(status.number, status.applied)

    def take_up(self, counters: Mapping[str, int]) -> None:
        """Count on from what this agent's last process had applied."""
        for name, applied in counters.items():
            if name.startswith(COUNTER):
                number = int(name.removeprefix(COUNTER))
                self.applied[number] = max(self.applied.get(number, 0), applied)

    def before_step(self, store: Store, task: Task) -> None:
        """Apply what belongs before a task's pending step, drawn for once a step."""
        request = task.request
        assert request is not None
        for status in self._present:
            kind = status.fault.kind
            if _OCCASIONS.get(kind) != (request.name, task.server) or self._spent(status):
                continue
            device = getattr(request.apply, "__self__", None)
            if not isinstance(device, Device) or not self._drawn(status, task, request):
                continue
            detail = OF_DEVICE[kind](store, device)
            if detail:
                self._count(status, device.config.name, detail)

    def after_step(self, task: Task, name: str) -> bool:
        """Told of a step; True when its task is held, because its walk takes so long."""
        if name != WALK:
            return False
        for status in self._present:
            if status.fault.kind == SLOW_WALK and not self._spent(status) and self._draw(status):
                fault = status.fault
                jitter = fault.jitter_ms
                ms = fault.ms + (self._random.uniform(-jitter, jitter) if jitter else 0)
                self._held += 1
                heapq.heappush(self._slow, (self._now() + max(0, ms) / 1000, self._held, task))
                self._count(status, task.name, f"a walk takes {ms:.0f} ms")
                return True
        return False

    def release(self) -> list[Task]:
        """Tasks whose walk is over."""
        released = []
        while self._slow and self._slow[0][0] <= self._now():
            released.append(heapq.heappop(self._slow)[2])
        return released

    def _drawn(self, status: FaultStatus, task: Task, request: Request) -> bool:
        """Whether a fault is for this step; a step that is tried again is not drawn for again."""
        if status.fault.prob >= 1.0:
            return True
        known, hit = self._draws.get((status.number, task), (None, False))
        if known is request:
            return hit
        if len(self._draws) > _DRAWS_MAX:
            self._draws.clear()
        hit = self._draw(status)
        self._draws[status.number, task] = request, hit
        return hit

    def _draw(self, status: FaultStatus) -> bool:
        prob = status.fault.prob
        return prob >= 1.0 or self._random.random() < prob

    def _spent(self, status: FaultStatus) -> bool:
        return 0 < status.fault.count <= self.applied[status.number]

    def _count(self, status: FaultStatus, target: str, detail: str) -> None:
        self.applied[status.number] += 1
        self._log(Injected(status.fault.kind, target, status.number, detail))
