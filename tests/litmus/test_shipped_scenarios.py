"""The shipped scenarios say what the kernel document and reference/safety.md say."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.litmus.texts import DISCIPLINES, OPERATIONS, SCENARIOS, read, read_file

from shootdown_protocol.program import Op
from shootdown_protocol.program_check import first_fault
from shootdown_verify.check.finding import Model
from shootdown_verify.litmus import Scenario, render

EARLY = {"none", "range_start", "before_clear"}
LATE = {"after_set", "after_unlock", "range_end", "before_free"}
RIGHT = {"clear_flush"}
LEAF_ONLY = {"leaf_only"}

# Scenario: the disciplines it catches; those that are safe in it; the weakest model broken.
CLAIMS: dict[str, tuple[set[str], set[str], Model | None]] = {
    "cow-two-pages": ({"none"} | LATE, RIGHT, Model.REAL_TIME),
    "cow-two-pages-causal": ({"none"} | LATE, RIGHT, Model.CAUSAL),
    "cow-message-passing": (EARLY | LATE, RIGHT, Model.CAUSAL),
    "zero-page-write": (EARLY | LATE, RIGHT, Model.REAL_TIME),
    "lost-invalidation": ({"range_end"}, RIGHT, None),
    "zap-use-after-free": (EARLY | {"range_end"}, RIGHT | LATE - {"range_end"}, None),
    "munmap-deferred": (EARLY, RIGHT | LATE, None),
    "mprotect-deferred": (EARLY, RIGHT | LATE, None),
    "fork-write-protect": (EARLY, RIGHT | LATE, None),
    "ksm-same-content": (EARLY | {"before_free"}, RIGHT | LATE - {"before_free"}, None),
    "migration-copy": (EARLY | {"before_free"}, RIGHT | LATE - {"before_free"}, Model.REAL_TIME),
    "reclaim-writeout": (EARLY | {"before_free"}, RIGHT | LATE - {"before_free"}, Model.REAL_TIME),
    "reclaim-batched-flush": (EARLY, RIGHT | LATE, None),
    "ksm-write-protect": (EARLY | {"before_free"}, RIGHT | LATE - {"before_free"}, Model.REAL_TIME),
    "writeback-clean": (EARLY | {"before_free"}, RIGHT | LATE - {"before_free"}, None),
    "numa-hinting": ({"none"}, RIGHT | {"range_end"}, Model.REAL_TIME),
    "device-migration": (EARLY | {"before_free"}, RIGHT | LATE - {"before_free"}, Model.REAL_TIME),
    "device-insert": (EARLY | LATE, RIGHT, Model.REAL_TIME),
    "device-exclusive": (EARLY, RIGHT | LATE, None),
    "uprobe-replace": (EARLY | LATE, RIGHT, Model.REAL_TIME),
    "uprobe-remove": (EARLY | {"before_free"}, RIGHT | LATE - {"before_free"}, None),
    "uffd-move": (
        EARLY | {"range_end", "before_free"},
        RIGHT | {"after_set", "after_unlock"},
        None,
    ),
    "madv-free": (EARLY, RIGHT | LATE, Model.REAL_TIME),
    "soft-dirty": (EARLY, RIGHT | LATE, None),
    "write-tracking": (EARLY, RIGHT | LATE, None),
    "uffd-write-protect": ({"none"}, RIGHT | {"range_end"}, None),
    "pagemap-scan": ({"none"} | LATE - {"after_set"}, RIGHT | {"after_set"}, None),
    "madvise-dontneed": (EARLY, RIGHT | LATE, None),
    "truncate-mapped": (EARLY, RIGHT | LATE, None),
    "oom-reap": (EARLY, RIGHT | LATE, None),
    "exit-release": (EARLY - {"range_start"}, RIGHT | LATE | {"range_start"}, None),
    "mremap-truncate": (
        EARLY | LATE - {"after_set"},
        RIGHT | {"after_set"},
        Model.REAL_TIME,
    ),
    "mremap-page-table": (
        EARLY | LEAF_ONLY | {"range_end", "before_free"},
        RIGHT | {"after_set", "after_unlock"},
        None,
    ),
    "hugetlb-mremap": (EARLY | {"before_free"}, RIGHT | LATE - {"before_free"}, Model.REAL_TIME),
    "thp-split": (set(), EARLY | RIGHT | LATE, Model.REAL_TIME),
    "huge-zero-write": (EARLY | LATE, RIGHT, Model.REAL_TIME),
    "huge-cow": (EARLY | LATE, RIGHT, Model.REAL_TIME),
    "thp-collapse": (
        EARLY | {"after_set", "before_free"},
        RIGHT | {"after_unlock", "range_end"},
        Model.REAL_TIME,
    ),
    "file-collapse": (EARLY | LEAF_ONLY, RIGHT | LATE, None),
    "retract-page-tables": (EARLY | LEAF_ONLY, RIGHT | LATE, None),
    "hugetlb-cow": (EARLY | LATE, RIGHT, Model.REAL_TIME),
    "hugetlb-unmap": (EARLY, RIGHT | LATE, None),
    "hugetlb-fork": (EARLY, RIGHT | LATE, None),
    "hugetlb-mprotect": (EARLY, RIGHT | LATE, None),
    "pmd-unshare": (
        EARLY | LEAF_ONLY | {"range_end", "before_free"},
        RIGHT | {"after_set", "after_unlock"},
        None,
    ),
    "munmap-page-tables": (EARLY | LEAF_ONLY | {"range_end"}, RIGHT | LATE - {"range_end"}, None),
    "kernel-page-table": (EARLY | LEAF_ONLY, RIGHT | LATE, None),
    "cpu-tlb-shootdown": ({"none", "range_end"}, RIGHT | {"before_free"}, None),
    "gup-fast": ({"none"}, RIGHT | {"range_end", "before_free"}, None),
    "fork-vma-lock": ({"none"}, RIGHT | LATE, None),
    # About software mirrors: to them no discipline matters.
    "mirror-kvm": (set(), {"none", "clear_flush", "range_end"}, Model.REAL_TIME),
    "mirror-zap": (set(), {"none", "clear_flush", "range_end"}, None),
    "first-touch": (set(), EARLY | RIGHT | LATE, None),
    "hugetlb-1g-unmap": (EARLY, RIGHT | LATE, None),
    "hugetlb-1g-cow": (EARLY | LATE, RIGHT, Model.REAL_TIME),
    # About devices: their CPU side is right.
    "late-insertion": (set(), RIGHT, Model.REAL_TIME),
    "completion-before-drain": (set(), RIGHT, None),
    "drain-deadlock": (set(), RIGHT, None),
    "device-attach": (set(), RIGHT, None),
    "device-detach": (set(), RIGHT, None),
    "device-reattach": (set(), RIGHT, None),
    "device-reset": (set(), RIGHT, None),
    "completion-itag": (set(), RIGHT, None),
    "completion-vector": (set(), RIGHT, None),
    "duplicate-completion": (set(), RIGHT, None),
    "global-invalidation": (set(), RIGHT, None),
    "iotlb-before-atc": (set(), RIGHT, None),
    "pasid-tags": (set(), RIGHT, None),
    "range-invalidation": (set(), RIGHT, None),
    "refused-page-request": (set(), RIGHT, None),
    "stop-marker": (set(), RIGHT, None),
    "success-is-no-permission": (set(), RIGHT, None),
    "use-after-completion": (set(), RIGHT, None),
}
IDS = [path.stem for path in SCENARIOS]


def shipped(name: str) -> Scenario:
    """Read a shipped scenario by name."""
    (path,) = [path for path in SCENARIOS if path.stem == name]
    return read_file(path)


def test_all_are_there() -> None:
    """The shipped scenarios are those whose claims are checked here."""
    assert set(IDS) == set(CLAIMS)


@pytest.mark.parametrize("path", SCENARIOS, ids=IDS)
def test_claims_are_those_of_the_safety_criterion(path: Path) -> None:
    """What a scenario claims caught and safe is the row of its operation in reference/safety.md."""
    scenario = read_file(path)
    disciplines = [e for e in scenario.expectations if not e.kind]

    caught = {e.subject for e in disciplines if e.caught}
    safe = {e.subject for e in disciplines if not e.caught}

    assert (caught, safe, scenario.weakest) == CLAIMS[scenario.name]
    assert caught | safe <= set(DISCIPLINES)


@pytest.mark.parametrize("path", SCENARIOS, ids=IDS)
def test_program_runs_and_binds_one_operation(path: Path) -> None:
    """Every process accepts the program, and its discipline binds the one operation it is about."""
    program = read_file(path).program
    run = [i.operation for column in program.columns for i in column.instructions if i.operation]

    assert first_fault(program) is None
    assert set(program.bound) <= set(run) <= OPERATIONS
    assert len(program.bound) == 1


@pytest.mark.parametrize("path", SCENARIOS, ids=IDS)
def test_canonical_form_says_the_same(path: Path) -> None:
    """Writing and reading a shipped scenario loses nothing but its comments."""
    scenario = read_file(path)

    assert read(render(scenario), str(path)) == scenario


@pytest.mark.parametrize("path", SCENARIOS, ids=IDS)
def test_file_is_as_tidy_as_its_canonical_form(path: Path) -> None:
    """The table of a shipped scenario is aligned, and a comment says what it shows."""
    text = path.read_text()
    canonical = render(read(text, str(path)))

    rows = [line for line in text.splitlines() if line.endswith(";") and "|" in line]
    assert rows == [line for line in canonical.splitlines() if line.endswith(";") and "|" in line]
    assert "\n# " in text


def test_cow_two_pages_has_the_six_actors_of_the_kernel_document() -> None:
    """Two CPUs break COW, two write, two threads of one device hold both translations."""
    program = shipped("cow-two-pages").program

    assert [c.name for c in program.columns] == ["CPU0", "CPU1", "CPU2", "CPU3", "DEV0", "DEV2"]
    assert [len(c.instructions) for c in program.columns] == [1, 1, 1, 2, 2, 1]
    assert program.devices == ("d0",)
    assert [warm.location for warm in program.warm] == [0, 1]
    assert program.speculation == ()


def test_outcome_of_the_kernel_document_is_forbidden() -> None:
    """New B and old A is the outcome; any other is not."""
    scenario = shipped("cow-two-pages")

    assert scenario.forbids({"DEV2:r1": 1, "DEV0:r0": 0}, {})
    assert not scenario.forbids({"DEV2:r1": 1, "DEV0:r0": 1}, {})
    assert not scenario.forbids({"DEV2:r1": 0, "DEV0:r0": 0}, {})


def test_causal_strength_adds_only_causes() -> None:
    """The causal twin differs in one load and in sync for await between the device's threads."""
    plain, causal = shipped("cow-two-pages").program, shipped("cow-two-pages-causal").program

    ops = [[i.op for i in column.instructions] for column in causal.columns]
    assert causal.locations == plain.locations
    assert ops[3] == [Op.AWAIT, Op.LOAD, Op.STORE]
    assert ops[4] == [Op.SYNC, Op.LOAD]
    assert [ops[n] for n in (0, 1, 2, 5)] == [
        [i.op for i in plain.columns[n].instructions] for n in (0, 1, 2, 5)
    ]


@pytest.mark.parametrize("name", ["zap-use-after-free", "munmap-deferred", "ksm-same-content"])
def test_freed_frame_has_a_taker(name: str) -> None:
    """Use after free needs somebody in another address space who stores into the frame at once."""
    program = shipped(name).program

    taken = program.locations[1]
    assert (taken.name, program.mms[taken.mm]) == ("C", "other")
    assert program.options["reuse"] == "lifo"


def test_first_touch_catches_a_device_and_no_discipline() -> None:
    """Nothing is stale after a fill, so what can be wrong is a cache of empty entries."""
    (device,) = [e for e in shipped("first-touch").expectations if e.caught]

    assert (device.subject, device.device, device.by) == ("caches_not_present", True, ("S5",))
