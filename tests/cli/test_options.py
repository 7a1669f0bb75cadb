"""-p and -m take what people type: one file, several, a shell's pattern, a folder."""

from __future__ import annotations

import pytest
from application import ENDPOINT, mapping

from eprune.cli.analyze import command
from eprune.cli.apply import command_of


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (["a.xml", "-p", "p", "-m", "m"], ["a.xml", "-p", "p", "-m", "m"]),
        (["a.xml", "-p", "p", "q", "-m", "m", "n"], ["a.xml", "-p", "p", "-p", "q", "-m", "m", "-m", "n"]),
        (["-p", "p", "a.xml", "-m", "m", "n"], ["-p", "p", "a.xml", "-m", "m", "-m", "n"]),
        (["--format", "json", "-p", "p", "a.xml"], ["--format", "json", "-p", "p", "a.xml"]),
        (["a.xml", "-p", "p", "--strict", "q"], ["a.xml", "-p", "p", "--strict", "q"]),
        (["-", "-p", "p", "-"], ["-", "-p", "p", "-p", "-"]),
        (["a.xml", "-p", "p", "--", "q"], ["a.xml", "-p", "p", "--", "q"]),
        (["a.xml", "-p"], ["a.xml", "-p"]),
        (["a.xml", "--times", "A=1ms", "B=2ms"], ["a.xml", "--times", "A=1ms", "--times", "B=2ms"]),
    ],
)
def test_several_files_after_one_option(typed, meant):
    assert command.spread(typed) == meant


def test_a_folder_means_the_files_of_its_kind(app, eprune):
    (app / "mixed").mkdir()
    (app / "mixed/a.xml").write_text(f"<!-- not a <mapping> -->\n<?xml-model href='x'?>\n{ENDPOINT}")
    (app / "mixed/b.xml").write_text(mapping("endpoint", dict.fromkeys(("In", "L1", "L2", "Out"), "endpoint")))
    (app / "mixed/notes.txt").write_text("not XML")
    done = eprune("analyze", "app.xml", "-p", "mixed", "-m", "mixed")
    assert (done.code, done.err) == (0, "")


def test_a_file_of_no_kind_in_a_folder_is_not_passed_over(app, eprune):
    (app / "platforms/broken.xml").write_text("<platfrom/>")
    done = eprune("analyze", "app.xml", "-p", "platforms", "-m", "split")
    assert done.code == 2
    assert "platforms/broken.xml" in done.out


def test_a_folder_without_such_files_is_refused(app, eprune):
    done = eprune("analyze", "app.xml", "-p", "split")
    assert done.code == 2
    assert "there is no platform file (*.xml) in the folder 'split'" in done.err


def test_what_may_be_repeated_takes_several_values_in_a_pass_as_well():
    resize = command_of("resize")
    assert resize.spread(["a.xml", "--capacities", "f1=3", "f2=4"]) == [
        *("a.xml", "--capacities", "f1=3", "--capacities", "f2=4")
    ]
