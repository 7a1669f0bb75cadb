"""Deal a model's layers to devices by output channels, so that inference goes on when some of them fail."""

from __future__ import annotations

from eprune.model.partition import LayerParts, Plan

__all__ = ["LayerParts", "Plan"]
