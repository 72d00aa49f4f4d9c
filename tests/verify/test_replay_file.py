"""Replay files: text that carries a schedule and all that it needs."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shootdown_verify.replay_file import (
    Replay,
    ReplayError,
    ReplayStep,
    count_occurrences,
    digest_of,
    parse_replay,
    render_replay,
)

SCENARIO = 'SHOOTDOWN one\n"A sentence."\n\n{ A = 0; }\n'
REPLAY = Replay(
    version="0.1.0",
    scenario="one",
    digest=digest_of(SCENARIO),
    discipline="range_end",
    device="",
    seed=7,
    verdict="S2 stale-read",
    outcome="DEV0:r0=0",
    text=SCENARIO,
    steps=(ReplayStep("CPU0", "store", 1), ReplayStep("d0.invalidate", "", 1)),
)
WORDS = st.text("abcXYZ019_.-", min_size=1, max_size=12).filter(lambda word: word != "-")
STEPS = st.lists(
    st.builds(ReplayStep, WORDS, WORDS | st.just(""), st.integers(1, 999)), min_size=1, max_size=9
)


def test_what_is_written_is_read_back() -> None:
    """A replay survives its text, the scenario to the letter."""
    again = parse_replay(render_replay(REPLAY), "x.replay")

    assert again == REPLAY
    assert again.intact


@given(STEPS, st.text("abc |#\n", max_size=60))
def test_any_schedule_and_scenario_survive(steps: list[ReplayStep], text: str) -> None:
    """Steps and scenario lines of any form are read back, but for blanks at a line's end."""
    text = "\n".join(line.rstrip() for line in text.split("\n"))
    replay = Replay("1", "s", digest_of(text), "none", "", 0, "ok", "", text, tuple(steps))

    assert parse_replay(render_replay(replay), "x.replay") == replay


@given(st.text(max_size=200), st.integers(0, 400))
def test_wrong_text_gives_one_kind_of_error(junk: str, at: int) -> None:
    """Whatever is put into a file, reading it gives a replay or a `ReplayError`."""
    text = render_replay(REPLAY)
    wrong = text[:at] + junk + text[at:]

    with contextlib.suppress(ReplayError):
        assert parse_replay(wrong, "x.replay").steps


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("SHOOTDOWN-REPLAY 1", "SHOOTDOWN-REPLAY 9", "x.replay:1:1: 'SHOOTDOWN-REPLAY 9'"),
        ("discipline range_end\n", "", "expected a line discipline"),
        ("seed 7", "seed many", "x.replay:7:6: 'many'; expected a whole number"),
        ("step CPU0 store 1", "step CPU0 store", "'CPU0 store'; expected a task"),
        ("step CPU0 store 1", "stop CPU0 store 1", "did you mean 'step'?"),
        ("seed 7", "seed 7\nseed 8", "a second seed"),
    ],
)
def test_errors_say_where_what_and_what_instead(old: str, new: str, said: str) -> None:
    """A wrong line is pointed at, with what was expected of it."""
    text = render_replay(REPLAY).replace(old, new)

    with pytest.raises(ReplayError) as caught:
        parse_replay(text, "x.replay")

    assert said in str(caught.value)


def test_a_changed_scenario_is_noticed() -> None:
    """The digest tells that the scenario is not the one the schedule was found for."""
    text = render_replay(REPLAY).replace("| { A = 0; }", "| { A = 1; }")

    assert not parse_replay(text, "x.replay").intact


def test_occurrences_count_a_tasks_steps_of_one_name() -> None:
    """Two tasks and two names are counted apart."""
    steps = count_occurrences([("CPU0", "load"), ("CPU1", "load"), ("CPU0", "load")])

    assert [step.occurrence for step in steps] == [1, 1, 2]
