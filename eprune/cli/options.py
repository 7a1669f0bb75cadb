"""Arguments and options that several commands share."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Optional, TypeVar

import click
from click.core import ParameterSource

if TYPE_CHECKING:
    from eprune.model.graph import Computation, Graph

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
Decorator = Callable[[Decorated], Decorated]

_OUTSIDE = "eprune.allow_outside"
_MODEL = "eprune.model"


class Command(click.Command):
    """A command whose options that may be repeated take several values at once, as a shell's ``*.xml`` gives them.

    That holds after the application file; before it, ``-p a.xml APP.xml`` means what it always means.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Spread, then parse."""
        return super().parse_args(ctx, self.spread(args))

    def spread(self, args: list[str]) -> list[str]:
        """Write ``-p a b`` as ``-p a -p b``."""
        options = [param for param in self.params if isinstance(param, click.Option) and not param.is_flag]
        values = {name: option.nargs for option in options for name in option.opts}
        several = {name for option in options if option.multiple for name in option.opts}
        spread: list[str] = []
        positional = False
        current: Optional[str] = None
        tokens = iter(args)
        for token in tokens:
            if token == "--":
                return [*spread, token, *tokens]
            if token.startswith("-") and token != "-":
                current = token if token in several else None
                spread.append(token)
                spread += islice(tokens, values.get(token, 0))
            elif current is not None and positional:
                spread += [current, token]
            else:
                spread.append(token)
                positional = True
                current = None
        return spread


def refuse(names: Sequence[str], reason: str) -> None:
    """Raise a usage error if one of these parameters of the running command was typed: ``--limit: reason``."""
    context = click.get_current_context()
    typed = [
        max(param.opts, key=len)
        for param in context.command.params
        if param.name in names and context.get_parameter_source(param.name) is ParameterSource.COMMANDLINE
    ]
    if typed:
        raise click.UsageError(f"{' and '.join(typed)}: {reason}")


def typed_words(names: Collection[str]) -> list[str]:
    """Those of the running command's parameters that were typed, as one types them."""
    context = click.get_current_context()
    words: list[str] = []
    for param in context.command.params:
        name = param.name or ""
        if name in names and context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            words += _words(param, context.params.get(name, True))
    return words


def typed(page: bool = False) -> str:
    """The running command as somebody would type it: what was given.

    What only decides on the printing of results is left out, except for a ``page``, which is a result.
    """
    context = click.get_current_context()
    silent = () if page else ("quiet", "fmt")
    words = typed_words({param.name or "" for param in context.command.params} - {*silent})
    return shlex.join(["eprune", *context.command_path.split()[1:], *words])


def _words(param: click.Parameter, value: Any) -> list[str]:
    """What one types for a parameter to have this value."""
    option = max(param.opts, key=len)
    if isinstance(param, click.Option) and param.is_flag:
        return [option if value else max(param.secondary_opts, key=len)]
    words: list[str] = []
    for each in value if param.multiple else (value,):
        words += [option] * isinstance(param, click.Option)
        words += map(str, each if isinstance(each, (tuple, list)) else (each,))
    return words


def application_argument(function: Decorated) -> Decorated:
    """APP.xml, "-" for stdin."""
    return click.argument("application", metavar="APP.xml")(function)


def model_argument(function: Decorated) -> Decorated:
    """APP.xml, or a model that becomes one."""
    return click.argument("application", metavar="APP.xml|MODEL")(function)


def deployment_options(required: bool) -> Decorator[Any]:
    """-p and -m: platform and mapping files, or folders of them."""

    def decorate(function: Decorated) -> Decorated:
        mapping = click.option(
            "-m",
            "--mapping",
            "mappings",
            metavar="MAPPING.xml ...",
            multiple=True,
            required=required,
            callback=_expand,
            help="Mapping file, one per platform; or a folder of them.",
        )
        return _platforms(required)(mapping(function))

    return decorate


