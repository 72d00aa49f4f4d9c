"""Faulty devices by name, each a right one but for one thing, beside a kernel that is right.

A device that no scenario catches tests nothing: tests hold that each is caught, by name and check.
"""

from __future__ import annotations

from typing import Final

from shootdown_device_agent.machine.device import Device
from shootdown_device_agent.machine.zoo.caches_not_present import CachesNotPresent
from shootdown_device_agent.machine.zoo.completes_before_drain import CompletesBeforeDrain
from shootdown_device_agent.machine.zoo.drain_waits_for_translation import DrainWaitsForTranslation
from shootdown_device_agent.machine.zoo.ignores_invalidation import IgnoresInvalidation
from shootdown_device_agent.machine.zoo.inserts_late import InsertsLate
from shootdown_device_agent.machine.zoo.needs_two_invalidations import NeedsTwoInvalidations
from shootdown_device_agent.machine.zoo.serves_read_only import ServesReadOnly

ZOO: Final[dict[str, type[Device]]] = {
    "caches_not_present": CachesNotPresent,
    "completes_before_drain": CompletesBeforeDrain,
    "drain_waits_for_translation": DrainWaitsForTranslation,
    "ignores_invalidation": IgnoresInvalidation,
    "inserts_late": InsertsLate,
    "needs_two_invalidations": NeedsTwoInvalidations,
    "serves_read_only": ServesReadOnly,
}
