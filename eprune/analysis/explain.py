"""What a rule is for: why it is there, the least input that breaks it, and what to do. The texts are in explanations/.

A text is Markdown: why; the example, a code block for each file; a code block with the command that finds the fault and
what it prints; and what to do. A test runs every command.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_FOLDER = Path(__file__).parent / "explanations"
_BLOCK = re.compile(r"^```(\w+) ?(\S*)\n(.*?)^```$\n?", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Explanation:
    """``files`` (name -> text) are the example; ``command`` finds the fault in it, and prints ``output``."""

    why: str
    files: dict[str, str]
    command: str
    output: str
    advice: str


def explanation(rule: str) -> Explanation:
    """The explanation of a rule of ``rules.RULES``."""
    text = (_FOLDER / f"{rule}.md").read_text(encoding="utf-8")
    blocks = list(_BLOCK.finditer(text))
    session = blocks[-1]
    command, _, output = session.group(3).partition("\n")
    return Explanation(
        why=text[: blocks[0].start()].strip(),
        files={block.group(2): block.group(3) for block in blocks[:-1]},
        command=command.partition("$ ")[2],
        output=output,
        advice=text[session.end() :].strip(),
    )
