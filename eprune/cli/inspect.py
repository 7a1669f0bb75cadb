"""``eprune inspect``: what a class of actors takes, and what a file holds."""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Optional

import click

from eprune.cli.printing import show

if TYPE_CHECKING:
    from eprune.formats.python_classes import ClassDescription

#: Files that are summarized as a whole.
SUMMARIZED = (".c", ".cl", ".onnx", ".tflite", ".xml")
#: Up to so many names are listed in a message.
NAMED = 9


@click.command("inspect", short_help="Show what an actor's class or a file holds.")
@click.argument("what", metavar="[CLASS|FILE]", required=False)
@click.option("--format", "fmt", type=click.Choice(["text", "json"]), default="text", help="text (default) or json.")
def command(what: Optional[str], fmt: str) -> None:
    """Show what a class of actors or a file holds; without an argument, list the actors that ship with eprune.

    Of a class (a name from the library, or FILE.py:Class) you see its ports, its parameters with their defaults, and
    its documentation; of a C file its actors, of an OpenCL file its kernels; of a model its inputs, outputs and
    operators; of an application, a platform or a mapping a short summary. Python files are read, never run, and files
    in C and OpenCL are not compiled.

    \b
    Examples:
      eprune inspect
      eprune inspect JsonLines
      eprune inspect actors.py:Camera
      eprune inspect model.tflite
    """
    if what is None:
        from eprune.formats.library import library_classes

        _show_list(library_classes(), fmt, full_path=False)
    elif Path(what).suffix in SUMMARIZED:
        from eprune.formats.inspection import summarize_file
        from eprune.formats.library import library_folder

        library = Path(library_folder(), what)
        summary = summarize_file(str(library) if library.is_file() and not Path(what).exists() else what)
        kind = type(summary).__name__[: -len("Summary")].lower()
        data = {"kind": kind, **asdict(summary)}
        show(json.dumps(data, indent=2) if fmt == "json" else _SUMMARIES[kind](data), fmt)
    else:
        found = _classes(what)
        if len(found) == 1:
            show(json.dumps(_as_data(found[0]), indent=2) if fmt == "json" else _as_text(found[0]), fmt)
        else:
            _show_list(found, fmt, full_path=True)


def _classes(what: str) -> Sequence[ClassDescription]:
    """The class that is meant, or all those of a file. Raises BadParameter where there is none."""
    from eprune.formats.library import library_classes, library_folder
    from eprune.formats.python_classes import describe_classes

    file, colon, name = what.rpartition(":")
    if not colon:
        file, name = (what, "") if what.endswith(".py") or "/" in what else ("", what)
    if not file and Path(name).is_file():
        raise click.BadParameter(f"{name!r} ends in none of .py, {', '.join(SUMMARIZED)}", param_hint="CLASS|FILE")
    if not file:
        known = library_classes()
        found = [each for each in known if each.name == name]
        if not found:
            _refuse(
                f"there is no actor {name!r} in the library",
                name,
                [each.name for each in known],
                "`eprune inspect` lists them",
            )
        return found
    path = file if Path(file).exists() else str(Path(library_folder(), file))
    classes = describe_classes(path if Path(path).exists() else file)
    found = [each for each in classes if each.name == name or not name]
    if not found:
        names = [each.name for each in classes]
        _refuse(f"{file} has no class {name!r}" if name else f"{file} has no classes", name, names, "give another file")
    actors = [each for each in found if each.is_actor]
    return actors or found


def _refuse(problem: str, name: str, known: Sequence[str], otherwise: str) -> NoReturn:
    near = difflib.get_close_matches(name, known, n=1)
    few = 0 < len(known) <= NAMED
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}" if few else otherwise
    raise click.BadParameter(f"{problem}; {hint}", param_hint="CLASS|FILE")


def _show_list(classes: Sequence[ClassDescription], fmt: str, full_path: bool) -> None:
    from eprune.views.tables import table

    rows = [(each.name, each.file if full_path else Path(each.file).name, each.summary) for each in classes]
    keys = ("name", "file", "summary")
    if fmt == "json":
        click.echo(json.dumps({"kind": "list", "classes": [dict(zip(keys, row)) for row in rows]}, indent=2))
    else:
        show(table(("actor", "file", "what it does"), rows))


def _as_data(found: ClassDescription) -> dict[str, Any]:
    data = asdict(found)
    return {"kind": "class", **data, "summary": found.summary, "declares_types": found.declares_types}


def _as_text(found: ClassDescription) -> str:
    from eprune.views.tables import table

    bases = f"({', '.join(found.bases)})" if found.bases else ""
    parts = [f"{found.name}{bases}, {found.file}:{found.line}"]
    doc = found.doc.partition("\n\nParameters:\n")[0] if found.parameters else found.doc  # their table has it
    if doc:
        parts.append("\n".join(f"  {line}".rstrip() for line in doc.splitlines()))
    ports = [(name, "input", token) for name, token in _ports(found.inputs, found.reads)]
    ports += [(name, "output", token) for name, token in _ports(found.outputs, found.writes)]
    if ports:
        parts.append("Ports\n" + table(("port", "direction", "token"), ports).rstrip("\n"))
    types = (
        "declares the token types of its ports" if found.declares_types else "takes the token types that a graph states"
    )
    ports_from = "" if ports else "; its ports are those of the graph"
    parts.append(f"Port types: {types}{ports_from}")
    if found.parameters is None:
        parts.append("Parameters: not known without running the class")
    elif not found.parameters:
        parts.append("Parameters: none")
    else:
        rows = [(each.name, "required" if each.required else each.default, each.doc) for each in found.parameters]
        parts.append("Parameters\n" + table(("parameter", "default", ""), rows).rstrip("\n"))
    if found.is_actor is False:
        parts.append("This class is not derived from eprune.runtime.Actor: a graph cannot name it.")
    return "\n\n".join(parts)


