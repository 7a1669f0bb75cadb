"""`eprune draw`: pictures where Graphviz is installed, DOT everywhere."""

from __future__ import annotations

import shutil
import xml.etree.ElementTree as ElementTree

import pytest
from application import SPLIT

needs_graphviz = pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")


def test_dot_text_goes_to_stdout_and_needs_nothing(app, eprune, monkeypatch):
    monkeypatch.setenv("PATH", "")
    done = eprune("draw", "app.xml")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith('digraph "tiny" {')
    assert '"L1" -> "L2"' in done.out


@needs_graphviz
@pytest.mark.parametrize(("kind", "start"), [("svg", b"<?xml"), ("png", b"\x89PNG"), ("pdf", b"%PDF")])
def test_the_ending_says_what_kind_of_picture(app, eprune, kind, start):
    assert eprune("draw", "app.xml", "-o", f"picture.{kind}").code == 0
    assert (app / f"picture.{kind}").read_bytes().startswith(start)


@needs_graphviz
def test_a_picture_shows_actors_sizes_platforms_and_cuts(app, eprune):
    assert eprune("draw", *SPLIT, "-o", "picture.svg").code == 0
    root = ElementTree.parse(app / "picture.svg").getroot()
    texts = {(element.text or "").strip() for element in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"tiny", "endpoint", "server", "In", "L1", "L2", "Out", "operators 0-1", "256B", "768B"} <= texts


def test_without_graphviz_the_message_says_how_to_get_it(app, eprune, monkeypatch):
    monkeypatch.setenv("PATH", "")
    done = eprune("draw", "app.xml", "-o", "picture.svg")
    assert done.code == 2
    assert "Graphviz is not installed" in done.err
    assert "apt-get install graphviz" in done.err
    assert not (app / "picture.svg").exists()


def test_an_ending_that_is_no_picture(app, eprune):
    done = eprune("draw", "app.xml", "-o", "picture.bmp")
    assert done.code == 2
    assert "'picture.bmp' ends in none of .svg, .png, .pdf, .dot" in done.err


def test_an_unreadable_graph_is_told_as_everywhere(app, eprune):
    (app / "bad.xml").write_text("<application name='a'><actr/></application>")
    done = eprune("draw", "bad.xml")
    assert done.code == 2
    assert "bad.xml:1: error[XML]" in done.err
