"""Faults of completions on their way, of the host's time-out and its memory, one function a kind.

As in a device: each looks whether it could be applied, applies it as one atomic change of the
store, and says what it did; empty: it could not, and nothing has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Final

from shootdown_daemon.machine import resending
from shootdown_daemon.machine.iommu import FIRST, SECONDS, outstanding
from shootdown_daemon.machine.page_alloc import drain_pages
from shootdown_engine.channels import Completion
from shootdown_engine.store import Store
from shootdown_engine.task import Task
from shootdown_engine.trap import BLOCKED, Blocked, trap
from shootdown_protocol.limits import ITAGS

NEVER: Final = "completion.never"
HostFault = Callable[[Store, int], str]
"""Takes the kernel's number of a device."""


def _waiting(store: Store, device: int) -> tuple[Completion, ...]:
    queue = store.get(("channel", "completion", device))
    assert queue is None or isinstance(queue, tuple)
    return queue or ()


def _requeue(store: Store, device: int, queue: tuple[Completion, ...]) -> None:
    store.put(("channel", "completion", device), queue or None)


def drop(store: Store, device: int) -> str:
    """``completion.drop``: the completion that has waited longest is lost.

    Not one of a request that was sent again: to lose that, too, is the end of the run.
    """
    queue = _waiting(store, device)
    if not queue or is_second(store, device, queue[0].numbers):
        return ""
    _requeue(store, device, queue[1:])
    overdue(store, device, queue[0].numbers)
    return f"completion of ITags {list(queue[0].numbers)} is lost"


def duplicate(store: Store, device: int) -> str:
    """``completion.duplicate``: the completion that has waited longest is there twice."""
    queue = _waiting(store, device)
    if not queue:
        return ""
    _requeue(store, device, (queue[0], *queue))
    return f"completion of ITags {list(queue[0].numbers)} is there twice"


def reorder(store: Store, device: int) -> str:
    """``completion.reorder``: the completion that has waited longest goes last."""
    queue = _waiting(store, device)
    if len(queue) < 2:  # noqa: PLR2004 - one alone overtakes nobody
        return ""
    _requeue(store, device, (*queue[1:], queue[0]))
    return f"completion of ITags {list(queue[0].numbers)} is overtaken"


def misnumber(store: Store, device: int) -> str:
    """``completion.wrong_itag``: the completion that has waited longest names other ITags."""
    queue = _waiting(store, device)
    if not queue or is_second(store, device, queue[0].numbers):
        return ""
    turned = queue[0].itags << 1 | queue[0].itags >> ITAGS - 1
    wrong = queue[0]._replace(itags=turned & (1 << ITAGS) - 1)
    _requeue(store, device, (wrong, *queue[1:]))
    overdue(store, device, queue[0].numbers)
    return f"completion of ITags {list(queue[0].numbers)} names {list(wrong.numbers)}"


def time_out(store: Store, device: int) -> str:
    """``completion.late``: the time-out strikes although nothing is lost."""
    for itag in range(ITAGS):
        held = outstanding(store, device, itag)
        if held is None:
            return ""
        if held.state in FIRST:
            struck = resending.expire(store, device, itag)
            return f"the time-out of ITag {itag} strikes" if struck else ""
    return ""


def never(store: Store, device: int) -> str:
    """``completion.never``: the completion that has waited longest is lost; others may be, too."""
    if store.get(_never_cell(device)) is not None or not _waiting(store, device):
        return ""
    store.put(_never_cell(device), True)
    _lose(store, device)
    return "completes nothing any more"


def never_server(device: int, name: str) -> Task:
    """The server that loses completions of a device that completes nothing any more."""

    async def body() -> None:
        await trap("", step_lose, device)

    return Task(f"never.{name}", body, server=True)


def step_lose(store: Store, device: int) -> Blocked | None:
    """Guard: the device completes nothing any more, and a completion of it is there; lose it."""
    if store.get(_never_cell(device)) is None or not _waiting(store, device):
        return BLOCKED
    _lose(store, device)
    return None


def _lose(store: Store, device: int) -> None:
    first, *rest = _waiting(store, device)
    _requeue(store, device, tuple(rest))
    overdue(store, device, first.numbers)


def _never_cell(device: int) -> tuple[Hashable, ...]:
    return ("completes_nothing", device)


def quarantine_cell(device: int) -> tuple[Hashable, ...]:
    """Cell that is set where a device is taken for lost: nothing is judged from then on."""
    return ("quarantined", device)


OF_HOST: Final[dict[str, HostFault]] = {
    "completion.drop": drop,
    "completion.duplicate": duplicate,
    "completion.reorder": reorder,
    "completion.wrong_itag": misnumber,
    "completion.late": time_out,
    NEVER: never,
}
"""Faults on the host's side of a link, by kind."""
MEMORY_PRESSURE: Final = "mem.pressure"


def press(store: Store, slot: int, cpu: int) -> str:
    """``mem.pressure``: a CPU's free list is given back."""
    return "its free list is drained" if drain_pages(store, slot, cpu) else ""


def is_second(store: Store, device: int, itags: tuple[int, ...]) -> bool:
    """Whether one of some ITags is of a request that was sent again."""
    held = (outstanding(store, device, itag) for itag in itags)
    return any(each is not None and each.state in SECONDS for each in held)


def overdue(store: Store, device: int, itags: tuple[int, ...]) -> None:
    """Note that no completion will come of some ITags, so that the time-out can strike."""
    late = store.get(("overdue", device))
    assert late is None or isinstance(late, tuple)
    store.put(("overdue", device), (*(late or ()), *itags) or None)


def time_out_server(device: int, name: str) -> Task:
    """The server whose every round is one time-out of a lost invalidation of a device."""

    async def body() -> None:
        await trap("invalidation_timeout", step_time_out, device)

    return Task(f"timeout.{name}", body, server=True)


def step_time_out(store: Store, device: int) -> Blocked | None:
    """Guard: a completion is overdue, and there is an ITag to send its request again with."""
    late = store.get(("overdue", device))
    if late is None:
        return BLOCKED
    assert isinstance(late, tuple)
    held = outstanding(store, device, late[0])
    if held is not None and held.state in FIRST and not resending.expire(store, device, late[0]):
        return BLOCKED
    if held is not None and held.state in SECONDS:
        store.put(quarantine_cell(device), True)
    store.put(("overdue", device), late[1:] or None)
    return None