def _ports(declared: Optional[dict[str, str]], named: Sequence[str]) -> list[tuple[str, str]]:
    """Declared ports with their types, then those that the code names."""
    declared = declared or {}
    return [*declared.items(), *((name, "as in the graph") for name in named if name not in declared)]


def _model(data: dict[str, Any]) -> str:
    from eprune.model.quantity import format_size
    from eprune.views.tables import counted, table

    ends = [(each["name"], side, each["token"] or "?") for side in ("input", "output") for each in data[f"{side}s"]]
    count = counted(sum(data["operators"].values()), "operator")
    subgraphs = f", {counted(data['subgraphs'], 'subgraph')}" if data["subgraphs"] > 1 else ""
    size = (
        f"{format_size(data['bytes'])}, {format_size(data['weight_bytes'])} of weights, {data['macs']} MACs per frame"
    )
    operators = table(("operator", "count"), list(data["operators"].items()))
    return (
        f"{data['file']}: a model of {count}{subgraphs}, {size}\n\n"
        f"{table(('tensor', 'direction', 'token'), ends)}\n{operators}"
    )


def _application(data: dict[str, Any]) -> str:
    from eprune.views.tables import counted, table

    size = f"{counted(len(data['actors']), 'actor')}, {counted(data['fifos'], 'FIFO')}"
    rows = [(each["name"], each["type"], each["behaviour"] or "-") for each in data["actors"]]
    text = f"{data['file']}: the application {data['name']!r}, {size}\n\n{table(('actor', 'type', 'behaviour'), rows)}"
    text += f"\nSources: {', '.join(data['sources']) or 'none'}\nSinks: {', '.join(data['sinks']) or 'none'}\n"
    for dpg in data["dpgs"]:
        values = ", ".join(map(str, dpg["values"]))
        text += f"Dynamic processing graph {dpg['name']}: {dpg['entry']} to {dpg['exit']}, "
        text += f"controlled by {dpg['control']}, control values {values}\n"
    return text


def _c(data: dict[str, Any]) -> str:
    from eprune.views.tables import table

    parts = [data["file"], *([f"  {data['doc']}"] if data["doc"] else [])]
    for actor in data["actors"]:
        parts.append(f"{actor['name']}, line {actor['line']}{', waits for the world' if actor['waits'] else ''}")
        ports = [(port, side[:-1], token) for side in ("inputs", "outputs") for port, token in actor[side].items()]
        if ports:
            parts.append("Ports\n" + table(("port", "direction", "token"), ports).rstrip("\n"))
        rows = [(name, "required" if value is None else value) for name, value in actor["parameters"].items()]
        if rows:
            parts.append("Parameters\n" + table(("parameter", "default"), rows).rstrip("\n"))
    if not data["actors"]:
        parts.append("It has no actor: no NAME_new, NAME_fire and NAME_free.")
    return "\n\n".join(parts)


def _opencl(data: dict[str, Any]) -> str:
    from eprune.views.tables import table

    parts = [data["file"], *([f"  {data['doc']}"] if data["doc"] else [])]
    for kernel in data["kernels"]:
        rows = [tuple(argument.values()) for argument in kernel["arguments"]]
        arguments = (
            table(("argument", "type", "memory", "of the actor"), rows).rstrip("\n") if rows else "  no arguments"
        )
        parts.append(f"kernel {kernel['name']}, line {kernel['line']}\n{arguments}")
    if not data["kernels"]:
        parts.append("It has no kernel whose arguments can be read.")
    return "\n\n".join(parts)


def _platform(data: dict[str, Any]) -> str:
    from eprune.model.quantity import format_size, format_time
    from eprune.views.tables import counted, table

    memory = f", {format_size(data['memory'])} of memory" if data["memory"] is not None else ""
    text = f"{data['file']}: the platform {data['name']!r}, {counted(len(data['units']), 'unit')}{memory}\n\n"
    units = [
        (name, "-" if core is None else core if isinstance(core, int) else ", ".join(map(str, core)), engine)
        for name, core in data["units"].items()
        for engine in [data["engines"].get(name, "-")]
    ]
    text += table(("unit", "core", "runs"), units)
    rows = [
        (
            link["to"],
            f"{link['address']}:{link['port']}",
            "-" if link["bandwidth"] is None else f"{format_size(link['bandwidth'])}/s",
            "-" if link["latency"] is None else format_time(link["latency"]),
            link["security"],
        )
        for link in data["links"]
    ]
    return text + ("\n" + table(("link to", "address", "bandwidth", "latency", "security"), rows) if rows else "")


def _mapping(data: dict[str, Any]) -> str:
    from eprune.views.tables import table

    rows = [(actor, f"{data['platform']}/{unit}") for actor, unit in data["local"].items()]
    rows += list(data["remote"].items())
    head = f"{data['file']}: where the actors of {data['application']!r} run, as {data['platform']!r} sees it"
    return f"{head}\n\n{table(('actor', 'on'), rows)}"


_SUMMARIES = {
    "c": _c,
    "opencl": _opencl,
    "model": _model,
    "application": _application,
    "platform": _platform,
    "mapping": _mapping,
}
