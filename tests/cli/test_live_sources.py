"""The guide to live sources: its graphs are sound, and its sessions show what comes out."""

from __future__ import annotations

from tests.kit import pages
from tests.kit.programs import ROOT

GUIDE = (ROOT / "docs" / "how-to" / "live_sources.md").read_text(encoding="utf-8")


def test_what_the_guide_shows_comes_out(tmp_path, monkeypatch, eprune):
    """Each line shown, in that order."""
    for name, text in pages.files(GUIDE).items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    sessions = pages.sessions(GUIDE)
    assert len(sessions) == 3
    for command, shown in sessions:
        done = eprune(*command.split()[1:])
        assert done.code == 0
        seen = iter([line.strip() for line in (done.out + done.err).splitlines()])
        for line in filter(None, (line.strip() for line in shown.splitlines())):
            assert line == "..." or line in seen, f"{command}: not seen, or not in this place: {line}\n{done.out}"


def test_its_graphs_have_no_findings(tmp_path, eprune):
    graphs = pages.files(GUIDE)
    assert len(graphs) == 2
    for name, text in graphs.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
        done = eprune("analyze", str(tmp_path / name), "--strict")
        assert (done.code, done.out.partition("\n")[0]) == (0, "no findings")
