"""What each sentence of the scenario language compiles to."""

from __future__ import annotations

import hashlib
import re
from importlib import import_module
from pathlib import Path

import pytest
from tests.litmus.texts import MINIMAL, OPERATIONS, minimal, read

from shootdown_daemon.machine import operations
from shootdown_protocol.program import (
    Column,
    Instruction,
    Op,
    Speculation,
    State,
    Warm,
    When,
)
from shootdown_verify.check.finding import Model
from shootdown_verify.litmus import And, Expectation, FinalIs, RegisterIs, render
from shootdown_verify.litmus.vocabulary import INNER_OPERATIONS

PACKAGE = operations.__name__


def test_scenario_keeps_what_it_was_read_from() -> None:
    """Text, path and the digest of the text go with the scenario, for reports and replays."""
    scenario = read(MINIMAL, "some/where/small.litmus")

    assert (scenario.name, scenario.summary) == ("small", "A device must see the new A.")
    assert (scenario.text, scenario.path) == (MINIMAL, "some/where/small.litmus")
    assert scenario.digest == hashlib.sha256(MINIMAL.encode()).hexdigest()


def test_columns_become_instructions() -> None:
    """A column is its cells from top to bottom, with their lines; empty cells are nothing."""
    cpu0, cpu1, device = read(MINIMAL).program.columns

    assert cpu0.instructions == (Instruction(Op.RUN, location=0, operation="wp_page_copy", line=8),)
    assert cpu1.instructions == (
        Instruction(Op.STORE, location=0, value=1, when=When.WRITABLE, line=8),
    )
    assert device == Column(
        "DEV0",
        device=0,
        cpu=-1,
        instructions=(
            Instruction(Op.LOAD, location=0, register="r0", line=8),
            Instruction(Op.AWAIT, target=1, line=9),
        ),
    )


def test_location_defaults_to_an_ordinary_page_of_the_only_address_space() -> None:
    """A value alone means mapped writable, in the address space ``mm``."""
    program = read(MINIMAL).program

    assert program.mms == ("mm",)
    assert [(x.name, x.mm, x.state, x.value) for x in program.locations] == [
        ("A", 0, State.COW, 0),
        ("B", 0, State.RW, 3),
    ]


@pytest.mark.parametrize(
    ("words", "state", "value"),
    [
        ("5 rw", State.RW, 5),
        ("5 ro", State.RO, 5),
        ("5 cow", State.COW, 5),
        ("5 cow_sole", State.COW_SOLE, 5),
        ("0 zero", State.ZERO, 0),
        ("5 ksm_pair", State.KSM_PAIR, 5),
        ("6 pinned", State.PINNED, 6),
        ("none", State.NONE, 0),
    ],
)
def test_location_begins_in_its_state(words: str, state: State, value: int) -> None:
    """Every state of a location has its word."""
    location = read(minimal("B = 3", f"B@other = {words}")).program.locations[1]

    assert (location.mm, location.state, location.value) == (1, state, value)


def test_fork_child_has_a_parent_and_its_address() -> None:
    """A fork's child begins empty, in another address space, where its parent lies."""
    program = read(minimal("B = 3", "B@child = child of A")).program

    a, b = program.locations
    assert (program.mms, b.mm, b.parent) == (("mm", "child"), 1, 0)
    assert (b.state, b.va) == (State.NONE, a.va)
    assert b.table != a.table


def test_devices_are_numbered_as_they_appear() -> None:
    """A device's column may name its device; one that does not is of d0."""
    text = minimal("DEV0      ;", "DEV0@gpu | DEV3 ;").replace(
        "load A r0 ;", "load A r0 | load B r1"
    )
    text = text.replace("await CPU1\n", "await CPU1 | ; # two threads\n")

    program = read(text).program

    assert program.devices == ("gpu", "d0")
    assert [column.device for column in program.columns] == [-1, -1, 0, 1]


def test_devices_hold_and_guess_translations() -> None:
    """``atc`` and ``speculate`` name a column and mean its device."""
    more = "atc DEV0 B write; speculate DEV0 A; speculate DEV0 B write times 5;"
    program = read(minimal("atc DEV0 A;", "atc DEV0 A; " + more)).program

    assert program.warm == (Warm(0, 0), Warm(0, 1, write_intent=True))
    assert program.speculation == (
        Speculation(0, 0, count=2),
        Speculation(0, 1, write_intent=True, count=5),
    )


def test_discipline_binds_the_operations_of_the_columns_unless_told() -> None:
    """``bind`` replaces the operations that the columns name."""
    told = minimal("atc DEV0 A;", "bind zap_pte_range wp_page_copy;")

    assert read(MINIMAL).program.bound == ("wp_page_copy",)
    assert read(told).program.bound == ("zap_pte_range", "wp_page_copy")


