"""What setup.cfg cannot state: the README as a package index shows it, and addresses within the repository.

Links of README.md are relative, so that they work in a checkout and on every branch. A package index has no files
beside the page, so in the package's description the links lead to the repository, whose address setup.cfg states.
"""

import re
from configparser import RawConfigParser
from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).parent


def description(text: str, url: str) -> str:
    """The Markdown ``text`` with absolute links: pictures as raw files, other files as pages of the repository."""

    def absolute(match: "re.Match[str]") -> str:
        mark, label, target = match.groups()
        return f"{mark}[{label}]({url}/{'raw' if mark else 'blob'}/main/{target})"

    return re.sub(r"(!?)\[([^\]]*)\]\((?![a-z]+:|#)([^)\s]+)\)", absolute, text)


def settings() -> dict:
    """The arguments for setuptools beside those of setup.cfg."""
    stated = RawConfigParser()
    stated.read(ROOT / "setup.cfg", encoding="utf-8")
    url = stated["metadata"]["url"]
    return {
        "long_description": description((ROOT / "README.md").read_text(encoding="utf-8"), url),
        "project_urls": {
            "Documentation": f"{url}/blob/main/docs/index.md",
            "Changes": f"{url}/blob/main/CHANGELOG.md",
            "Issues": f"{url}/issues",
        },
    }


if __name__ == "__main__":
    setup(**settings())
