"""Conformance: right agents pass every test, and faulty ones fail those that name their fault."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

from tests.processes.ground import Ground

from shootdown_cli.conformance.command import FAIL, grade
from shootdown_cli.conformance.grades import TESTS
from shootdown_cli.conformance.process import class_command
from shootdown_cli.conformance.zoo import EXPECTED
from shootdown_device_agent.machine.zoo import ZOO

AT_ONCE = 4
"""Agents graded at a time; most of it is waiting for what does not come."""
RIGHT = """
from shootdown_device_agent.machine.device import Device


class Right(Device):
    pass
"""


def failed(spec: str) -> tuple[str, dict[str, str]]:
    """The tests that a device fails, with the reasons."""
    graded = grade(class_command(spec))
    return spec, {each.name: each.why for each in graded if each.verdict == FAIL}


def test_each_faulty_device_fails_what_names_its_fault() -> None:
    """No more and no less, and each device of the zoo has its entry."""
    assert set(EXPECTED) == set(ZOO)
    assert set().union(*EXPECTED.values()) <= set(TESTS)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        seen = dict(pool.map(failed, EXPECTED))

    wrong = {spec: why for spec, why in seen.items() if set(why) != EXPECTED[spec]}
    assert not wrong, wrong


def test_the_right_device_passes_every_test(ground: Ground) -> None:
    """The command prints one object with every test's name, verdict and reason."""
    (ground.root / "right.py").write_text(RIGHT)

    ended = ground.do("conformance", "right.py", "--json")

    assert ended.status == 0, str(ended)
    assert [each["name"] for each in ended.told["tests"]] == list(TESTS)
    assert {(each["verdict"], each["why"]) for each in ended.told["tests"]} == {("pass", "")}


def test_a_program_that_says_nothing_fails_with_the_reason(ground: Ground) -> None:
    """It is not waited for once it has ended, and each test says why it failed."""
    ended = ground.do("conformance", "--exec", "false", "--json")

    assert ended.status == 1, str(ended)
    assert {each["verdict"] for each in ended.told["tests"]} == {"fail"}
    assert "before its Hello" in ended.told["tests"][0]["why"]


def test_neither_class_nor_program_is_a_usage_error(ground: Ground) -> None:
    """Nothing is graded when nothing, or what is not there, was named."""
    nothing = ground.do("conformance")
    absent = ground.do("conformance", "--exec", "./is-not-there {endpoint}")

    assert (nothing.status, absent.status) == (2, 2)
    assert "neither a class nor --exec" in nothing.errors


def test_a_program_that_says_no_hello_fails_at_once(ground: Ground) -> None:
    """Every test fails with what the program wrote last, and it was started once."""
    count = ground.root / "started"
    script = ground.root / "mute.py"
    script.write_text(f"open({str(count)!r}, 'a').write('x')\nraise SystemExit('no such host')\n")

    ended = ground.do("conformance", "--exec", f"{sys.executable} {script}", "--json")

    assert ended.status == 1, str(ended)
    assert {each["verdict"] for each in ended.told["tests"]} == {FAIL}
    assert all("no such host" in each["why"] for each in ended.told["tests"])
    assert count.read_text() == "x"
