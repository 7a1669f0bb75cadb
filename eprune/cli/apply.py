"""``eprune apply``: rewrite an application by a pass. Whatever is in the folder ``passes`` is a pass."""

from __future__ import annotations

import dataclasses
import inspect
import json
import typing
from collections.abc import Mapping, Sequence
from enum import Enum
from types import ModuleType
from typing import Any, Optional

import click

from eprune.cli import options
from eprune.cli.charts import drawn, kind_of
from eprune.cli.errors import say, say_next
from eprune.cli.printing import show
from eprune.passes.base import find, names, options_of, required, settled, summary

#: Passes that have a command of their own, because they need more than a system: what was read or measured first.
OWN_COMMANDS = {"import": "import", "into": "import", "ends": "import", "fuse": "codegen"}


class Passes(click.Group):
    """A group with a command for each pass."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The passes' names."""
        return names()

    def get_command(self, ctx: click.Context, cmd_name: str) -> Optional[click.Command]:
        """The command of a pass, None if there is none of that name."""
        if cmd_name not in names():
            return None
        if cmd_name in OWN_COMMANDS:
            other = OWN_COMMANDS[cmd_name]
            return click.Command(
                cmd_name,
                callback=lambda: _elsewhere(cmd_name, other),
                context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
                short_help=f"{summary(cmd_name)} (eprune {other}).",
            )
        return command_of(cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[Optional[str], Optional[click.Command], list[str]]:
        """Find the pass; an unknown one gets the nearest name for a hint."""
        try:
            find(args[0])
        except ValueError as error:
            ctx.fail(str(error))
        return super().resolve_command(ctx, args)


def _elsewhere(name: str, command: str) -> None:
    raise click.UsageError(f"the pass {name} is reached by eprune {command}")


def command_of(name: str) -> click.Command:
    """The command of a pass: its options are the fields of the pass's ``Options``."""
    module = find(name)

    def callback(
        application: str,
        output: str,
        fmt: str,
        platforms: Sequence[str] = (),
        mappings: Sequence[str] = (),
        chart: Optional[str] = None,
        **given: Any,
    ) -> None:
        kind = kind_of(chart, "--chart")
        figures = apply(name, application, platforms, mappings, output, fmt, given)
        if chart:
            _draw(name, figures, chart, kind)

    made: click.Command = click.command(name, cls=options.Command, help=_help(name), short_help=f"{summary(name)}.")(
        callback
    )
    # Decorators of a command that is there add their parameter behind the others.
    argument = options.model_argument if getattr(module, "MODELS", False) else options.application_argument
    argument(made)
    for field in _asked(module):
        _option(module, field)(made)
    if not getattr(module, "UNMAPPED", False):
        options.deployment_options(required=False)(made)
    options.outside_option(made)
    click.option("-o", "--output", required=True, metavar="DIR", help="The folder to write; it is made if necessary.")(
        made
    )
    options.format_option(made)
    if getattr(module, "CHART", False):
        click.option("--chart", metavar="FILE", help="Also draw what was measured: FILE.svg or FILE.png.")(made)
    return made


def _draw(name: str, figures: Mapping[str, Any], path: str, kind: str) -> None:
    """The chart of a pass: ``views`` has a module of its name."""
    from importlib import import_module

    from eprune.formats.atomic import write_file

    view = import_module(f"eprune.views.{name}")
    write_file(path, drawn(lambda: view.chart(figures, kind)))


def _help(name: str) -> str:
    """The pass's docstring, what is written, and an example."""
    module = find(name)
    text = (inspect.getdoc(module) or "").replace("``", "`")
    needed = [word for field in _asked(module) if required(field) for word in _sample(field)]
    models = any(field.metadata["argument"] for field in _asked(module))
    example = " ".join(["eprune apply", name, "SMALL.tflite" if models else "app.xml", *needed, "-o", f"build/{name}"])
    written = "Writes application.xml, with platforms and mappings where there are some, to DIR."
    return f"{text}\n\n{written}\n\n\b\nExample:\n  {example}"


def _sample(field: dataclasses.Field[Any]) -> list[str]:
    if field.metadata["argument"]:
        return [field.metadata["metavar"]]
    return [f"--{field.name.replace('_', '-')}", field.metadata["metavar"] or field.name.upper()]


def apply(
    name: str,
    application: str,
    platforms: Sequence[str],
    mappings: Sequence[str],
    output: str,
    fmt: str,
    given: dict[str, Any],
) -> Mapping[str, Any]:
    """Apply a pass, check what comes out, and write it; the figures of its report."""
    from eprune.analysis.check import check
    from eprune.cli.reading import read, read_sound
    from eprune.formats.model_files import is_model
    from eprune.formats.system import reaches_outside, write_system
    from eprune.model.finding import EpruneError, has_errors
    from eprune.passes import relocate

    module = find(name)
    reader = read if getattr(module, "MENDS", False) else read_sound
    model = is_model(application) and getattr(module, "MODELS", False)
    system = _imported(application) if model else reader(application, platforms, mappings, multi_rate=True)
    try:
        result = module.apply(system, _planned(name, system, options_of(name, given)))
    except ValueError as error:
        raise click.UsageError(f"{application}: {error}") from None
    made = relocate.apply(settled(result.system), relocate.Options(output)).system
    findings = check(dataclasses.replace(made, interfaces={}, problems=()))
    if has_errors(findings):
        raise EpruneError(*findings, exit_code=1)
    written = write_system(made, output)
    if fmt == "json":
        places = {name: place for name, place in dataclasses.asdict(written).items() if place}
        click.echo(json.dumps({**places, **result.report.figures}, indent=2))
        return result.report.figures
    for line in result.report.lines:
        say(f"{written.application}: {line}")
    if written.mappings:
        outside = reaches_outside(written.application)
        say_next(written.application, written.platforms, written.mappings, outside)
    return result.report.figures


def _imported(model: str) -> Any:
    """The system of a model, an actor for each operator."""
    from pathlib import Path

    from eprune.measure.stated import stated
    from eprune.model.graph import Graph
    from eprune.model.system import System
    from eprune.passes import import_

    found = stated(model)
    for note in found.notes:
        say(f"note: {note}")
    given = import_.Options(found.model, found.types, "operator", file=found.file)
    return import_.apply(System(Graph(Path(model).stem)), given).system


def _planned(name: str, system: Any, chosen: Any) -> Any:
    """The options, with what has to be measured for them: ``measure.plans`` has a module for a pass that needs it."""
    from importlib import import_module
    from importlib.util import find_spec

    from eprune.cli.progress import progress

    module = f"eprune.measure.plans.{name.replace('-', '_')}"
    if find_spec(module) is None:
        return chosen
    shown = progress(1, unit="")
    try:
        return import_module(module).planned(system, chosen, shown)
    finally:
        shown.clear()


def _asked(module: ModuleType) -> list[dataclasses.Field[Any]]:
    """The fields of ``Options`` that a user is asked for: those made by ``passes.base.option``."""
    return [field for field in dataclasses.fields(module.Options) if "help" in field.metadata]


def _option(module: ModuleType, field: dataclasses.Field[Any]) -> Any:
    """The click option of a field of ``Options``."""
    kind = typing.get_type_hints(module.Options)[field.name]
    needed = required(field)
    if field.metadata["argument"]:
        return click.argument(field.name, metavar=field.metadata["metavar"])
    settings: dict[str, Any] = {"help": field.metadata["help"], "required": needed}
    if field.metadata["metavar"]:
        settings["metavar"] = field.metadata["metavar"]
    name = f"--{field.name.replace('_', '-')}"
    if kind is bool:
        return click.option(f"{name}/--no-{name[2:]}", field.name, default=field.default, help=settings["help"])
    if typing.get_origin(kind) is tuple:
        return click.option(name, field.name, multiple=True, **settings)
    if isinstance(kind, type) and issubclass(kind, Enum):
        choice = click.Choice([member.value for member in kind])
        return click.option(name, field.name, type=choice, default=field.default.value, **settings)
    return click.option(name, field.name, type=kind, default=None if needed else field.default, **settings)


@click.command("apply", cls=Passes, short_help="Rewrite an application with a pass.", invoke_without_command=True)
@options.format_option
@click.pass_context
def command(ctx: click.Context, fmt: str) -> None:
    """Rewrite an application by a pass: a graph in, a graph out, proved like any other.

    Without a pass, lists them. What a pass needs is in its own help, eprune apply PASS --help.

    \b
    Examples:
      eprune apply
      eprune apply --format json
      eprune apply replicate graphs/vehicle_chain.xml --cut-after L3 --endpoints 6 --servers 2 -o build/k
      eprune apply resize app.xml --aim live -o build/small
    """
    if ctx.invoked_subcommand is not None:
        options.refuse(("fmt",), f"give it after the pass: eprune apply {ctx.invoked_subcommand} ... --format {fmt}")
        return
    from eprune.views.tables import table

    passes = [(name, summary(name)) for name in names()]
    if fmt == "json":
        data = [{"pass": name, "summary": text, "command": _command(name)} for name, text in passes]
        show(json.dumps(data, indent=2), fmt)
    else:
        show(table(("pass", "what it does"), passes))


def _command(name: str) -> str:
    """What one types to reach a pass."""
    return f"eprune {OWN_COMMANDS[name]}" if name in OWN_COMMANDS else f"eprune apply {name}"
