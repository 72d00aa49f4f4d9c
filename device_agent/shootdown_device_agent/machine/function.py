"""A device as a PCIe function: the control register of a slot, obeyed in the device's own time.

Here are the steps and the task that obeys; what a reset empties is `Device.function_reset`. Slots
of programs that use no such registers have none, and nothing here costs them anything.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Final

from shootdown_device_agent.machine import atc
from shootdown_engine.channels import InvalidateRequest
from shootdown_engine.column import deny
from shootdown_engine.slot import Slot
from shootdown_engine.store import Store
from shootdown_engine.task import Task
from shootdown_engine.trap import BLOCKED, Blocked, trap
from shootdown_protocol.board import ATS_ENABLE, F_CONTROL, F_STATUS, ONE_RESET
from shootdown_protocol.history import Fault, Kind
from shootdown_protocol.memory import LEVELS
from shootdown_protocol.messages import InvalidateFlag

if TYPE_CHECKING:
    from shootdown_device_agent.machine.device import Device
    from shootdown_engine.access import Intent
    from shootdown_engine.walker import WalkFault

OBEY: Final = "function"
"""Name of the step by which a control register is obeyed."""
DISABLED: Final = "ats disabled"
"""Why an access is given up that a device may not begin."""
UNSUPPORTED: Final = "unsupported-request"
"""In place of an answer: the device asked for a translation where it has no domain."""


def function_cell(device: int, slot: int) -> tuple[Hashable, ...]:
    """Cell of what a device has obeyed in a slot; None: what the instance begins with."""
    return ("function", device, slot)


def obeyed(store: Store, device: int, slot: Slot) -> int:
    """What the control register said when the device looked last."""
    held = store.get(function_cell(device, slot.index))
    if held is None:
        return ATS_ENABLE if slot.program.begins_attached else 0
    assert isinstance(held, int)
    return held


def function_servers(device: Device, slot: Slot) -> list[Task]:
    """The task by which a device obeys its register in a slot; none where there is no register."""
    if not slot.functions:
        return []

    async def body() -> None:
        drains = await trap(OBEY, device.step_function, slot)
        if drains:
            await trap("transactions_done", step_settle, device, slot)

    return [Task(f"{device.config.name}.function", body, server=True, owner=slot)]


def step_obey(store: Store, device: Device, slot: Slot) -> bool | Blocked:
    """Guard: the register says something new. Reset if it says so; True: what is begun goes on."""
    first = slot.functions[device.number]
    control = store.load(first + F_CONTROL)
    before = obeyed(store, device.number, slot)
    if control == before:
        return BLOCKED
    store.put(function_cell(device.number, slot.index), control)
    if control // ONE_RESET != before // ONE_RESET:
        device.function_reset(store, slot)
    elif not control & ATS_ENABLE:
        return True
    store.store(first + F_STATUS, control)
    return False


def step_settle(store: Store, device: Device, slot: Slot) -> Blocked | None:
    """Guard: nothing that was begun before is under way, or the register says something new."""
    first = slot.functions[device.number]
    control = obeyed(store, device.number, slot)
    if store.load(first + F_CONTROL) != control:
        return None
    for pasid in slot.pasids:
        for thread in device.threads.get(pasid, ()):
            for cell in (atc.issued_cell, atc.walking_cell):
                if thread[0] == slot.index and store.get(cell(device.number, thread)) is not None:
                    return BLOCKED
    store.store(first + F_STATUS, control)
    return None


def lose_requests(store: Store, device: Device, slot: Slot) -> tuple[InvalidateRequest, ...]:
    """Take the slot's requests that wait in the device out of it, the IOTLB's apart; gives them."""
    cell = ("channel", "invalidate", device.number)
    waiting = store.get(cell) or ()
    assert isinstance(waiting, tuple)
    lost = tuple(each for each in waiting if each.pasid in slot.pasids and is_for_atc(each))
    if lost:
        store.put(cell, tuple(each for each in waiting if each not in lost) or None)
    return lost


def is_for_atc(request: InvalidateRequest) -> bool:
    """Whether a request goes to the device, and not only to the IOTLB in front of it."""
    return not request.flags & InvalidateFlag.IOTLB_ONLY


def is_unsupported(slot: Slot, fault: WalkFault) -> bool:
    """Whether a walk found no domain at all, as where a device has ATS and is not attached."""
    return bool(slot.functions) and fault.level > LEVELS


def step_refuse(store: Store, slot: Slot, intent: Intent, reason: str) -> None:
    """Give an access up; what the IOMMU has answered `UNSUPPORTED` is told of."""
    if reason == UNSUPPORTED:
        write = intent.kind is Kind.STORE
        store.emit(Fault(intent.location, write, UNSUPPORTED, exhausted=False))
    deny(store, slot, intent, reason)
