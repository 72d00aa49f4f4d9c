"""``shootdown bugs``: lists, explains, verifies, and takes a folder of one's own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.cli.conftest import Shootdown

OWN = """\
SHOOTDOWN mine
"A driver that tells nobody."
{
  A = 1 rw;
  C@other = none;
  atc DEV0 A;
}
 CPU0            | CPU1                 | DEV0       ;
 zap_pte_range A | store C 2 when freed | await CPU1 ;
                 |                      | load A r0  ;

weakest none
caught mutant silent : S1
safe clear_flush
bug class "iommu driver"
bug fix "none yet"
bug symptom "use after free"
bug wrong "clear; free"
bug right "clear; invalidate; free"
"""
SILENT = """\
from shootdown_daemon.machine.iommu_driver import IommuDriver
from shootdown_daemon.machine.mutant import Mutant


class Silent(IommuDriver):
    async def invalidate(self, cpu, span):
        pass


MUTANT = Mutant("silent", "Nobody is told.", driver=Silent)
"""


def own(folder: Path, mutant: str = SILENT, scenario: str = OWN) -> str:
    """A folder with one bug and what is wrong in it."""
    folder.mkdir()
    (folder / "mine.litmus").write_text(scenario)
    (folder / "silent.py").write_text(mutant)
    return str(folder)


def test_one_bug_is_explained_and_can_be_replayed(shootdown: Shootdown) -> None:
    """Symptom, both orders, the timeline, and a file that makes it happen again."""
    ended = shootdown("bugs", "vtd-devtlb-without-pasid")
    again = shootdown("replay", ended.output.split()[-1], "--verify", "2", "--json")

    assert ended.status == 0
    for said in (
        "symptom",
        "wrong ",
        "right ",
        "WRONG  mutant",
        "RIGHT  clear_flush: proved",
        "why",
    ):
        assert said in ended.output
    assert (again.status, json.loads(again.output)["same"]) == (0, 2)


def test_one_bug_is_verified(shootdown: Shootdown) -> None:
    """One JSON object, with the fields that a program reads."""
    ended = shootdown("bugs", "vtd-devtlb-without-pasid", "--verify", "--json")
    told = json.loads(ended.output)

    assert ended.status == 0
    assert (told["command"], told["verdict"]) == ("bugs", "ok")
    (bug,) = told["bugs"]
    assert {"id", "caught", "fixed_safe", "pass", "steps", "elapsed_s"} <= bug.keys()
    assert (bug["caught"], bug["fixed_safe"], bug["pass"]) == (True, True, "S1")
    assert bug["steps"] > 0


def test_a_wrong_id_gets_the_nearest_right_one(shootdown: Shootdown) -> None:
    """Part of an id, or one with a letter too few, is an error that names it."""
    for wrong in ("devtlb-without", "vtd-devtlb-without-pasi"):
        ended = shootdown("bugs", wrong)

        assert ended.status == 2
        assert "did you mean vtd-devtlb-without-pasid" in ended.errors


def test_a_folder_of_ones_own_is_verified(shootdown: Shootdown, tmp_path: Path) -> None:
    """A scenario and a file with its mutant beside it are a catalogue."""
    folder = own(tmp_path / "bugs")

    listed = shootdown("bugs", "--from", folder, "--json")
    ended = shootdown("bugs", "--verify", "--from", folder, "--json")

    assert json.loads(listed.output)["bugs"][0]["caught_by"] == "mutant silent"
    assert ended.status == 0
    assert json.loads(ended.output)["bugs"][0]["caught"]


def test_a_plan_beside_a_bug_of_ones_own_is_told(shootdown: Shootdown, tmp_path: Path) -> None:
    """With a fault plan of its name, the command that races it live is there; else it is not."""
    folder = own(tmp_path / "bugs")
    without = json.loads(shootdown("bugs", "mine", "--from", folder, "--json").output)
    plan = Path(folder, "mine.toml")
    plan.write_text('[[fault]]\nkind = "cpu.preempt"\nat = "zap_pte_range.put_page"\n')

    told = json.loads(shootdown("bugs", "mine", "--from", folder, "--json").output)

    assert without["live"] is None
    wrong = f"{folder}/mine.litmus --mutant {folder}/silent.py:MUTANT --fault {plan}"
    assert told["live"].startswith(f"shootdown run {wrong} ")


def test_a_bug_that_is_not_caught_is_a_violation(shootdown: Shootdown, tmp_path: Path) -> None:
    """Status 1, and why: what was expected and what came out."""
    right = SILENT.replace("pass", "await super().invalidate(cpu, span)")
    folder = own(tmp_path / "bugs", right)

    ended = shootdown("bugs", "--verify", "--from", folder)

    assert ended.status == 1
    assert "NOT CAUGHT" in ended.output
    assert "mutant silent: ok; expected a violation of S1" in ended.output


def test_a_mutant_of_ones_own_is_taken_everywhere(shootdown: Shootdown, tmp_path: Path) -> None:
    """Explore takes it by file, keeps it in the replay file, and explain reads it from there."""
    folder = own(tmp_path / "bugs")
    mutant = f"{folder}/silent.py:MUTANT"

    found = shootdown("explore", f"{folder}/mine.litmus", "--mutant", mutant, "--json")
    replay = json.loads(found.output)["replay"]

    assert found.status == 1
    assert f"mutant {mutant}" in Path(replay).read_text()
    assert shootdown("explain", replay).status in (0, 3)
    assert shootdown("step", f"{folder}/mine.litmus", "--mutant", "silen").status == 2


def test_an_empty_folder_is_no_catalogue(shootdown: Shootdown, tmp_path: Path) -> None:
    """A folder without bugs, or none at all, is an error of usage."""
    for folder in (tmp_path, tmp_path / "absent"):
        assert shootdown("bugs", "--from", str(folder)).status == 2


@pytest.mark.parametrize("columns", ["20", "40", "50"])
def test_a_narrow_terminal_has_the_text_under_the_name(
    shootdown: Shootdown, monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    """Beside a long name would be room for a letter or two."""
    monkeypatch.setenv("COLUMNS", columns)
    name = "a-bug-with-a-rather-long-name-of-its-own"
    Path("own").mkdir()
    Path("own", f"{name}.litmus").write_text(OWN.replace("mine", name))
    Path("own", "silent.py").write_text(SILENT)

    told = shootdown("bugs", "--from", "own")

    lines = told.output.splitlines()
    assert f"  {name}" in lines
    assert lines[lines.index(f"  {name}") + 1].startswith("      A driver that tells")
