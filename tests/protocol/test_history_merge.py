"""Histories of several processes become one, by time, then process, then place in the file."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shootdown_protocol import history_file
from shootdown_protocol.errors import ErrorCode, HistoryError
from shootdown_protocol.history import Ended, Stamped
from shootdown_protocol.history_file import merge


def history(*begins: int) -> list[Stamped]:
    """Records of one process that began then, numbered as they were appended."""
    return [Stamped(begin, begin, number, 0, "", Ended(0)) for number, begin in enumerate(begins)]


def test_equal_times_go_by_process_and_sequence() -> None:
    """Records that began in the same nanosecond have one order."""
    merged = [(process, record.sequence) for process, record in merge([history(5, 5), history(5)])]

    assert merged == [(0, 0), (0, 1), (1, 0)]


@given(st.lists(st.lists(st.integers(0, 50), max_size=30), max_size=4))
def test_merge_is_a_sort_of_all(begins: list[list[int]]) -> None:
    """Within what can be mended the result is that of sorting everything."""
    histories = [history(*some) for some in begins]
    flat = [(process, record) for process, some in enumerate(histories) for record in some]

    merged = list(merge(histories))

    assert merged == sorted(flat, key=lambda pair: (pair[1].begin, pair[0], pair[1].sequence))


@given(st.lists(st.integers(0, 3), max_size=60))
def test_bounded_disorder_is_mended(delays: list[int]) -> None:
    """A record that lies up to the limit too late is put where it belongs."""
    begins = [10 * place - 10 * delay for place, delay in enumerate(delays)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(history_file, "HISTORY_REORDER_RECORDS", 4)

        assert [record.begin for _, record in merge([history(*begins)])] == sorted(begins)


def test_more_disorder_is_an_error_and_not_a_wrong_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """A record that is too late to be put in its place ends the merge with a typed error."""
    monkeypatch.setattr(history_file, "HISTORY_REORDER_RECORDS", 4)

    with pytest.raises(HistoryError, match="record 40") as caught:
        list(merge([history(*range(10, 50), 0)]))

    assert caught.value.code is ErrorCode.HISTORY_ORDER
