"""Faulty devices by name, each a right one but for one thing, beside a kernel that is right.

A device that no scenario catches tests nothing: tests hold that each is caught, by name and check.
"""

from __future__ import annotations

from typing import Final

from shootdown_device_agent.machine.device import Device
from shootdown_device_agent.machine.zoo.caches_not_present import CachesNotPresent
from shootdown_device_agent.machine.zoo.completes_before_drain import CompletesBeforeDrain
from shootdown_device_agent.machine.zoo.completes_what_has_arrived import CompletesWhatHasArrived
from shootdown_device_agent.machine.zoo.drain_waits_for_translation import DrainWaitsForTranslation
from shootdown_device_agent.machine.zoo.duplicate_completion import DuplicateCompletion
from shootdown_device_agent.machine.zoo.gone import Gone
from shootdown_device_agent.machine.zoo.honours_first_page import HonoursFirstPage
from shootdown_device_agent.machine.zoo.ignores_ats_disable import IgnoresAtsDisable
from shootdown_device_agent.machine.zoo.ignores_detach import IgnoresDetach
from shootdown_device_agent.machine.zoo.ignores_global import IgnoresGlobal
from shootdown_device_agent.machine.zoo.ignores_invalidation import IgnoresInvalidation
from shootdown_device_agent.machine.zoo.ignores_pasid import IgnoresPasid
from shootdown_device_agent.machine.zoo.inserts_late import InsertsLate
from shootdown_device_agent.machine.zoo.invalidates_atc_first import InvalidatesAtcFirst
from shootdown_device_agent.machine.zoo.keeps_atc_over_reset import KeepsAtcOverReset
from shootdown_device_agent.machine.zoo.keeps_larger_entries import KeepsLargerEntries
from shootdown_device_agent.machine.zoo.keeps_tables import KeepsTables
from shootdown_device_agent.machine.zoo.miscounts_completions import MiscountsCompletions
from shootdown_device_agent.machine.zoo.needs_two_invalidations import NeedsTwoInvalidations
from shootdown_device_agent.machine.zoo.retries_for_ever import RetriesForEver
from shootdown_device_agent.machine.zoo.serves_read_only import ServesReadOnly
from shootdown_device_agent.machine.zoo.stops_early import StopsEarly
from shootdown_device_agent.machine.zoo.trusts_success import TrustsSuccess
from shootdown_device_agent.machine.zoo.uses_after_completing import UsesAfterCompleting
from shootdown_device_agent.machine.zoo.wrong_itag import WrongItag

ZOO: Final[dict[str, type[Device]]] = {
    "caches_not_present": CachesNotPresent,
    "completes_before_drain": CompletesBeforeDrain,
    "completes_what_has_arrived": CompletesWhatHasArrived,
    "drain_waits_for_translation": DrainWaitsForTranslation,
    "duplicate_completion": DuplicateCompletion,
    "gone": Gone,
    "honours_first_page": HonoursFirstPage,
    "ignores_ats_disable": IgnoresAtsDisable,
    "ignores_detach": IgnoresDetach,
    "ignores_global": IgnoresGlobal,
    "ignores_invalidation": IgnoresInvalidation,
    "ignores_pasid": IgnoresPasid,
    "inserts_late": InsertsLate,
    "invalidates_atc_first": InvalidatesAtcFirst,
    "keeps_atc_over_reset": KeepsAtcOverReset,
    "keeps_larger_entries": KeepsLargerEntries,
    "keeps_tables": KeepsTables,
    "miscounts_completions": MiscountsCompletions,
    "needs_two_invalidations": NeedsTwoInvalidations,
    "retries_for_ever": RetriesForEver,
    "serves_read_only": ServesReadOnly,
    "stops_early": StopsEarly,
    "trusts_success": TrustsSuccess,
    "uses_after_completing": UsesAfterCompleting,
    "wrong_itag": WrongItag,
}
