"""Agents without shared memory get the verdicts of those that have it, scenario by scenario."""

from __future__ import annotations

import pytest
from tests.processes.ground import Ground

THREADS = """
from shootdown_device_agent.sdk import Device, Io, device_thread


class Reads(Device):
    @device_thread
    async def patrol(self, io: Io) -> None:
        for location in io.locations:
            await io.load(location)


class Writes(Device):
    @device_thread
    async def scribble(self, io: Io) -> None:
        await io.store("A", 9)

    def obey(self, store, request):
        pass
"""
Verdicts = dict[tuple[str, ...], int]
"""Exit status of a run of a scenario, as the scenario's own claims say it."""
DEVICES: Verdicts = {
    ("cow-two-pages", "--discipline", "range_end"): 1,
    # A device's own threads, whose accesses no column's instruction says.
    ("cow-two-pages", "--device", "threads.py:Reads"): 0,
    ("zap-use-after-free", "--device", "threads.py:Writes"): 1,
    # Control registers that devices obey.
    ("device-detach",): 0,
    ("device-detach", "--device", "ignores_ats_disable"): 1,
    # What is not the device's, it does not get: the verdict says that it tried.
    ("pasid-tags", "--device", "ignores_pasid"): 1,
    ("stop-marker", "--device", "stops_early"): 1,
}
IOMMU: Verdicts = {
    # The IOTLB, accessed and dirty bits, and walks table by table, all in the daemon.
    ("cve-2026-53057",): 0,
    ("smmuv3-atc-before-tlbi", "--mutant", "atc_before_iotlb"): 1,
    ("madv-free", "--discipline", "none"): 1,
    ("munmap-page-tables", "--discipline", "range_end"): 1,
}
INSTANCES = 200


@pytest.mark.parametrize("verdicts", [DEVICES, IOMMU], ids=["devices", "iommu"])
def test_the_verdicts_are_those_of_agents_with_memory(ground: Ground, verdicts: Verdicts) -> None:
    """Scenarios with right and wrong sides, disciplines, mutants and devices, on one testbed."""
    (ground.root / "threads.py").write_text(THREADS)
    ground.up("lab", agents=2, shared_memory=False)

    seen = {row: ground.run(*row, "--on", "lab", instances=INSTANCES).status for row in verdicts}

    assert seen == verdicts
    assert ground.do("down", "--on", "lab").status == 0


def test_a_schedule_is_followed_by_messages(ground: Ground) -> None:
    """Each step of the device waits for its grant, and shows what the explorer has found."""
    found = ground.do("explore", "late-insertion", "--device", "inserts_late", "--json")
    by_messages = ("--live", "--messages", "--verify", "2", "--json")

    again = ground.do("replay", found.told["replay"], *by_messages)

    assert again.status == 0, str(again)
    assert (again.told["same"], again.told["verdict"]) == (2, "S2 stale-read")


def test_a_schedule_of_the_iommu_s_steps_is_refused(ground: Ground) -> None:
    """They are the daemon's there: nothing is pretended, and the reason names the option."""
    found = ground.do("explore", "munmap-page-tables", "--discipline", "range_end", "--json")

    refused = ground.do("replay", found.told["replay"], "--live", "--messages", "--verify", "1")
    unasked = ground.do("replay", found.told["replay"], "--messages")

    assert refused.status == 4, str(refused)
    assert "its IOMMU (option walk_by_level) is the daemon's" in refused.output
    assert (unasked.status, "--messages without --live" in unasked.errors) == (2, True)


def test_check_judges_a_run_by_messages_as_the_run_did(ground: Ground) -> None:
    """The daemon notes that its agents write no history; without its notes nothing is ok."""
    testbed = str(ground.testbed(shared_memory="false"))

    run = ground.run("zap-use-after-free", "--testbed", testbed, instances=INSTANCES)
    checked = ground.do("check", str(ground.out / "latest"), "--json")
    (ground.out / "latest" / "history" / "run.json").unlink()
    unknown = ground.do("check", str(ground.out / "latest"), "--json")

    assert (run.status, checked.status) == (0, 0), str(checked)
    assert checked.told["reasons"] == []
    assert (unknown.status, unknown.told["records"]) == (3, checked.told["records"])
    assert unknown.told["reasons"][0].startswith("run.json is missing")
