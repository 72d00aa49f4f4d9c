"""What a device that is at rest does at once is what its server does step by step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.machine.machines import Bench, scene
from tests.verify.record_builders import column, load, location

from shootdown_device_agent.machine.atc import Issued, issued_cell
from shootdown_device_agent.machine.device import Device, DeviceThread
from shootdown_device_agent.machine.zoo import ZOO
from shootdown_engine.channels import InvalidateRequest
from shootdown_engine.store import deliver
from shootdown_protocol.memory import PAGE_SIZE
from shootdown_protocol.messages import InvalidateFlag
from shootdown_protocol.program import State

CONFIGS = st.fixed_dictionaries(
    {
        "iotlb": st.booleans(),
        "walk_cache": st.booleans(),
        "walk_by_level": st.booleans(),
        "atc_entries": st.sampled_from((0, 2)),
        "completions": st.integers(1, 3),
    }
)
FLAGS = st.sampled_from([0, *InvalidateFlag, InvalidateFlag.IOTLB_FIRST | InvalidateFlag.GLOBAL])


def warm_bench(make_device: Callable[..., Device] = Device, **config: Any) -> Bench:  # noqa: ANN401 - fields of a DeviceConfig
    """A device that holds two pages, and does nothing yet."""
    places = (location("A", state=State.RW), location("B", state=State.RW, value=3))
    columns = column("DEV0", load(0, "r0"))
    return Bench(scene(columns, places=places, warm=(0, 1)), make_device=make_device, **config)


def request_of(bench: Bench, pages: int = 1, flags: int = 0, pasid: int = 0) -> InvalidateRequest:
    """A request for a block around A, with a PASID so many past A's."""
    site, block = bench.slot.sites[0], pages * PAGE_SIZE
    return InvalidateRequest(5, site.pasid + pasid, site.va // block * block, block, 0, flags)


@settings(max_examples=60, deadline=None)
@given(CONFIGS, st.sampled_from((1, 1 << 20)), FLAGS, st.integers(0, 1))
def test_it_leaves_what_its_server_leaves(
    config: dict[str, Any], pages: int, flags: int, pasid: int
) -> None:
    """Caches, records and completions are the same, whatever the device and the request."""
    served, at_once = warm_bench(**config), warm_bench(**config)
    request = request_of(served, pages, flags, pasid)
    deliver(served.store, ("invalidate", 0), request)

    while served.task("d0.invalidate").step(served.store):
        pass
    done = at_once.whole.devices[0].serve_at_once(at_once.store, request)

    assert done
    assert at_once.records == served.records != []
    assert at_once.store.cells == served.store.cells


def test_what_must_drain_is_left_to_its_server() -> None:
    """Nothing is completed while an access through a dropped translation is under way."""
    bench = warm_bench()
    device, site = bench.whole.devices[0], bench.slot.sites[0]
    thread = DeviceThread(bench.slot, "DEV0", 0)
    bench.store.put(issued_cell(0, thread.key), Issued(site.pasid, site.vpn, ()))

    done = device.serve_at_once(bench.store, request_of(bench))

    assert not done
    assert bench.store.get(("channel", "completion", 0)) is None


@pytest.mark.parametrize("name", sorted(ZOO))
def test_a_device_that_serves_otherwise_is_never_served_at_once(name: str) -> None:
    """Whoever changes which steps there are, or their order, keeps its own server."""
    kind = ZOO[name]
    own = {"serve_invalidate", "step_take_invalidate", "invalidate", "complete"} & set(vars(kind))

    device = warm_bench(kind).whole.devices[0]

    assert device.is_straight == (not own and not device.config.vector)
