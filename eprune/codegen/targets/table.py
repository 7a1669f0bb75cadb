"""All targets but Python, which is what the others pack or run: a new one is a module and a row."""

from __future__ import annotations

from eprune.codegen.targets import compose, dora, kubernetes
from eprune.codegen.targets.target import Target

TARGETS: dict[str, Target] = {target.name: target for target in (kubernetes.TARGET, compose.TARGET, dora.TARGET)}
