"""How far a long measurement has come, for whoever wants to show it."""

from __future__ import annotations


class Progress:
    """Takes how far a measurement has come, and shows nothing; ``cli.progress`` has one that does."""

    def begin(self, title: str) -> None:
        """The next part begins."""

    def update(self, done: int) -> None:
        """The part has come to so many frames, or steps."""

    def say(self, text: str) -> None:
        """A message for the user."""

    def clear(self) -> None:
        """The part has ended."""


SILENT = Progress()
