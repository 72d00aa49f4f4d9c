"""Exit statuses, the same for every command, and how an error becomes one."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Final

EXIT_OK: Final = 0
EXIT_VIOLATION: Final = 1
EXIT_USAGE: Final = 2
EXIT_INCONCLUSIVE: Final = 3
EXIT_FAILED: Final = 4
"""The testbed itself failed."""

EXIT_UNREAD: Final = 128 + signal.SIGPIPE
"""Nobody read to the end what was printed; what a shell says of a program ended by SIGPIPE."""

EXIT_OF: Final = {"ok": EXIT_OK, "violation": EXIT_VIOLATION, "inconclusive": EXIT_INCONCLUSIVE}
"""By verdict."""


def status_of(work: Callable[[], int]) -> int:
    """Do a command's work; an error that a person can mend becomes one line and a status."""
    try:
        status = work()
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("shootdown: interrupted", file=sys.stderr)
        return EXIT_FAILED
    except BrokenPipeError:
        # Else Python would try once more, and complain, when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_UNREAD
    except Exception as error:  # noqa: BLE001 - what is not expected is raised again
        status = _explain(error)
    return status


def _explain(error: Exception) -> int:
    """Say what was wrong, if it is an error that is expected; else let it be seen whole."""
    from shootdown_cli.testbed import TestbedFailed
    from shootdown_protocol.errors import SegmentError, ShootdownError
    from shootdown_verify.source import SourceError

    if isinstance(error, SourceError):
        print(error, file=sys.stderr)
        return EXIT_USAGE
    if isinstance(error, (SegmentError, TestbedFailed, OSError)):
        print(f"shootdown: {error}", file=sys.stderr)
        return EXIT_FAILED
    if isinstance(error, ShootdownError):
        print(f"shootdown: {error}", file=sys.stderr)
        return EXIT_USAGE
    raise error
