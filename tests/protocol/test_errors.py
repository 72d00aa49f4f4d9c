"""Errors say what they are, whether they are definite, and what was seen."""

import pytest

from shootdown_protocol.errors import (
    ERRORS,
    ErrorCode,
    LocalProtocolError,
    RemoteProtocolError,
    SegmentError,
    ShootdownError,
)


def test_every_code_is_documented_once() -> None:
    """The registry has one row a code, with a whole sentence."""
    assert set(ERRORS) == set(ErrorCode)
    assert all(kind.doc.endswith(".") for kind in ERRORS.values())


def test_the_base_class_cannot_be_raised() -> None:
    """Whoever raises says whose fault it is."""
    with pytest.raises(TypeError, match="abstract"):
        ShootdownError(ErrorCode.USAGE, seen="a", expected="b", where="c")


def test_the_text_says_what_where_and_what_else() -> None:
    """One line has the name, the place, what was seen and what was expected."""
    error = SegmentError(
        ErrorCode.SEGMENT_SIZE, seen="4096 bytes", expected="8192", where="segment a"
    )

    assert str(error) == "segment-size: segment a: saw 4096 bytes; expected 8192"


@pytest.mark.parametrize("kind", [LocalProtocolError, RemoteProtocolError])
def test_definite_follows_the_code(kind: type[ShootdownError]) -> None:
    """A lost message may have been obeyed; an unread one was not."""
    lost = kind(ErrorCode.SEQUENCE_GAP, seen="5", expected="4", where="link")
    unread = kind(ErrorCode.TRAILING_BYTES, seen="5", expected="4", where="link")

    assert not lost.definite
    assert unread.definite
