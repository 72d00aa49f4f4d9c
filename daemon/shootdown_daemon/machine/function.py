"""Steps on the registers of a slot's devices: ATS on and off, pending transactions, reset.

A device obeys its control register in its own time and says so in its status. Only programs that
attach, detach or reset devices have registers; in all others ATS is on for good.
"""

from __future__ import annotations

from shootdown_engine.slot import Slot
from shootdown_engine.store import Store
from shootdown_engine.trap import BLOCKED, Blocked
from shootdown_protocol.board import ATS_ENABLE, F_CONTROL, F_STATUS, ONE_RESET


def begin(store: Store, slot: Slot) -> None:
    """Lay out the registers as an instance begins."""
    control = ATS_ENABLE if slot.program.begins_attached else 0
    for first in slot.functions:
        store.store(first + F_CONTROL, control)
        store.store(first + F_STATUS, control)


def enable_ats(store: Store, first: int) -> None:
    """``pci_enable_ats()``: the device may ask for translations, and use them."""
    store.store(first + F_CONTROL, store.load(first + F_CONTROL) | ATS_ENABLE)


def disable_ats(store: Store, first: int) -> None:
    """``pci_disable_ats()``: it may no more; what it has begun goes on."""
    store.store(first + F_CONTROL, store.load(first + F_CONTROL) & ~ATS_ENABLE)


def function_level_reset(store: Store, first: int) -> None:
    """``pcie_flr()``: initiate a reset, which also disables ATS."""
    control = store.load(first + F_CONTROL) & ~ATS_ENABLE
    store.store(first + F_CONTROL, control + ONE_RESET)


def wait_obeyed(store: Store, first: int) -> Blocked | None:
    """Guard: the device has obeyed, and has nothing under way that it began before."""
    if store.load(first + F_STATUS) != store.load(first + F_CONTROL):
        return BLOCKED
    return None
