"""A fence is made of what drains a store buffer, and can be used anywhere."""

import signal
import sys
from types import FrameType

from shootdown_protocol.fence import full_fence


def test_locks_of_this_python_are_locked_instructions() -> None:
    """Every way in which CPython makes a lock on Linux takes it by a locked instruction."""
    assert sys.thread_info.lock in {"semaphore", "mutex+cond", "pymutex"}


def test_a_signal_handler_may_fence_too() -> None:
    """A handler that runs at any moment of a fence never finds the fence's lock taken."""
    handled = 0

    def fence_again(_number: int, _frame: FrameType | None) -> None:
        nonlocal handled
        handled += 1
        full_fence()

    before = signal.signal(signal.SIGALRM, fence_again)
    signal.setitimer(signal.ITIMER_REAL, 0.0001, 0.0001)
    try:
        while handled < 1000:
            full_fence()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
