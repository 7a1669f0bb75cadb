"""What is said of a model file that cannot be used."""

from __future__ import annotations

from eprune.model.finding import EpruneError, Finding, Location


def model_error(path: str, message: str, hint: str = "") -> EpruneError:
    """What to raise about the model file ``path``."""
    return EpruneError(Finding("FILE", Location(path), message, hint))
