"""A device agent on the SDK: a right device with a translation cache of four pages.

Attach it to a running testbed, grade it, or explore it:

    shootdown attach examples/agents/minimal.py --as DEV0
    shootdown conformance examples/agents/minimal.py
    shootdown explore cow-two-pages --device examples/agents/minimal.py
"""

from __future__ import annotations

from typing import ClassVar

from shootdown_device_agent.sdk import Device


class Minimal(Device):
    """All that differs from the right device is what stands here."""

    SETTINGS: ClassVar = {"atc_entries": 4, "replacement": "lru"}
