"""What the Python of a device must have for a program, and which packages bring it."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from eprune.codegen.program import PlatformProgram
from eprune.formats.model_files import format_of
from eprune.model.finding import Failure

#: The least Python that runs programs.
PYTHON = (3, 9)
#: The TFLite interpreters: either one will do.
INTERPRETERS = ("ai_edge_litert", "tflite_runtime")
#: Module -> the package that has it, of what actors of the library and others commonly use.
PACKAGES = {
    "PIL": "pillow",
    "av": "av",
    "cv2": "opencv-python-headless",
    "numpy": "numpy",
    "openvino": "openvino",
    "onnxruntime": "onnxruntime",
    "paho": "paho-mqtt",
    "prometheus_client": "prometheus-client",
    "psutil": "psutil",
    "pyopencl": "pyopencl",
    "scipy": "scipy",
    "serial": "pyserial",
    "smbus2": "smbus2",
    "sounddevice": "sounddevice",
    "yaml": "pyyaml",
    "zenoh": "eclipse-zenoh",
    "zstandard": "zstandard",
}
_LITERT_MACHINES = ("x86_64", "aarch64", "arm64", "AMD64")


@dataclass(frozen=True)
class Needs:
    """The modules that a program imports in any case, and those that it imports where they are or when it must.

    ``interpreter``: it runs models by TFLite.
    """

    modules: tuple[str, ...]
    wished: tuple[str, ...]
    interpreter: bool

    @property
    def all(self) -> tuple[str, ...]:
        """All modules that a device is asked about."""
        return (*self.modules, *self.wished, *INTERPRETERS)

    def missing(self, found: Mapping[str, Optional[str]]) -> list[str]:
        """What a device lacks of what is needed in any case, in words; ``found``: module -> version, or None."""
        lacking = [PACKAGES.get(module, module) for module in self.modules if found.get(module) is None]
        if self.interpreter and all(found.get(module) is None for module in INTERPRETERS):
            lacking.append("a TFLite interpreter (ai-edge-litert or tflite-runtime)")
        return lacking


def needs_of(program: PlatformProgram) -> Needs:
    """What a program needs, as far as it can be seen without running it."""
    files = [path for path in program.bundled if path.endswith(".py")]
    own = {"eprune", *(Path(path).stem for path in files)}
    sure: dict[str, None] = {"numpy": None}
    perhaps: dict[str, None] = {"psutil": None}
    for path in files:
        try:
            tree = ast.parse(Path(path).read_bytes())
        except (OSError, SyntaxError, ValueError):
            continue
        certain = dict.fromkeys(_imported(tree.body))
        sure.update(certain)
        perhaps.update(dict.fromkeys(name for name in _imported(list(ast.walk(tree))) if name not in certain))
    engines = {
        program.unit(node.unit).engine or format_of(part.file_name).engines[0]
        for node in program.nodes
        for part in node.declaration.cuts
    }
    engines |= {"pyopencl" for node in program.nodes if program.unit(node.unit).opencl is not None}
    sure.update(dict.fromkeys(sorted(engines & PACKAGES.keys())))
    sure.update(dict.fromkeys(end.via for end in program.ends if end.via))
    modules = tuple(name for name in sure if name not in own and name not in INTERPRETERS)
    wished = tuple(name for name in perhaps if name not in own and name not in sure and name not in INTERPRETERS)
    return Needs(modules, wished, "tflite" in engines)


def _imported(nodes: Sequence[ast.AST]) -> Iterator[str]:
    """The first parts of what these nodes import themselves."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield (node.module or "").partition(".")[0]


def requirements(
    needs: Needs, missing: Sequence[str], machine: str, python: str, more: Sequence[str] = ()
) -> tuple[str, ...]:
    """The packages of an environment for a program on such a machine, as pip takes them.

    ``missing`` are modules that a bare Python there lacks; ``more`` is what the user adds. Raises Failure where no
    TFLite interpreter has wheels, or where nobody knows which package a module is in.
    """
    version = tuple(int(part) for part in python.split(".")[:2])
    wanted = {"numpy": None, "psutil": None}
    for module in needs.modules:
        if module in PACKAGES:
            wanted[PACKAGES[module]] = None
        elif module in missing and not more:
            raise Failure(f"nobody knows which package has the module {module!r}: name it with --require")
    wanted.update(dict.fromkeys(PACKAGES[module] for module in needs.wished if module in PACKAGES))
    if needs.interpreter:
        if machine in _LITERT_MACHINES and version >= (3, 10):
            wanted["ai-edge-litert>=1.2"] = None
        elif machine in (*_LITERT_MACHINES, "armv7l") and version < (3, 12):
            wanted["tflite-runtime==2.14.0"] = None
            wanted = {("numpy<2" if name == "numpy" else name): None for name in wanted}
        else:
            raise Failure(f"no TFLite interpreter has wheels for Python {python} on {machine}: state another python=")
    return (*wanted, *more)


def fitting(wheels: Sequence[str], machine: str) -> list[str]:
    """Those of these wheels (paths) that such a machine may take, by the last part of their names."""
    return [path for path in wheels if (tag := Path(path).stem.rpartition("-")[2]) == "any" or tag.endswith(machine)]
