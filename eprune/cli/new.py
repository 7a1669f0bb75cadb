"""``eprune new``: begin an application, or an actor, from a template."""

from __future__ import annotations

import json
import keyword
import re
import shlex
import sys
from pathlib import Path
from typing import Optional

import click

from eprune.cli.errors import say
from eprune.model.names import NAME

#: What a Python file that lies beside a program must not be called.
TAKEN = {"eprune", "numpy", "ai_edge_litert", "tflite_runtime"}


@click.command("new", short_help="Begin an application or an actor from a template.")
@click.argument("kind", type=click.Choice(["app", "actor"]))
@click.argument("name", metavar="NAME")
@click.option(
    "-o",
    "--output",
    metavar="PATH",
    help="The folder of the application (NAME), or the actor's FILE.py, FILE.c or FILE.cl.",
)
@click.option("--format", "fmt", type=click.Choice(["text", "json"]), default="text", help="text (default) or json.")
def command(kind: str, name: str, output: Optional[str], fmt: str) -> None:
    """Begin an application or an actor from a template. What it writes can be analyzed and run at once.

    `new app NAME` makes a folder with a graph of three actors, their classes, two platforms, mappings for one machine
    and for a split, and a Makefile with the commands. `new actor NAME` makes a Python file with a class of that name,
    or with -o FILE.c a C file with an actor of that name, with -o FILE.cl an OpenCL file with a kernel of that name.
    Nothing is overwritten. The names of the files go to stdout.

    \b
    Examples:
      eprune new app wave && cd wave && make split
      eprune new actor EdgeFilter
      eprune new actor edges -o edges.c
    """
    written = _application(name, output or name) if kind == "app" else _actor(name, output)
    click.echo(
        json.dumps({"kind": kind, "name": name, "files": written}, indent=2) if fmt == "json" else "\n".join(written)
    )
    if fmt != "json":
        say(_next(kind, name, written))


def _application(name: str, folder: str) -> list[str]:
    from eprune.formats.templates import application, write_folder

    if not re.fullmatch(NAME, name):
        example = re.sub(r"[^A-Za-z0-9_-]+", "_", name).strip("_-") or "example"
        raise click.BadParameter(
            f"{name!r} is not a name of letters, digits, '_' and '-'; for example {example!r}", param_hint="NAME"
        )
    files = application(name)
    write_folder(folder, files)
    return [str(Path(folder, file)) for file in files]


def _actor(name: str, output: Optional[str]) -> list[str]:
    from eprune.formats.templates import actor, c_actor, opencl_actor

    language = {".c": c_actor, ".cl": opencl_actor}.get(Path(output or "").suffix)
    if output is not None and language is not None:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,99}", name):
            raise click.BadParameter(f"{name!r} is not a name in C, such as 'edges'", param_hint="NAME")
        return _write(output, language(name))
    if not re.fullmatch(r"[A-Z][A-Za-z0-9]*", name) or keyword.iskeyword(name):
        example = "".join(part[:1].upper() + part[1:] for part in re.findall(r"[A-Za-z0-9]+", name)).lstrip(
            "0123456789"
        )
        message = f"{name!r} is not the name of a class, such as {example or 'EdgeFilter'!r}"
        raise click.BadParameter(message, param_hint="NAME")
    path = output or f"{re.sub(r'(?<=[a-z0-9])(?=[A-Z])', '_', name).lower()}.py"
    module = Path(path).stem
    if Path(path).suffix != ".py" or not module.isidentifier() or keyword.iskeyword(module):
        raise click.BadParameter(f"{path!r} is not the name of a Python module, FILE.py", param_hint="--output")
    if module in TAKEN or module in getattr(sys, "stdlib_module_names", ()):
        message = f"{path!r} would hide the module {module!r}, which programs import; choose another FILE.py with -o"
        raise click.BadParameter(message, param_hint="--output" if output else "NAME")
    return _write(path, actor(name))


def _write(path: str, text: str) -> list[str]:
    from eprune.formats.atomic import write_file
    from eprune.model.finding import EpruneError, Finding, Location

    if Path(path).exists():
        hint = "choose another name, or another file with -o"
        raise EpruneError(Finding("FILE", Location(path), "is there already, and is not overwritten", hint))
    write_file(path, text)
    return [path]


def _next(kind: str, name: str, written: list[str]) -> str:
    if kind == "app":
        folder = shlex.quote(str(Path(next(file for file in written if file.endswith("application.xml"))).parent))
        return f"next: cd {folder} && make check split"
    attribute = {".c": "c", ".cl": "opencl"}.get(Path(written[0]).suffix, "class")
    factor = '    <param name="factor" value="1"/>\n' * (attribute == "opencl")
    return (
        "next: name it in a graph, for example\n"
        f'  <actor name="{name}" {attribute}="{Path(written[0]).name}:{name}">\n{factor}'
        '    <in name="in" token="float32[64]"/>\n'
        '    <out name="out" token="float32[64]"/>\n'
        "  </actor>"
    )
