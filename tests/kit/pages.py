"""The pages of the documentation: their links, their anchors, and the files and sessions that they show."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import urllib.parse
from pathlib import Path

from tests.kit.programs import ROOT, environment

#: every page, README included
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
#: what differs from run to run (times) and from processor to processor (the last digits of scores)
TIMES = re.compile(r" \d+\.\d+(?=$|[ ,}])")


def prose(text: str) -> str:
    """A page without its code, in which nothing is a heading or a link."""
    text = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"^ {4}.*$", "", text, flags=re.MULTILINE)


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as code hosts and the site make them."""
    made: set[str] = set()
    for title in re.findall(r"^#+ (.*)$", prose(text), re.MULTILINE):
        title = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).replace("`", "")
        slug = re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-")
        made.add(slug if slug not in made else f"{slug}-1")
    return made


def broken_links(page: Path, text: str) -> list[str]:
    """The relative links of a page that lead nowhere, anchors included."""
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", prose(text))):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / urllib.parse.unquote(path)).resolve() if path else page
        known = target == page or target.exists()
        if known and anchor:
            known = anchor in anchors(text if target == page else target.read_text(encoding="utf-8"))
        if not known:
            broken.append(link)
    return broken


def files(text: str) -> dict[str, str]:
    """Name -> content of the files that a page shows: blocks whose first line is a comment with the name."""
    blocks = re.findall(
        r"^```\w+\n((?:# |<!-- |/\* )([\w/]+\.\w+)(?: -->| \*/)?\n.*?)^```$", text, re.DOTALL | re.MULTILINE
    )
    return {name: body for body, name in blocks}


def sessions(text: str) -> list[tuple[str, str]]:
    """The commands of a page's console blocks, each with the output that is shown for it."""
    blocks = re.findall(r"^```console\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [pair for block in blocks for pair in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE)]


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """What a shell does with a command of a session; both streams are in ``stdout``."""
    python = Path(sys.executable)
    return subprocess.run(
        ["bash", "-c", f'eprune() {{ "{python}" -m eprune "$@"; }}; {command}'],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=folder,
        env=environment(PATH=f"{python.parent}{os.pathsep}{os.environ['PATH']}"),
        timeout=120,
        check=False,
    )


def missing(shown: str, printed: str, timed: bool = True) -> list[str]:
    """The lines shown that were not printed, or not in that order; "..." stands for any lines.

    The width of columns may differ and, where they are ``timed``, numbers with a decimal point may.
    """

    def shape(line: str) -> str:
        words = " ".join(line.split())
        return TIMES.sub(" #", words) if timed else words

    seen = iter([shape(line) for line in printed.splitlines()])
    return [line for line in shown.splitlines() if line.strip() not in ("", "...") and shape(line) not in seen]


def differing(page: Path, folder: Path) -> tuple[int, list[str]]:
    """How many commands a page shows, and what each printed in that folder that did not end well, or not as shown."""
    commands = sessions(page.read_text(encoding="utf-8"))
    wrong = []
    for command, shown in commands:
        done = run(command, folder)
        if done.returncode != 0 or missing(shown, done.stdout):
            wrong.append(f"$ {command}\n{done.stdout}\nmissing: {missing(shown, done.stdout)}")
    return len(commands), wrong
