"""Exit statuses, the same for every command, and how an error becomes one."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from typing import Final

from shootdown_cli import streams

EXIT_OK: Final = 0
EXIT_VIOLATION: Final = 1
EXIT_USAGE: Final = 2
EXIT_INCONCLUSIVE: Final = 3
EXIT_FAILED: Final = 4
"""The testbed itself failed, or this program did, or a class of one's own: no verdict."""

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
        streams.say("shootdown: interrupted")
        status = EXIT_FAILED
    except BrokenPipeError:
        status = EXIT_UNREAD
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a user's class may raise anything
        status = _explain(error)
    streams.let_go()
    return status


def _explain(error: Exception | SystemExit) -> int:
    """Say what was wrong: in one line if it is expected, or comes from a file of one's own."""
    from shootdown_cli.testbed import TestbedFailed
    from shootdown_engine.origin import origin_of
    from shootdown_protocol.errors import SegmentError, ShootdownError
    from shootdown_verify.source import SourceError

    if origin_of(error).line:
        return _give_up(error)
    if isinstance(error, SourceError):
        streams.say(error)
        return EXIT_USAGE
    if isinstance(error, OSError) and error.filename == streams.Out.NAME:
        streams.say(f"shootdown: {error.filename}: {error.strerror}")
        return EXIT_FAILED
    if isinstance(error, (SegmentError, TestbedFailed, OSError)):
        streams.say(f"shootdown: {error}")
        return EXIT_FAILED
    if isinstance(error, ShootdownError):
        streams.say(f"shootdown: {error}")
        return EXIT_USAGE
    import traceback

    traceback.print_exception(error)
    return _give_up(error)


def _give_up(error: BaseException) -> int:
    """Name an exception that nobody expected: there is no verdict, and it is no violation."""
    from shootdown_engine.origin import in_words

    streams.say(f"shootdown: no verdict: {in_words(error)}")
    return EXIT_FAILED
