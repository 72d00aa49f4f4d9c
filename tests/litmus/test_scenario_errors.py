"""A wrong scenario is refused at the right place, with the right word if there is one."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.litmus.texts import MINIMAL, minimal, read, read_file

from shootdown_protocol.limits import (
    COLUMNS_MAX,
    INSTRUCTIONS_PER_COLUMN_MAX,
    MMS_MAX,
    NAME_CHARACTERS_MAX,
)
from shootdown_protocol.words import LOCATIONS_MAX
from shootdown_verify.litmus import ScenarioError

COW0 = "wp_page_copy A |"
CONDITION = "DEV0:r0=0 /\\ A=1"

# A piece of the small scenario; what replaces it, with ^ before the place of the error; what was
# seen; what was expected; the nearest right word.
HEAD = [
    ("SHOOTDOWN small", "^SHUTDOWN small", "'SHUTDOWN'", "'SHOOTDOWN'", "SHOOTDOWN"),
    ("SHOOTDOWN small", "SHOOTDOWN ^smal", "'smal'", "name of the file", "small"),
    ('"A device must see the new A."', '^""', "'\"\"'", "one sentence", ""),
    ('"A device must see the new A."', '^"A device', "an open text", "closing double quote", ""),
]
INITIAL_STATE = [
    ("A = 0 cow; B = 3;\n  atc DEV0 A;\n}", "\n^}", "'}'", "a location", ""),
    ("A = 0 cow;", "A = 0 ^cwo;", "'cwo'", "a state", "cow"),
    ("A = 0 cow;", "A = 0 cow; pasid ^reusd;", "'reusd'", "a value of pasid", "reused"),
    ("A = 0 cow;", "A = ^1024 cow;", "'1024'", "a value from 0 to 1023", ""),
    ("A = 0 cow;", "A = ^99999999999 cow;", "'99999999999'", "from 0 to 1023", ""),
    ("A = 0 cow;", "A = ^non;", "'non'", "'none'", "none"),
    ("A = 0 cow;", "^A = 1 zero;", "value 1 of the zero page", "0", ""),
    ("A = 0 cow; B", "A = 0 cow ^B", "'B'", "';'", ""),
    ("A = 0 cow;", "A = 0 cow; ^A = 1;", "a second location 'A'", "once", ""),
    ("A = 0 cow;", "A = 0 cow; ^CPU7 = 1;", "'CPU7'", "a column's name", ""),
    ("A = 0 cow;", "A = 0 cow; ^store = 1;", "'store'", "a word of the language", ""),
    ("A = 0 cow;", "A = 0 cow; ^a-b = 1;", "'a-b'", "letters, digits and _", ""),
    ("A = 0 cow;", "A = 0 cow; é = 1;", "a stray 'é'", "a word, a number", ""),
    ("B = 3", "^B = child of A", "'B' in an address space that it", "another", ""),
    ("B = 3", "B@c = child of A; ^C = child of B", "'C' in an address space", "another", ""),
    ("B = 3", "B@c = child of ^D", "'D'", "a location of this scenario", ""),
    ("B = 3", "B@c = child of ^C; C = 1", "'C'", "above its child", ""),
    ("B = 3", "B@c = child of A; C@c = child of ^A", "a second child", "one", ""),
    ("atc DEV0 A", "^act DEV0 A", "'act'", "a location and '='", "atc"),
    ("atc DEV0 A", "^act", "'act'", "a location and '='", "atc"),
    ("atc DEV0 A", "atc ^DEV1 A", "'DEV1'", "(DEV0)", "DEV0"),
    ("atc DEV0 A", "atc ^CPU0 A", "'CPU0'", "a device's column", ""),
    ("atc DEV0 A", "atc ^d0 A", "'d0'", "a column, CPU, DEV or MIR", ""),
    ("atc DEV0 A", "atc DEV0 ^C", "'C'", "(A or B)", ""),
    ("atc DEV0 A", "atc DEV0 A ^write", "permission to write 'A'", "an rw location", ""),
    ("atc DEV0 A", "atc DEV0 A; atc DEV0 ^A", "a second translation", "once", ""),
    ("atc DEV0 A", "C = none; atc DEV0 ^C", "begins unmapped", "can hold", ""),
    ("atc DEV0 A", "speculate DEV0 A times ^0", "'0'", "from 1 to 16", ""),
    ("atc DEV0 A", "speculate DEV0 A; speculate DEV0 ^A", "a second specul", "'times N'", ""),
    ("atc DEV0 A", "racy A B ^A", "'A' a second time", "once", ""),
    ("atc DEV0 A;", "same_table A ^;", "';'", "a location", ""),
    ("atc DEV0 A", "same_table A ^A", "'A' a second time", "once", ""),
    ("atc DEV0 A", "C@c = 0; same_table A ^C", "another address space", "one address", ""),
    ("atc DEV0 A", "C@c = child of A; same_table ^C B", "the child 'C'", "its parent", ""),
    ("atc DEV0 A", "bind ^wp_page_cpy", "'wp_page_cpy'", "an operation", "wp_page_copy"),
    ("atc DEV0 A", "bind wp_page_copy ^wp_page_copy", "a second time", "once", ""),
    (
        "atc DEV0 A",
        "bind ^zap_pte_range",
        "which no column does",
        "the columns do wp_page_copy",
        "",
    ),
    ("atc DEV0 A", "reuse ^lfo", "'lfo'", "lifo or fifo", "lifo"),
    ("atc DEV0 A", "ptl mm; ^ptl mm", "a second 'ptl'", "one 'ptl' at most", ""),
]
TABLE = [
    ("| DEV0  ", "| ^DEV64 ", "'DEV64'", "below 64", ""),
    ("| DEV0  ", "| ^GPU0  ", "'GPU0'", "CPU, DEV or MIR and a number", ""),
    ("| DEV0  ", "| ^CPU1  ", "a second column 'CPU1'", "once", ""),
    ("CPU0           |", "CPU0^@d0        |", "'@'", "only devices", ""),
    ("CPU0           |", "CPU0 ^and so on |", "'and'", "after a column's name", ""),
    ("| DEV0      ;\n", "|           ^;\n", "the end of the cell", "a column", ""),
    ("load A r0 ;", "load A r0 | ^load B r1 ;", "4 cells", "3, one for each", ""),
    ("store A 1 when writable | load A r0 ;\n", "^store A 1\n", "2 cells", "3, one for each", ""),
    ("forbidden", "^forbiden", "1 cell", "3, one for each", "forbidden"),
    ("load A r0", "^laod A r0", "'laod'", "an instruction", "load"),
    (COW0, "^wp_page_cop A  |", "'wp_page_cop'", "an operation", "wp_page_copy"),
    ("load A r0 ;", "load A    ^;", "the end of the cell", "a register", ""),
    ("load A r0", "load A r0 ^r1", "'r1'", "the end of the line after an instruction", ""),
    ("load A r0", "load A r0 ^wen present", "'wen'", "after an instruction", "when"),
    ("load A r0", "load A r0 when ^retuned", "'retuned'", "present, writable", "returned"),
    ("load A r0", "load ^D r0", "'D'", "(A or B)", ""),
    ("load A r0", "^zap_pte_range A", "'zap_pte_range' in a device's", "CPU columns", ""),
    (COW0, "^prefetch A     |", "a prefetch by a CPU", "DEV column", ""),
    (COW0, "replace_page ^A |", "which begins cow", "ksm_pair", ""),
    (COW0, "copy_pte_range ^A |", "which has no child", "child of A", ""),
    ("store A 1 when writable", "store A ^0", "'0'", "a value from 1 to 1023", ""),
    ("store A 1 when writable", "store B ^3", "3 in 'B' a second time", "no other", ""),
    ("await CPU1", "await ^DEV1", "'DEV1'", "a column of this scenario", "DEV0"),
    ("await CPU1", "await ^DEV0", "DEV0 -> DEV0", "columns that can end", ""),
    ("await CPU1", "delay ^0", "'0'", "batch-clock ticks", ""),
    ("await CPU1", "load B ^r0", "'DEV0:r0'", "once", ""),
    ("await CPU1", "store ^A 2", "'A' written by CPUs and by device 'd0'", "'racy A;'", ""),
    (f"{COW0} store A 1 when writable", "load A r1 | store A 1 when ^writable",
     "'A' never writable", "an operation or a plain store", ""),
    (f"{COW0} store A 1 when writable", "store A 1 when ^freed | delay 1",
     "nothing ever freed", "an operation or a plain store in time", ""),
    (f"{COW0} store A 1 when writable", "zap_pte_range B | store A 1 when ^returned",
     "no operation to return", "an operation on 'A' in another column", ""),
]  # fmt: skip
END = [
    ("safe clear_flush", "faults ^inv.dorp 1 safe none", "'inv.dorp'", "a kind of", "inv.drop"),
    ("safe clear_flush", "faults ^inv.delay 1 safe none", "'inv.delay'", "needs no step", ""),
    ("safe clear_flush", "faults inv.drop ^0 safe none", "'0'", "from 1 to 64", ""),
    ("safe clear_flush", "faults inv.drop ^inv.drop 1", "a second time", "each kind once", ""),
    ("safe clear_flush", "faults inv.drop 1 ^faults inv.drop 1", "a second", "one 'faults'", ""),
    (f"{CONDITION}\n", "DEV0:r0=0 /\\\n^", "'weakest'", "COLUMN:register=VALUE", ""),
    (f"{CONDITION}\n", "(DEV0:r0=0\n^", "'weakest'", "')'", ""),
    (CONDITION, "DEV0:^r1=0", "'r1'", "(r0)", "r0"),
    (CONDITION, "^DEV1:r0=0", "'DEV1'", "a column of this scenario", "DEV0"),
    (CONDITION, "^C=1", "'C'", "a location of this scenario", ""),
    (CONDITION, "A=^7", "7", "0, 1 or 3", ""),
    (CONDITION, f"{'~' * 33}^{'~' * 66}A=1", "too deep", "at most 32", ""),
    (CONDITION, f"{'(' * 33}^{'(' * 9999}", "too deep", "at most 32", ""),
    ("weakest real-time", "weakest ^real_time", "'real_time'", "a model", "real-time"),
    ("weakest real-time", "weakest sc ^weakest sc", "a second 'weakest'", "one", ""),
    ("weakest real-time\ncaught range_end : S2 condition", "weakest ^sc\ncaught range_end : S1",
     "'sc'", "caught by S2, S3", ""),
    ("caught range_end", "caught ^rang_end", "'rang_end'", "a discipline", "range_end"),
    ("caught range_end", "caught device ^insert_late", "'insert_late'", "a faulty", "inserts_late"),
    ("S2 condition\nsafe", "\n^safe", "'safe'", "a check", ""),
    ("S2 condition", "^S6", "'S6'", "a check", "S5"),
    ("S2 condition", "S2 ^S2", "'S2' a second time", "once", ""),
    ("safe clear_flush", "safe ^range_end", "a second claim about 'range_end'", "one", ""),
    ("safe clear_flush", "^save clear_flush", "'save'", "a check", "safe"),
    ("caught range_end : S2 condition\nsafe clear_flush\n", "safe clear_flush\n^",
     "the end of the file", "tests nothing", ""),
    ("weakest real-time\ncaught range_end : S2 condition\nsafe clear_flush\n", "safe none\n^",
     "the end of the file", "'weakest'", ""),
]  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "seen", "expected", "right"), [*HEAD, *INITIAL_STATE, *TABLE, *END]
)
def test_wrong_word_is_pointed_at(old: str, new: str, seen: str, expected: str, right: str) -> None:
    """The error has line and column, says what was seen and expected, and the nearest word."""
    before, _, _ = minimal(old, new).partition("^" if "^" in new else "é")

    error = error_of(minimal(old, new.replace("^", "")))

    assert error.line == before.count("\n") + 1
    assert error.column == len(before) - before.rfind("\n")
    assert seen in error.seen
    assert expected in error.expected
    assert error.nearest == right


def error_of(text: str) -> ScenarioError:
    """Read a wrong scenario."""
    with pytest.raises(ScenarioError) as caught:
        read(text)
    return caught.value


def test_column_must_do_something() -> None:
    """A column without an instruction is pointed at by its header."""
    error = error_of(minimal("wp_page_copy A", ""))

    assert (error.line, error.column, error.seen) == (7, 2, "nothing in column 'CPU0'")


def test_condition_that_is_claimed_must_be_there() -> None:
    """A discipline cannot be caught by a condition that was not written."""
    error = error_of(minimal(f"forbidden {CONDITION}", ""))

    assert (error.line, error.seen) == (12, "'condition' without one")


def test_a_pasid_goes_round_only_if_somebody_has_it_next() -> None:
    """One PASID for one address space, or for one that nobody binds, is a mistake."""
    error = error_of(minimal("A = 0 cow;", "A = 0 cow; C@other = none; pasid reused;"))

    assert error.seen == "'pasid reused' with nobody to have the PASID next"
    assert "iommu_sva_bind_device" in error.expected


def test_circle_of_waits_is_shown() -> None:
    """Columns that wait for one another are named in order, at the wait that closes the circle."""
    table = "CPU0 | CPU1 | CPU2\nawait CPU1 | sync CPU2 | delay 1\n | | await CPU0\n"
    text = MINIMAL[: MINIMAL.index(" CPU0")] + table + "forbidden A=0 weakest none safe none"

    error = error_of(text.replace("atc DEV0 A;", ""))

    assert "CPU0 -> CPU1 -> CPU2 -> CPU0" in error.seen
    assert (error.line, error.column) == (9, 12)


def test_circle_is_found_from_outside() -> None:
    """A column that waits for two that wait for each other is not blamed itself."""
    table = "CPU0 | CPU1 | CPU2\nawait CPU1 | sync CPU2 | await CPU1\n"
    text = MINIMAL[: MINIMAL.index(" CPU0")] + table + "forbidden A=0 weakest none safe none"

    error = error_of(text.replace("atc DEV0 A;", ""))

    assert error.seen == "a wait without end, CPU1 -> CPU2 -> CPU1"


def test_wait_is_not_ended_by_what_comes_after_it() -> None:
    """A column cannot wait for what it would do itself, later."""
    text = minimal("wp_page_copy A |", "load A r1      |")

    error = error_of(text.replace("|                         | await", "| wp_page_copy A | await"))

    assert error.seen == "'A' never writable"


def test_device_is_not_taken_for_its_column() -> None:
    """Naming a device where a column belongs says which columns it has."""
    text = minimal("DEV0      ;", "DEV0@DEV5 ;").replace("atc DEV0", "atc DEV5")

    error = error_of(text)

    assert (error.seen, error.expected) == ("device 'DEV5'", "a column of it (DEV0)")


def test_discipline_needs_something_to_bind() -> None:
    """A claim about a discipline in a scenario without an operation means nothing."""
    error = error_of(minimal("wp_page_copy A", "store A 2"))

    assert error.seen == "a claim about a discipline"
    assert "'bind OPERATION;'" in error.expected


def many(template: str, count: int) -> str:
    """Repeat a text with numbers from 0."""
    return "".join(template.replace("#", str(number)) for number in range(count))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("B = 3;", many("L# = 1;", LOCATIONS_MAX), f"at most {LOCATIONS_MAX} locations"),
        ("B = 3;", many("L#@m# = 1;", MMS_MAX), f"at most {MMS_MAX}"),
        ("| DEV0  ", many("| CPU# ", COLUMNS_MAX), f"at most {COLUMNS_MAX}"),
        ("B = 3", "B" * (NAME_CHARACTERS_MAX + 1) + " = 3", f"{NAME_CHARACTERS_MAX} characters"),
        ("small\n", "s" * (NAME_CHARACTERS_MAX + 1), f"{NAME_CHARACTERS_MAX} characters"),
        ("A device", "A device " * 999, "characters"),
        (
            "await CPU1\n",
            many("await CPU1\n| | ", INSTRUCTIONS_PER_COLUMN_MAX + 1),
            f"at most {INSTRUCTIONS_PER_COLUMN_MAX} instructions",
        ),
        ("safe", "# " + "long " * 20_000 + "\nsafe", "a scenario of at most 65536"),
    ],
)
def test_bound_is_named(old: str, new: str, expected: str) -> None:
    """What is too much says how much is allowed."""
    assert expected in error_of(minimal(old, new)).expected


def test_message_shows_the_line_and_a_caret() -> None:
    """The message begins as a compiler's does, and shows where."""
    error = error_of(minimal("when writable", "when writeable"))

    assert str(error) == (
        "small.litmus:8:34: 'writeable'; expected what to wait for "
        "(writable, freed, present or returned); did you mean 'writable'?\n"
        "     wp_page_copy A | store A 1 when writeable | load A r0 ;\n"
        "                                     ^~~~~~~~~"
    )


def test_caret_stands_below_its_word_whatever_is_before_it() -> None:
    """A tab is kept, and an endless line is cut around the place."""
    tab = str(error_of(minimal("  atc DEV0 A;", "\tatc\tDEV9 A;"))).splitlines()
    far = str(error_of(minimal("  atc", "  " + "racy A; " * 99 + "x atc"))).splitlines()

    assert tab[1:] == ["    \tatc\tDEV9 A;", "    \t   \t^~~~"]
    assert far[1][far[2].index("^")] == "x"


def test_file_that_is_not_text_is_pointed_at(tmp_path: Path) -> None:
    """A byte that is no UTF-8 gives the same error, with its line and column."""
    path = tmp_path / "small.litmus"
    path.write_bytes(MINIMAL.encode().replace(b"new A", b"n\xffw A"))

    with pytest.raises(ScenarioError) as caught:
        read_file(path)

    assert (caught.value.line, caught.value.column) == (2, 25)
    assert caught.value.seen == "byte 0xff"


def test_file_that_is_not_there_is_an_oserror(tmp_path: Path) -> None:
    """A missing file is no mistake in a scenario."""
    with pytest.raises(FileNotFoundError):
        read_file(tmp_path / "small.litmus")
