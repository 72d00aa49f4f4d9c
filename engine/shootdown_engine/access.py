"""One access to a frame, by whomever: where S1's evidence is taken and versions are made.

An access *begins* with `begin` (what it must obey) and *takes effect* with `take_effect`, which
may be a later step. Both are called within steps.
"""

from __future__ import annotations

from typing import NamedTuple

from shootdown_engine.memory import PhysicalMemory
from shootdown_engine.slot import Site, Slot
from shootdown_engine.store import Store
from shootdown_protocol import words
from shootdown_protocol.board import READ, WRITE
from shootdown_protocol.history import Access, Kind, Place
from shootdown_protocol.memory import GENERATION_MODULUS


class Intent(NamedTuple):
    """What a column wants of a location: a load into a register or a store of a value."""

    kind: Kind
    location: int
    value: int
    register: str


class Begun(NamedTuple):
    """Floor and limit (board words) at the moment an access began."""

    floor: int
    limit: int


class Target(NamedTuple):
    """Where a translation leads: page number and the generation its entry carried."""

    pfn: int
    generation: int
    hit: bool
    stale: bool


class Met(NamedTuple):
    """What an access found: S1's verdict, whose version it was, which, and its value."""

    place: Place
    source: int
    order: int
    value: int


def begin(store: Store, site: Site) -> Begun:
    """Read what an access that begins now must obey."""
    return Begun(store.load(site.floor), store.load(site.limit))


def identify(
    memory: PhysicalMemory, slot: Slot, site: Site, pfn: int, word: int, generation: int
) -> Met:
    """Say what a word that was met in a frame is, as seen by an access to ``site``.

    The zero page is never freed, so entries for it carry their location's epoch where others
    carry the frame's generation; its word is version 0 of that epoch.
    """
    instance = slot.instance
    source = site.word
    while source >= 0:
        if words.same_logical_word(word, instance, source):
            return Met(Place.OK, source, words.order_of(word), word & words.VALUE_MAX)
        source = slot.sites[source].parent
    if word == 0 and pfn == memory.zero_pfn:
        epoch = generation & words.EPOCH_MAX
        return Met(Place.OK, site.word, words.make_order(epoch, 0), 0)
    if words.is_poison(word):
        return Met(Place.POISON, -1, -1, 0)
    if words.is_data(word):
        return Met(Place.FOREIGN, -1, -1, word & words.VALUE_MAX)
    return Met(Place.UNKNOWN, -1, -1, 0)


def take_effect(
    store: Store, memory: PhysicalMemory, slot: Slot, intent: Intent, begun: Begun, target: Target
) -> int:
    """Load or store through a translation, judge its place, report it; gives the value seen.

    The frame's generation is read before the word: a difference proves that the frame was freed
    before the access, and so does a word that is not a version of the location. The report is of
    the logical word: an access through another address of it counts as one of the word's location.
    """
    if memory.host is not None:
        return memory.host.access(slot, intent, target)
    site = slot.sites[intent.location]
    intent = intent._replace(location=site.word)
    if not memory.exists(target.pfn):
        store.emit(_record(intent, begun, target, Met(Place.NO_FRAME, -1, -1, 0), -1, -1))
        return 0
    generation = store.load(memory.generation_word(target.pfn)) % GENERATION_MODULUS
    where = memory.first_word(target.pfn) + site.word_offset
    begun = _permitted(store, site, intent, begun)
    met = identify(memory, slot, site, target.pfn, store.load(where), target.generation)
    lives = generation == target.generation or target.pfn == memory.zero_pfn
    if not lives and met.place is Place.OK:
        met = met._replace(place=Place.GENERATION)
    if intent.kind is Kind.LOAD:
        store.emit(_record(intent, begun, target, met, met.order, -1))
        return met.value
    order = _store(store, slot, site, where, met, intent.value)
    store.emit(_record(intent, begun, target, met, order, met.order))
    return intent.value


def kept_from(store: Store, memory: PhysicalMemory, slot: Slot, intent: Intent, pfn: int) -> None:
    """Report an access that is not made: its translation is none that the device was answered."""
    site = slot.sites[intent.location]
    place = Place.FOREIGN if memory.exists(pfn) else Place.NO_FRAME
    target = Target(pfn, 0, hit=False, stale=False)
    intent = intent._replace(location=site.word)
    store.emit(_record(intent, begin(store, site), target, Met(place, -1, -1, 0), -1, -1))


def _permitted(store: Store, site: Site, intent: Intent, begun: Begun) -> Begun:
    """What an access must obey: it may take effect under a permission that has come back since."""
    needed = READ if intent.kind is Kind.LOAD else WRITE
    if begun.limit & needed:
        return begun
    return Begun(begun.floor, begun.limit | store.load(site.limit) & needed)


def _store(store: Store, slot: Slot, site: Site, where: int, met: Met, value: int) -> int:
    """Make a version, write it, and raise the floor: the store has then ended."""
    version = store.load(site.version) + 1
    store.store(site.version, version)
    order = met.order if met.source == site.word else words.make_order(store.load(site.epoch), 0)
    epoch, _ = words.split_order(order)
    store.store(where, words.data_word(slot.instance, site.word, epoch, version, value))
    order = words.make_order(epoch, version)
    if store.load(site.floor) <= order:
        store.store(site.floor, order + 1)
    return order


def _record(
    intent: Intent, begun: Begun, target: Target, met: Met, order: int, replaced: int
) -> Access:
    return Access(
        kind=intent.kind,
        location=intent.location,
        value=intent.value if intent.kind is Kind.STORE else met.value,
        order=order,
        met=replaced,
        source=intent.location if intent.kind is Kind.STORE else met.source,
        floor=begun.floor,
        limit=begun.limit,
        place=met.place,
        pfn=target.pfn,
        hit=target.hit,
        stale=target.stale,
        register=intent.register,
    )
