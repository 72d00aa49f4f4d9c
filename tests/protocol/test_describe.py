"""The tables of the documents are those of the code."""

import subprocess
import sys
from pathlib import Path

import pytest
from tests.protocol.samples import GOLDEN

from shootdown_protocol import describe
from shootdown_protocol.describe import DOCS, PAGES, TABLES, render
from shootdown_protocol.errors import ErrorCode
from shootdown_protocol.registry import MESSAGES


def pages() -> str:
    """All pages with tables, one after the other."""
    return "\n".join((DOCS / name).read_text() for name in PAGES)


@pytest.mark.parametrize("name", PAGES)
def test_page_says_what_the_code_says(name: str) -> None:
    """After a change of the protocol ``python -m shootdown_protocol.describe`` was run."""
    page = (DOCS / name).read_text()

    assert render(page) == page


@pytest.mark.parametrize("table", TABLES)
def test_every_table_is_on_one_page(table: str) -> None:
    """No table was left out or is there twice."""
    assert pages().count(f"<!-- begin {table} -->") == 1
    assert pages().count(f"<!-- end {table} -->") == 1


def test_a_changed_table_is_put_right() -> None:
    """What somebody wrote by hand between markers does not stay."""
    page = "a\n<!-- begin errors -->\nby hand\n<!-- end errors -->\nb\n"

    written = render(page)

    assert "by hand" not in written
    assert written.startswith("a\n<!-- begin errors -->\n")
    assert written.endswith("<!-- end errors -->\nb\n")
    assert render(written) == written


def test_an_unknown_table_is_an_error() -> None:
    """A marker that names nothing is no silent hole in a page."""
    with pytest.raises(KeyError):
        render("<!-- begin nothing -->\n<!-- end nothing -->")


@pytest.mark.parametrize("kind", MESSAGES, ids=lambda kind: kind.name)
def test_every_message_has_its_section(kind: object) -> None:
    """Each message of the registry is described with each of its fields."""
    name, fields = kind.name, kind.type.__struct_fields__  # type: ignore[attr-defined]
    section = pages().split(f"### {name}\n")[1].split("\n### ")[0]

    assert all(f"`{field}`" in section for field in fields)


def test_every_error_code_is_listed() -> None:
    """A code that a message carries can be looked up."""
    assert all(f"| {int(code)} | " in pages() for code in ErrorCode)


def test_check_reports_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With ``--check`` an old page is named and left; without it is rewritten."""
    old = "<!-- begin errors -->\n<!-- end errors -->\n"
    for name in PAGES:
        (tmp_path / name).write_text(old)
    monkeypatch.setattr(describe, "DOCS", tmp_path)

    assert describe.main(["--check"]) == 1
    assert (tmp_path / PAGES[0]).read_text() == old
    assert PAGES[0] in capsys.readouterr().out
    assert describe.main([]) == 0
    assert describe.main(["--check"]) == 0


def test_the_module_can_be_run() -> None:
    """The command that the pages name exists and finds nothing to change."""
    command = [sys.executable, "-m", "shootdown_protocol.describe", "--check"]

    assert subprocess.run(command, check=False, capture_output=True).returncode == 0


def test_the_page_shows_a_message_of_each_kind_in_hex() -> None:
    """Whoever writes an agent in another language can compare bytes with those of the page."""
    page = (DOCS / "protocol.md").read_text()
    _, _, shown = page.partition("## Messages in hex")
    words = "".join(shown.partition("## Messages\n")[0].split())

    absent = [
        type(message).__name__
        for message, data in GOLDEN
        if f"`{type(message).__name__}`" not in words or f"`{data}`" not in words
    ]

    assert absent == []
