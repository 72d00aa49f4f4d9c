"""Fault plans: what is right is read, and what is wrong is shown with its place."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shootdown_cli.faults import load_faults, shipped_programs
from shootdown_protocol.errors import UsageError
from shootdown_protocol.faults import Fault
from shootdown_verify.fault_plan import (
    FaultPlanError,
    Names,
    check_fault,
    own_agents,
    parse_plan,
    parse_span,
)

ODD = '[[fault]]\nkind = "inv.drop"\nagent = true\n'
STEPS = ("wp_page_copy.set_pte_at", "wp_page_copy.put_page")
NAMES = Names(STEPS, ("CPU0", "CPU1"), own_agents(2))


def wrong(text: str) -> FaultPlanError:
    """The error of a plan that is wrong."""
    with pytest.raises(FaultPlanError) as caught:
        parse_plan(text, "plan.toml", NAMES)
    return caught.value


def test_a_plan_is_read_key_by_key() -> None:
    """Every key of a table is a parameter of its fault."""
    plan = parse_plan(
        '[[fault]]\nkind = "cpu.preempt"\nthread = "CPU0"\nat = "wp_page_copy.set_pte_at"\n'
        'ms = 20\njitter = 5\nfor = "5s"\nprob = 0.5\ncount = 3\n',
        "plan.toml",
        NAMES,
    )

    fault = Fault("cpu.preempt", "", "CPU0", "wp_page_copy.set_pte_at", 20, 5, 5000, 0.5, 3)
    assert plan.faults == (fault,)


def test_a_word_that_no_message_could_carry_is_refused() -> None:
    """What is too long is an error of the plan, at its table."""
    error = wrong('# a plan\n[[fault]]\nkind = "' + "x" * 100 + '"\n')

    assert (error.line, "length <= 64" in str(error)) == (2, True)


@pytest.mark.parametrize(
    ("text", "line", "nearest"),
    [
        ('[[fault]]\nkind = "inv.dorp"\n', 2, "inv.drop"),
        ('[[fault]]\nkind = "inv.drop"\nprop = 0.5\n', 3, "prob"),
        ('[[fault]]\nkind = "cpu.preempt"\nat = "wp_page_copy.set_pte"\n', 3, STEPS[0]),
        ('[[fault]]\nkind = "cpu.preempt"\nthread = "cpu0"\n', 3, "CPU0"),
        ('[[fault]]\nkind = "inv.drop"\nagent = "agent2"\n', 3, "agent1"),
        ('[[fault]]\nkind = "inv.drop"\nagent = "randon"\n', 3, "random"),
        ('[[fault]]\nkind = "inv.drop"\nagent = 7\n', 3, "1"),
        ('[[fault]]\nkind = "inv.drop"\nagent = -1\n', 3, "0"),
        ('[[fault]]\nkind = "inv.drop"\nagent = "bogus"\n', 3, ""),
        (
            '[[fault]]\nkind = "daemon.crash_after"\nat="wp_page_copy.put_page"\nthread="CPU9"\n',
            4,
            "CPU1",
        ),
        ('[[faults]]\nkind = "inv.drop"\n', 1, "fault"),
    ],
)
def test_a_wrong_word_is_given_the_nearest_right_one(text: str, line: int, nearest: str) -> None:
    """Kinds, keys, steps, columns and agents alike."""
    error = wrong(text)

    assert (error.line, error.nearest) == (line, nearest)


@pytest.mark.parametrize("agent", ["0", "1", '"1"', '"agent0"', '"all"', '"random"'])
def test_an_agent_of_the_testbed_may_be_named(agent: str) -> None:
    """By its number or its name, and so may all of them, and one that is drawn."""
    text = f'[[fault]]\nkind = "inv.drop"\nagent = {agent}\n'

    (fault,) = parse_plan(text, "plan.toml", NAMES).faults

    assert fault.agent == agent.strip('"')


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[[fault]]\nms = 5\n",
        "[[fault]]\nkind = 3\n",
        ODD,
        "fault = 1\n",
        "[[fault\n",
        "a = 1\n",
    ],
)
def test_what_is_no_plan_is_refused(text: str) -> None:
    """An error says what was expected."""
    assert wrong(text).expected


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Nothing but the one error comes of a text."""
    with contextlib.suppress(FaultPlanError):
        assert parse_plan(text, "plan.toml", NAMES).faults


@pytest.mark.parametrize(
    ("text", "ms"), [("500ms", 500), ("5s", 5000), ("2m", 120_000), ("5", None), ("0s", None)]
)
def test_a_time_has_a_unit(text: str, ms: int | None) -> None:
    """A number without one is none."""
    assert parse_span(text) == ms


@pytest.mark.parametrize(
    ("text", "seen", "expected", "line"),
    [
        ('[fault]\nkind = "inv.drop"\n', "fault is a table", "an array of tables", 1),
        ("# none\nfault = [1]\n", "fault is an array", "an array of tables", 2),
        ("fault = 1\n", "fault is an integer", "an array of tables", 1),
        ("", "no fault", "an array of tables", 1),
        ('[[fault]]\nkind = ["inv.drop"]\n', "kind is an array", "a string: a kind", 2),
        ('[[fault]]\nkind = "inv.delay"\nms = "5"\n', "ms is a string", "an integer: 1 to", 3),
        ('[[fault]]\nkind = "inv.delay"\nms = 0\n', "ms = '0'", "1 to", 3),
    ],
)
def test_a_wrong_type_is_called_as_in_toml(text: str, seen: str, expected: str, line: int) -> None:
    """What is seen and what is expected, and not what Python calls either."""
    error = wrong(text)

    assert (error.seen, error.line) == (seen, line)
    assert error.expected.startswith(expected)


@pytest.mark.parametrize(
    ("step", "nearest"),
    [("zap_pte_range.put_page", STEPS[1]), ("wp_page_copy.x", STEPS[1]), ("walk", "")],
)
def test_a_step_of_another_scenario_is_none_of_this_one(step: str, nearest: str) -> None:
    """The error says whose step it is not, and which is most like it."""
    names = Names(STEPS, ("CPU0",), scenario="cow-two-pages")

    with pytest.raises(FaultPlanError, match="which cow-two-pages does not have") as caught:
        parse_plan(f'[[fault]]\nkind = "cpu.preempt"\nat = "{step}"\n', "plan.toml", names)

    assert caught.value.nearest == nearest


def test_a_fault_of_the_command_line_is_checked_alike() -> None:
    """The error names the nearest right step."""
    with pytest.raises(UsageError, match=r"did you mean wp_page_copy\.put_page"):
        check_fault(Fault("cpu.preempt", at="wp_page_copy.putpage"), NAMES)


def test_shipped_plans_are_right() -> None:
    """Each can be given to a run."""
    programs = shipped_programs()
    plans = sorted((Path(__file__).parents[2] / "configs" / "faults").rglob("*.toml"))

    assert plans
    for plan in plans:
        assert load_faults(str(plan), programs, own_agents(2))
