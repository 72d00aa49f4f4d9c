"""Faults inside a device, and of the channel by which invalidations reach it: one function a kind.

Each looks whether it could be applied now, applies it as one atomic change of the store, and says
what it did; empty: it could not, and nothing has changed. The explorer, a replay and a live agent
call the same ones, and the device knows nothing of them.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from functools import partial
from typing import Final

from shootdown_device_agent.machine import atc
from shootdown_device_agent.machine.atc import CANCELLED, VALID, Issued, Thread, Walking
from shootdown_device_agent.machine.device import Device
from shootdown_engine import walk_cache
from shootdown_engine.channels import InvalidateRequest
from shootdown_engine.fault_step import fault_task
from shootdown_engine.store import Store
from shootdown_engine.task import Task
from shootdown_protocol.limits import ITAGS

DeviceFault = Callable[[Store, Device], str]
_LAST_PAGE = (1 << 52) - 1
_NOTHING = 0
"""Size of a range without a page: who is asked to drop that has nothing to drop."""


def _channel(device: Device) -> tuple[Hashable, ...]:
    return ("channel", "invalidate", device.number)


def _waiting(store: Store, device: Device) -> tuple[InvalidateRequest, ...]:
    queue = store.get(_channel(device))
    assert queue is None or isinstance(queue, tuple)
    return queue or ()


def _requeue(store: Store, device: Device, queue: tuple[InvalidateRequest, ...]) -> None:
    store.put(_channel(device), queue or None)


def drop(store: Store, device: Device) -> str:
    """``inv.drop``: the request that has waited longest is lost."""
    queue = _waiting(store, device)
    if not queue:
        return ""
    _requeue(store, device, queue[1:])
    return f"ITag {queue[0].itag} is lost"


def duplicate(store: Store, device: Device) -> str:
    """``inv.duplicate``: the request that has waited longest is there twice."""
    queue = _waiting(store, device)
    if not queue:
        return ""
    _requeue(store, device, (queue[0], *queue))
    return f"ITag {queue[0].itag} is there twice"


def reorder(store: Store, device: Device) -> str:
    """``inv.reorder``: the request that has waited longest goes last."""
    queue = _waiting(store, device)
    if len(queue) < 2:  # noqa: PLR2004 - one alone overtakes nobody
        return ""
    _requeue(store, device, (*queue[1:], queue[0]))
    return f"ITag {queue[0].itag} is overtaken"


def misnumber(store: Store, device: Device) -> str:
    """``inv.wrong_itag``: the request that has waited longest has another's ITag."""
    queue = _waiting(store, device)
    if not queue:
        return ""
    wrong = queue[0]._replace(itag=(queue[0].itag + 1) % ITAGS)
    _requeue(store, device, (wrong, *queue[1:]))
    return f"ITag {queue[0].itag} has become {wrong.itag}"


def keep_stale(store: Store, device: Device) -> str:
    """``agent.stale``: the request that has waited longest will be completed and drop nothing."""
    queue = _waiting(store, device)
    if not queue or queue[0].size == _NOTHING:
        return ""
    _requeue(store, device, (queue[0]._replace(size=_NOTHING), *queue[1:]))
    return f"ITag {queue[0].itag} drops nothing"


def skip_drain(store: Store, device: Device) -> str:
    """``completion.early``: an access under way is waited for no more."""
    for thread in _threads(device):
        cell = atc.issued_cell(device.number, thread)
        issued = store.get(cell)
        if isinstance(issued, Issued) and issued.drains:
            store.put(cell, issued._replace(drains=()))
            return f"{thread[1]}'s access is not waited for"
    return ""


def hoard(store: Store, device: Device) -> str:
    """``agent.hoard``: a cancelled translation under way counts as good."""
    for thread in _threads(device):
        cell = atc.walking_cell(device.number, thread)
        walking = store.get(cell)
        if isinstance(walking, Walking) and walking.state == CANCELLED:
            store.put(cell, walking._replace(state=VALID))
            return f"{thread[1]}'s cancelled translation will be kept"
    return ""


def restart_warm(store: Store, device: Device) -> str:
    """``agent.restart_warm``: what waits in the device is lost, its caches are as they were."""
    queue = _waiting(store, device)
    if not queue:
        return ""
    _requeue(store, device, ())
    return f"{len(queue)} requests are lost"


def restart(store: Store, device: Device) -> str:
    """``agent.restart``: what waits in the device is lost, and its caches are empty."""
    lost = restart_warm(store, device)
    if lost:
        lose_everything(store, device)
    return lost


def lose_everything(store: Store, device: Device) -> None:
    """Empty every cache, and let no translation under way be inserted."""
    for pasid, vpns in device.pages.items():
        for cache in (device.atc, device.iotlb):
            cache.drop(store, pasid, vpns, 0, _LAST_PAGE)
        if device.config.walk_cache:
            walk_cache.drop_tables(store, device.number, pasid, vpns)
    for thread in _threads(device):
        cell = atc.walking_cell(device.number, thread)
        walking = store.get(cell)
        if isinstance(walking, Walking) and walking.state == VALID:
            store.put(cell, walking._replace(state=CANCELLED))


def fault_tasks(device: Device) -> Iterator[Task]:
    """A task for each kind, as a replay's schedule names it: what it loses, the host must know."""
    for kind, apply in (OF_CHANNEL | OF_DEVICE).items():
        yield fault_task(kind, device.config.name, partial(_apply, apply, device))


def _apply(apply: DeviceFault, device: Device, store: Store) -> str:
    return apply(store, device)


def _threads(device: Device) -> tuple[Thread, ...]:
    return tuple(dict.fromkeys(key for keys in device.threads.values() for key in keys))


OF_CHANNEL: Final[dict[str, DeviceFault]] = {
    "inv.drop": drop,
    "inv.duplicate": duplicate,
    "inv.reorder": reorder,
    "inv.wrong_itag": misnumber,
}
"""Faults of the channel to a device, explored; live, the daemon's end of the link has them."""

OF_DEVICE: Final[dict[str, DeviceFault]] = {
    "completion.early": skip_drain,
    "agent.stale": keep_stale,
    "agent.hoard": hoard,
    "agent.restart": restart,
    "agent.restart_warm": restart_warm,
}
"""Faults inside a device, in the explorer and in an agent alike."""
