"""Programs packed for a target: each with what it needs in one file, the packages for it, and what its actors read."""

from __future__ import annotations

import importlib.util
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

from eprune.codegen.program import PlatformProgram
from eprune.codegen.targets.image import INPUTS
from eprune.codegen.targets.target import Part
from eprune.deploy.build import bundle_of
from eprune.deploy.needs import needs_of, requirements
from eprune.deploy.release import Input

#: The machine and the Python of images; packages have wheels for the same Python on 64-bit Arm.
MACHINE, PYTHON = "x86_64", "3.12"


def part_of(program: PlatformProgram, packed: bool, require: Sequence[str] = (), inputs: Sequence[Input] = ()) -> Part:
    """A program with what its target packs. ``packed``: packages, too, to which ``require`` adds what nobody can guess.

    Raises Failure.
    """
    needs = needs_of(program)
    missing = [module for module in needs.modules if not _standard(module)]
    return Part(
        program,
        bundle_of(program, f"{program.platform}.pyz"),
        requirements(needs, missing, MACHINE, PYTHON, require) if packed else (),
        {name: file.data for each in inputs for name, file in each.files().items()},
        tuple(each.option(INPUTS) for each in inputs),
    )


def _standard(module: str) -> bool:
    """Whether a module comes with Python."""
    if sys.version_info >= (3, 10):
        return module in sys.stdlib_module_names
    found = importlib.util.find_spec(module) if module not in sys.builtin_module_names else None
    library = sysconfig.get_path("stdlib")
    own = found is not None and found.origin is not None and Path(found.origin).is_relative_to(library)
    return module in sys.builtin_module_names or (own and "site-packages" not in str(found))
