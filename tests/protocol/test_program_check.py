"""A compiled scenario is looked through before its numbers are used."""

import pytest
from msgspec.structs import replace
from tests.protocol.samples import COW_TWO_PAGES as COW

from shootdown_protocol.program import Instruction, Op, Program, Speculation, When
from shootdown_protocol.program_check import first_fault


def with_location(**changes: object) -> Program:
    """The sample with its second location changed."""
    return replace(COW, locations=(COW.locations[0], replace(COW.locations[1], **changes)))


def with_column(**changes: object) -> Program:
    """The sample with its device column changed."""
    return replace(COW, columns=(*COW.columns[:2], replace(COW.columns[2], **changes)))


def with_instruction(instruction: Instruction) -> Program:
    """The sample with its device column doing one other thing."""
    return with_column(instructions=(instruction,))


BROKEN = [
    ("length of name", replace(COW, name="")),
    ("length of mms", replace(COW, mms=())),
    ("length of locations", replace(COW, locations=())),
    ("length of columns", replace(COW, columns=())),
    ("length of locations", replace(COW, locations=COW.locations * 33)),
    (
        "length of columns[2].instructions",
        with_column(instructions=(Instruction(Op.DELAY),) * 1025),
    ),
    ("name of mms[1]", replace(COW, mms=("mm0", "mm0"))),
    ("name of devices[1]", replace(COW, devices=("DEV0", "DEV0"))),
    ("name of locations[1]", with_location(name="A")),
    ("name of columns[2]", with_column(name="CPU0")),
    ("locations[1].mm", with_location(mm=1)),
    ("locations[1].va", with_location(va=1 << 47)),
    ("locations[1].va", with_location(va=4)),
    ("locations[1].value", with_location(value=1024)),
    ("locations[1].table", with_location(table=-1)),
    ("locations[1].parent", with_location(parent=2)),
    ("locations[1].parent", with_location(parent=1)),
    ("columns[2].device", with_column(device=2)),
    ("columns[2].cpu", with_column(cpu=-2)),
    ("columns[2]", with_column(cpu=0)),
    ("columns[2]", with_column(device=-1)),
    ("columns[2].instructions[0].location", with_instruction(Instruction(Op.LOAD))),
    ("columns[2].instructions[0].location", with_instruction(Instruction(Op.LOAD, 2))),
    (
        "columns[2].instructions[0].location",
        with_instruction(Instruction(Op.DELAY, when=When.PRESENT)),
    ),
    ("columns[2].instructions[0].value", with_instruction(Instruction(Op.STORE, 0, -1))),
    ("columns[2].instructions[0].amount", with_instruction(Instruction(Op.DELAY, amount=-1))),
    ("columns[2].instructions[0].target", with_instruction(Instruction(Op.AWAIT, target=3))),
    ("columns[2].instructions[0].target", with_instruction(Instruction(Op.SYNC, target=2))),
    ("columns[2].instructions[0].operation", with_instruction(Instruction(Op.RUN, 0))),
    ("columns[2].instructions[0].op", with_instruction(Instruction(Op.RUN, 0, operation="a"))),
    (
        "length of columns[2].instructions[0].register",
        with_instruction(Instruction(Op.LOAD, 0, register="r" * 65)),
    ),
    ("warm[0].device", replace(COW, warm=(replace(COW.warm[0], device=2),))),
    ("speculation[0].location", replace(COW, speculation=(Speculation(1, -1),))),
    ("speculation[0].count", replace(COW, speculation=(Speculation(1, 1, count=-1),))),
]


def test_the_sample_can_be_run() -> None:
    """A program as the scenario language makes them has no fault."""
    assert first_fault(COW) is None


@pytest.mark.parametrize(("where", "program"), BROKEN)
def test_a_number_out_of_place_is_named(where: str, program: Program) -> None:
    """One number changed is one fault, at the place where it was changed."""
    fault = first_fault(program)

    assert fault is not None
    assert fault.where == where