def _platforms(required: bool) -> Decorator[Any]:
    return click.option(
        "-p",
        "--platform",
        "platforms",
        metavar="PLATFORM.xml ...",
        multiple=True,
        required=required,
        callback=_expand,
        help="Platform file; or a folder of them.",
    )


def platforms_option(function: Decorated) -> Decorated:
    """-p without -m: platform files, or folders of them."""
    decorated: Decorated = _platforms(required=True)(function)
    return decorated


def platforms_of_unit_option(function: Decorated) -> Decorated:
    """-p of commands that need no platform, but may look for a unit in some."""
    return _platforms(False)(function)


def format_option(function: Decorated) -> Decorated:
    """--format text|json."""
    choice = click.Choice(["text", "json"])
    return click.option("--format", "fmt", type=choice, default="text", help="text (default) or json.")(function)


def outside_option(function: Decorated) -> Decorated:
    """--allow-outside, which ``allows_outside`` answers for."""
    return click.option(
        "--allow-outside",
        is_flag=True,
        expose_value=False,
        callback=_note_outside,
        help="Trust the application: files that it names may be outside of its folder (rule S1).",
    )(function)


def _note_outside(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    ctx.meta[_OUTSIDE] = value


def allows_outside() -> bool:
    """Whether the running command was given --allow-outside."""
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.meta.get(_OUTSIDE))


def model_option(function: Decorated) -> Decorated:
    """--model, which ``computation`` answers for."""
    return click.option(
        "--model",
        "computation",
        type=click.Choice(["vr-prune", "sdf"]),
        default=None,
        expose_value=False,
        callback=_note_model,
        help="How token rates are read: equal at both ends of a FIFO (vr-prune), or constant, each end its own (sdf); "
        "by default as the application says.",
    )(function)


def _note_model(ctx: click.Context, param: click.Parameter, value: Optional[str]) -> None:
    ctx.meta[_MODEL] = value


def computation() -> Optional[Computation]:
    """The model of computation that the running command was given, None for that of the application."""
    from eprune.model.graph import Computation

    context = click.get_current_context(silent=True)
    given = None if context is None else context.meta.get(_MODEL)
    return None if given is None else Computation(given)


def read_as_asked(graph: Graph) -> Graph:
    """The graph with the model of computation that the running command was given, else its own."""
    asked = computation()
    return graph if asked is None else replace(graph, computation=asked)


def reads_rates() -> bool:
    """Whether the running command has --model, and so takes any rates."""
    context = click.get_current_context(silent=True)
    return context is not None and _MODEL in context.meta


def zenoh_option(function: Decorated) -> Decorated:
    """--zenoh WHERE, of programs that others start."""
    return click.option(
        "--zenoh",
        metavar="WHERE",
        multiple=True,
        help='Where links with via="zenoh" lead: tcp/HOST:7447, a router; discover; or FILE.json5 on the device.',
    )(function)


def allow_outside() -> None:
    """Have the running command go on as if it had been given --allow-outside: what it reads was read before."""
    click.get_current_context().meta[_OUTSIDE] = True


def fuse_option(function: Decorated) -> Decorated:
    """--no-fuse."""
    return click.option(
        "--fuse/--no-fuse", default=True, help="Run consecutive slices of a model as one segment (default), or not."
    )(function)


def _expand(ctx: click.Context, param: click.Parameter, paths: tuple[str, ...]) -> tuple[str, ...]:
    """Replace folders by the files of the right kind in them."""
    if not any(path != "-" and Path(path).is_dir() for path in paths):
        return tuple(dict.fromkeys(paths))
    from eprune.formats.system import files_in
    from eprune.model.finding import WrongUsage

    try:
        return tuple(files_in(paths, "platform" if param.name == "platforms" else "mapping"))
    except WrongUsage as error:
        raise click.BadParameter(str(error), ctx, param) from None
