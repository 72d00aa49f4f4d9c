"""Steps on who may use a PASID: its table entry, who is told of invalidations, its page requests.

A program binds or unbinds address spaces if a column says so; one that is bound by a column begins
without. In all others PASIDs are bound for good, and nothing here costs them anything. Where the
address spaces have one PASID in turn, the first that no column binds has it at the start.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Final

from shootdown_daemon.machine import iommu
from shootdown_engine.slot import reuses_pasid
from shootdown_engine.store import Store
from shootdown_engine.trap import BLOCKED, Blocked
from shootdown_protocol.memory import NONE, make_table_entry, pte_present
from shootdown_protocol.program import ATTACH, FUNCTION_OPERATIONS, Op, Program

if TYPE_CHECKING:
    from shootdown_daemon.machine.kernel import KernelSlot

BIND: Final = "iommu_sva_bind_device"
UNBIND: Final = "iommu_sva_unbind_device"


def binds(program: Program) -> bool:
    """Whether a column binds or unbinds an address space, or does so with a whole device."""
    return any(
        line.operation in (BIND, UNBIND, *FUNCTION_OPERATIONS)
        for column in program.columns
        for line in column.instructions
    )


def unbound(program: Program) -> frozenset[int]:
    """Address spaces that begin without a PASID: those that a column binds, or attaches devices to.

    The latter unless devices begin attached. Of those that have one PASID in turn, all but one.
    """
    opening = (BIND,) if program.begins_attached else (BIND, ATTACH)
    bound_later = frozenset(
        program.locations[line.location].mm
        for column in program.columns
        for line in column.instructions
        if line.op is Op.RUN and line.operation in opening
    )
    if not reuses_pasid(program):
        return bound_later
    spaces = range(len(program.mms))
    first = next((mm for mm in spaces if mm not in bound_later), None)
    return frozenset(mm for mm in spaces if mm != first)


def begin(store: Store, kslot: KernelSlot) -> None:
    """Lay out who may use each PASID as an instance begins."""
    without = unbound(kslot.kernel.program)
    store.put(_queue_cell(kslot.index), None)
    store.put(_busy_cell(kslot.index), None)
    spaces = enumerate(kslot.slot.pasids)
    for mm, pasid in sorted(spaces, key=lambda space: space[0] not in without):
        cell = _attached_cell(pasid)
        attached = store.get(cell) or iommu.members(store, pasid)
        assert isinstance(attached, tuple)
        store.put(cell, attached or None)
        store.put(("members", pasid), None if mm in without else attached or None)
        entry = NONE if mm in without else make_table_entry(kslot.roots[mm])
        store.store(kslot.pasid_words[mm], entry)
        if kslot.kernel.reuses_pasid:
            store.put(_holder_cell(pasid), None if mm in without else mm)


def alloc_pasid(store: Store, pasid: int, mm: int) -> Blocked | None:
    """``iommu_alloc_global_pasid()``. Guard: nobody has the PASID."""
    if store.get(_holder_cell(pasid)) is not None:
        return BLOCKED
    store.put(_holder_cell(pasid), mm)
    forget_stop_markers(store, (pasid,))
    return None


def free_pasid(store: Store, pasid: int) -> None:
    """``iommu_free_global_pasid()``: it may be given to another address space."""
    store.put(_holder_cell(pasid), None)


def cache_tag_assign(store: Store, pasid: int) -> None:
    """``cache_tag_assign_domain()``: the devices are told of invalidations from now on."""
    store.put(("members", pasid), store.get(_attached_cell(pasid)))


def cache_tag_unassign(store: Store, pasid: int) -> None:
    """``cache_tag_unassign_domain()``: they are told no more."""
    store.put(("members", pasid), None)


def set_dev_pasid(store: Store, word: int, root: int) -> None:
    """``set_dev_pasid()``: enter the root, from when on devices translate."""
    store.store(word, make_table_entry(root))


def clear_entry(store: Store, word: int) -> None:
    """``pasid_clear_entry()``: a walk that begins from now on finds nothing."""
    store.store(word, NONE)


def wait_stop_markers(store: Store, pasid: int) -> Blocked | None:
    """Guard: every device has said that its page requests of the PASID have all been sent."""
    for device in iommu.members(store, pasid):
        if store.get(stop_cell(device, pasid)) is None:
            return BLOCKED
    return None


def stop_cell(device: int, pasid: int) -> tuple[Hashable, ...]:
    """Cell of the stop marker that has come from a device."""
    return ("stop_marker", device, pasid)


def forget_stop_markers(store: Store, pasids: tuple[int, ...]) -> None:
    """Begin anew: devices use their PASIDs again."""
    for pasid in pasids:
        for device in iommu.members(store, pasid):
            store.put(stop_cell(device, pasid), None)


def drain_prq(store: Store, slot: int) -> Blocked | None:
    """``intel_iommu_drain_pasid_prq()``. Guard: no page request waits or is being resolved."""
    if store.get(("channel", "page_request", slot)) or store.get(_busy_cell(slot)):
        return BLOCKED
    return None


def remove_queue(store: Store, slot: int) -> None:
    """``iopf_queue_remove_device()``: what is reported now has nowhere to go."""
    store.put(_queue_cell(slot), "removed")


def addressed(store: Store, kslot: KernelSlot, location: int) -> int | None:
    """The location that a page request is for: of the address space that its PASID leads to now.

    None: that has nothing at the address.
    """
    if not kslot.kernel.reuses_pasid:
        return location
    site = kslot.slot.sites[location]
    entry = store.load(kslot.pasid_words[site.mm])
    here = (s for s in kslot.slot.sites if s.va == site.va)
    return next((s.index for s in here if make_table_entry(kslot.roots[s.mm]) == entry), None)


def queue_removed(store: Store, slot: int) -> bool:
    """Whether what is reported has nowhere to go."""
    return store.get(_queue_cell(slot)) is not None


def add_queue(store: Store, slot: int) -> None:
    """``iopf_queue_add_device()``: what is reported from now on is taken in."""
    store.put(_queue_cell(slot), None)


def takes_requests(store: Store, kslot: KernelSlot, mm: int) -> bool | None:
    """Whether a page request for an address space is taken in.

    False: the IOMMU itself refuses it, for the PASID has no entry. None: it is lost.
    """
    if not pte_present(store.load(kslot.pasid_words[mm])):
        return False
    return None if queue_removed(store, kslot.index) else True


def note_busy(store: Store, slot: int, *, busy: bool) -> None:
    """Note that a page request is being resolved, or is no more."""
    store.put(_busy_cell(slot), busy or None)


def _attached_cell(pasid: int) -> tuple[Hashable, ...]:
    return ("attached", pasid)


def _holder_cell(pasid: int) -> tuple[Hashable, ...]:
    return ("pasid_of", pasid)


def _queue_cell(slot: int) -> tuple[Hashable, ...]:
    return ("iopf_queue", slot)


def _busy_cell(slot: int) -> tuple[Hashable, ...]:
    return ("iopf_busy", slot)
