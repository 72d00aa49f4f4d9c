"""Operations of the mm, one family a file, each in its kernel order and under its kernel name.

`OPERATIONS` is the registry: what scenarios, steps, reports and the matrix call them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from shootdown_daemon.machine.cpu import Cpu
from shootdown_daemon.machine.operations.anonymous import DO_ANONYMOUS_PAGE, run_do_anonymous_page
from shootdown_daemon.machine.operations.cow import WP_PAGE_COPY, run_wp_page_copy
from shootdown_daemon.machine.operations.fork import COPY_PTE_RANGE, run_copy_pte_range
from shootdown_daemon.machine.operations.ksm import REPLACE_PAGE, run_replace_page
from shootdown_daemon.machine.operations.mprotect import CHANGE_PTE_RANGE, run_change_pte_range
from shootdown_daemon.machine.operations.zap import (
    UNMAP_VMAS,
    ZAP_PTE_RANGE,
    run_unmap_vmas,
    run_zap_pte_range,
)
from shootdown_daemon.machine.phases import Phase


class Operation(NamedTuple):
    """An operation that a column may name; ``phases`` in the order it announces them."""

    name: str
    phases: tuple[Phase, ...]
    run: Callable[[Cpu], Awaitable[None]]


OPERATIONS: dict[str, Operation] = {
    operation.name: operation
    for operation in (
        Operation(*WP_PAGE_COPY, run_wp_page_copy),
        Operation(*DO_ANONYMOUS_PAGE, run_do_anonymous_page),
        Operation(*ZAP_PTE_RANGE, run_zap_pte_range),
        Operation(*UNMAP_VMAS, run_unmap_vmas),
        Operation(*CHANGE_PTE_RANGE, run_change_pte_range),
        Operation(*COPY_PTE_RANGE, run_copy_pte_range),
        Operation(*REPLACE_PAGE, run_replace_page),
    )
}
"""Every operation by its kernel function's name."""
