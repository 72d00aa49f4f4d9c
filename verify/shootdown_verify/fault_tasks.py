"""The environment of an exploration: one task a kind of fault and target, with one budget for all.

Which kinds have a step is said in `shootdown_protocol.faults`; what a step does, by the machine
that it happens in. Losses are noted for the host's time-out, which is a server of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from shootdown_daemon.machine import host_faults
from shootdown_daemon.machine.command_queue import error_servers
from shootdown_daemon.machine.kernel import KernelSlot
from shootdown_device_agent.machine.device import Device
from shootdown_device_agent.machine.device_faults import OF_CHANNEL, OF_DEVICE, DeviceFault
from shootdown_engine.channels import InvalidateRequest
from shootdown_engine.fault_step import BUDGET, fault_task
from shootdown_engine.store import Store
from shootdown_engine.task import Task
from shootdown_protocol.errors import ErrorCode, UsageError
from shootdown_protocol.faults import KINDS
from shootdown_verify.source import nearest

EXPLORED: Final = tuple(kind.name for kind in KINDS.values() if kind.is_explored)
"""Kinds that the explorer has a step for."""
SURVIVED: Final = (
    "inv.drop",
    "inv.reorder",
    "completion.drop",
    "completion.reorder",
    "completion.late",
    "agent.restart",
    "agent.restart_warm",
    "mem.pressure",
)
"""Kinds that a right kernel and a right device get over: those that are on if nobody says which."""
_FIRST: Final = frozenset({"inv.drop", "inv.wrong_itag"})
_ALL: Final = frozenset({"agent.restart", "agent.restart_warm"})


@dataclass(frozen=True, slots=True)
class Environment:
    """What may go wrong: kinds of faults, and how many in all."""

    kinds: tuple[str, ...] = ()
    budget: int = 0

    def __bool__(self) -> bool:
        """Whether anything may."""
        return bool(self.kinds and self.budget)

    def __str__(self) -> str:
        """As a replay file has it: ``1 of inv.drop,completion.drop``; empty for nothing."""
        return f"{self.budget} of {','.join(self.kinds)}" if self else ""


NO_FAULTS: Final = Environment()


def environment(kinds: str, budget: int) -> Environment:
    """What a command line says; `UsageError` names a kind that there is not."""
    if not budget:
        return NO_FAULTS
    named = tuple(kinds.split(",")) if kinds else SURVIVED
    for kind in named:
        known = KINDS.get(kind)
        if known is not None and known.is_explored:
            continue
        hint = nearest(kind, EXPLORED)
        why = "" if known is None else f" ({known.explored})"
        raise UsageError(
            ErrorCode.USAGE,
            seen=f"'{kind}'{why}",
            expected=f"kinds with a step: {', '.join(EXPLORED)}"
            + (f" (did you mean {hint}?)" if hint else ""),
            where="--fault-kinds",
        )
    return Environment(named, budget)


def read_environment(text: str) -> Environment:
    """What a replay file says; `UsageError` as above, or when it is no such thing."""
    if not text:
        return NO_FAULTS
    budget, of, kinds = text.partition(" of ")
    if not of or not budget.isdigit():
        raise UsageError(
            ErrorCode.USAGE, seen=f"'{text}'", expected="NUMBER of KIND,KIND", where="faults"
        )
    return environment(kinds, int(budget))


def fault_tasks(
    faults: Environment, store: Store, kslot: KernelSlot, devices: Sequence[Device]
) -> tuple[list[Task], list[Task]]:
    """Tasks of an environment, and servers of the host's that its faults call for."""
    store.put(BUDGET, faults.budget)
    tasks = [
        task
        for kind in faults.kinds
        for task in (*_of_devices(kind, devices), *_of_cpus(kind, kslot))
    ]
    servers = [host_faults.time_out_server(each.number, each.config.name) for each in devices]
    if host_faults.NEVER in faults.kinds:
        servers += [host_faults.never_server(each.number, each.config.name) for each in devices]
    servers += error_servers(kslot)
    return tasks, servers


def _of_devices(kind: str, devices: Sequence[Device]) -> Iterator[Task]:
    for device in devices:
        if kind in host_faults.OF_HOST:
            apply = partial(_on_host, host_faults.OF_HOST[kind], device.number)
        elif kind in OF_CHANNEL or kind in OF_DEVICE:
            apply = partial(_in_device, kind, (OF_CHANNEL | OF_DEVICE)[kind], device)
        else:
            continue
        yield fault_task(kind, device.config.name, apply)


def _of_cpus(kind: str, kslot: KernelSlot) -> Iterator[Task]:
    if kind != host_faults.MEMORY_PRESSURE:
        return
    for column in kslot.kernel.program.columns:
        if column.device < 0:
            apply = partial(_press, kslot.index, column.cpu)
            yield fault_task(kind, column.name, apply)


def _press(slot: int, cpu: int, store: Store) -> str:
    return host_faults.press(store, slot, cpu)


def _on_host(apply: host_faults.HostFault, device: int, store: Store) -> str:
    return apply(store, device)


def _in_device(kind: str, apply: DeviceFault, device: Device, store: Store) -> str:
    """Apply a device's fault; what it loses will be overdue, and is not lost a second time."""
    lost = _lost(kind, device, store)
    if host_faults.is_second(store, device.number, lost):
        return ""
    detail = apply(store, device)
    if detail and lost:
        host_faults.overdue(store, device.number, lost)
    return detail


def _lost(kind: str, device: Device, store: Store) -> tuple[int, ...]:
    """ITags whose completions will not come if a fault happens now."""
    if kind not in _FIRST | _ALL:
        return ()
    queue = store.get(("channel", "invalidate", device.number)) or ()
    assert isinstance(queue, tuple)
    waiting = tuple(each.itag for each in queue if isinstance(each, InvalidateRequest))
    return waiting[:1] if kind in _FIRST else waiting