def test_options_have_defaults() -> None:
    """Frames are used again at once and locks are split, unless told."""
    told = minimal("atc DEV0 A;", "reuse fifo; ptl mm; mmap_lock read;")

    assert read(MINIMAL).program.options == {
        "reuse": "lifo",
        "ptl": "split",
        "mmap_lock": "write",
        "cpu_tlb": "off",
        "vma_lock": "off",
        "pasid": "own",
    }
    assert read(told).program.options == {
        "reuse": "fifo",
        "ptl": "mm",
        "mmap_lock": "read",
        "cpu_tlb": "off",
        "vma_lock": "off",
        "pasid": "own",
    }


def test_condition_and_claims_are_kept_in_words() -> None:
    """What is forbidden, what is caught by which checks, what is safe, and the weakest model."""
    scenario = read(MINIMAL)

    assert scenario.conditions == (And((RegisterIs("DEV0", "r0", 0), FinalIs("A", 1))),)
    assert scenario.weakest is Model.REAL_TIME
    assert scenario.expectations == (
        Expectation("range_end", ("S2", "condition")),
        Expectation("clear_flush", ()),
    )
    assert scenario.registers == ("DEV0:r0",)


def test_claim_is_found_by_its_subject() -> None:
    """A discipline and a faulty device of the same name are two subjects; others have no claim."""
    scenario = read(minimal("safe", "caught device inserts_late : S2\nsafe none"))

    assert scenario.expectation("range_end") == Expectation("range_end", ("S2", "condition"))
    assert scenario.expectation("inserts_late", device=True) is not None
    assert scenario.expectation("inserts_late") is None
    none = scenario.expectation("none")
    assert none is not None
    assert not none.caught


def test_layout_is_free_where_it_says_nothing() -> None:
    """Comments, blank lines, semicolons and line ends of another system change nothing."""
    loose = MINIMAL.replace(";\n", "; # a remark\n\n").replace("\n", "\r\n")
    loose = loose.replace("safe", "; safe").replace("A = 0 cow;", "A=0\tcow\n;")

    assert read(loose) == read(MINIMAL)
    assert hash(read(loose)) == hash(read(MINIMAL))


def test_different_scenarios_differ() -> None:
    """Equality sees every part but text, path and lines."""
    assert read(minimal("A = 0", "A = 9")) != read(MINIMAL)
    assert read(minimal("safe clear_flush", "")) != read(MINIMAL)
    assert read(MINIMAL) != MINIMAL


def test_delay_prefetch_and_sync_compile() -> None:
    """The instructions that access nothing: waiting, fetching a translation, happens-before."""
    text = minimal("await CPU1", "sync CPU1\n | | delay 7\n | | prefetch A write")

    *_, sync, delay, prefetch = read(text).program.columns[2].instructions

    assert (sync.op, sync.target) == (Op.SYNC, 1)
    assert (delay.op, delay.amount) == (Op.DELAY, 7)
    assert (prefetch.op, prefetch.location, prefetch.write_intent) == (Op.PREFETCH, 0, True)


FACTS = """\
bug class "mirror"
bug fix "a commit"
bug symptom "seen"
bug wrong "late"
bug right "early"
"""


def test_a_bug_states_its_facts_and_what_is_wrong() -> None:
    """Claims about mutants, claims that join two things, and facts are read, and written again."""
    claims = "caught mutant lazy : S2\nsafe device inserts_late with mutant lazy\n"

    scenario = read(minimal() + claims + FACTS)

    assert [e.words for e in scenario.expectations][2:] == [
        "mutant lazy",
        "device inserts_late with mutant lazy",
    ]
    assert scenario.expectations[3].configuration == ("clear_flush", "inserts_late", "lazy")
    assert scenario.facts is not None
    assert (scenario.facts.class_, scenario.facts.right) == ("mirror", "early")
    assert read(render(scenario)) == scenario


def test_operations_that_others_begin_are_known() -> None:
    """``bind`` may name what faults and other operations begin, and the list has all of these."""
    begun = set()
    for file in Path(operations.__file__).parent.glob("*.py"):
        module = operations if file.stem == "__init__" else import_module(f"{PACKAGE}.{file.stem}")
        for word in re.findall(r"\.(?:within|call)\(\*?([A-Z_]+|\"\w+\")", file.read_text()):
            begun.add(word.strip('"') if '"' in word else getattr(module, word)[0])

    assert begun & OPERATIONS == INNER_OPERATIONS
