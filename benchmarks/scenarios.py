"""The program that only benchmarks run: as many devices as are wanted, all holding one page."""

from __future__ import annotations

from shootdown_protocol.program import Column, Instruction, Location, Op, Program, State, Warm

VA = 0x40_0000_0000


def one_page(devices: int) -> Program:
    """A page under copy-on-write that every device has cached and reads once."""
    read = (Instruction(Op.LOAD, location=0, register="r0"),)
    copy = (Instruction(Op.RUN, location=0, operation="wp_page_copy"),)
    return Program(
        name="one-page",
        summary="A page that every device has cached.",
        mms=("mm",),
        devices=tuple(f"d{number}" for number in range(devices)),
        locations=(Location("A", 0, VA, State.COW, 0, 0),),
        columns=(
            Column("CPU0", -1, 0, copy),
            *(Column(f"DEV{number}", number, -1, read) for number in range(devices)),
        ),
        warm=tuple(Warm(number, 0) for number in range(devices)),
        speculation=(),
        bound=("wp_page_copy",),
    )
