"""``eprune analyze``: check an application, and tell what is worth knowing of a sound one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Optional

import click

from eprune.cli import options
from eprune.cli.errors import FINDINGS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eprune.cli.faults import Survey
    from eprune.cli.inputs import Inputs
    from eprune.model.finding import Finding
    from eprune.model.graph import Behaviour


class Sources(click.ParamType):
    """``every``, ``some``, or a number of sources."""

    name = "sources"

    def convert(self, value: Any, param: Optional[click.Parameter], ctx: Optional[click.Context]) -> Any:
        """The word, or the number as an int."""
        if value in ("every", "some") or isinstance(value, int):
            return value
        if value.isascii() and value.isdigit() and 0 < len(value) < 10 and int(value) > 0:
            return int(value)
        return self.fail(f"{value!r} is neither 'every' nor 'some' nor a number of sources", param, ctx)


@click.command("analyze", cls=options.Command, short_help="Check an application, say what is wrong.")
@options.application_argument
@options.deployment_options(required=False)
@click.option(
    "--format",
    "fmt",
    type=click.Choice(["text", "json", "sarif", "junit"]),
    default="text",
    help="text for people (default), json for scripts, sarif for code hosts, junit for CI systems.",
)
@click.option("-o", "--output", metavar="FILE", default="-", help='Where the result goes; "-" is stdout (default).')
@click.option("--strict", is_flag=True, help="Warnings count as errors.")
@click.option(
    "--faults",
    type=click.IntRange(1, 9),
    metavar="K",
    help="Also check that the service survives every set of at most K failing platforms, units, links and groups.",
)
@click.option(
    "--essential",
    multiple=True,
    metavar="ACTOR ...",
    help="With --faults: the sinks that the service is for. Default: all actors without outputs.",
)
@click.option(
    "--service",
    type=Sources(),
    default="every",
    metavar="every|some|M",
    help="With --faults: every source that is left reaches an essential sink (default), or some source does, or M "
    "sources reach the same one.",
)
@click.option("--buffers", is_flag=True, help="Also the least buffer sizes, the throughput and its bottleneck.")
@click.option(
    "--times",
    multiple=True,
    metavar="ACTOR=TIME|FILE ...",
    help="How long actors take, for --buffers: A=1.2ms, or a JSON file such as actors.json of `eprune profile`.",
)
@click.option("--apply", metavar="FILE", help="With --buffers: write the graph with these buffer sizes to FILE.")
def command(
    application: str,
    platforms: Sequence[str],
    mappings: Sequence[str],
    fmt: str,
    output: str,
    strict: bool,
    faults: Optional[int],
    essential: Sequence[str],
    service: Any,
    buffers: bool,
    times: Sequence[str],
    apply: Optional[str],
) -> int:
    """Check an application graph against the design rules, with its platforms and mappings where given.

    All that is wrong with any of the files is told in one go. Of a sound graph follow its actors, FIFOs, buffer memory
    and precedence order. "-" reads APP.xml from stdin. Exit code: 0 sound, 1 findings, 2 unreadable input.

    \b
    Examples:
      eprune analyze graphs/vehicle.xml
      eprune analyze app.xml -p endpoint.xml server.xml -m mappings/split
      eprune analyze app.xml --format sarif -o findings.sarif
      eprune analyze app.xml -p platforms -m mappings --faults 1
      eprune analyze app.xml --buffers --times A=1.2ms B=3ms --apply sized.xml
    """
    from eprune.cli import buffers as sizes
    from eprune.cli.faults import survey
    from eprune.cli.inputs import read_inputs
    from eprune.formats.atomic import write_file
    from eprune.model.finding import EpruneError, has_errors

    if (times or apply is not None) and not buffers:
        raise click.UsageError("--times and --apply go with --buffers")
    if buffers and fmt not in ("text", "json"):
        raise click.UsageError(f"--buffers has no place in {fmt}: use --format text or json")
    if apply == output == "-":
        raise click.UsageError("the report and the new graph cannot both go to stdout: give -o or --apply a file")
    try:
        inputs = read_inputs(application, platforms, mappings)
    except EpruneError as error:
        write_file(output, report(error.findings, None, fmt))
        return error.exit_code
    if faults is None and (essential or service != "every"):
        raise click.UsageError("--essential and --service say what --faults K asks: give it too")
    sound = not has_errors(inputs.findings)
    surveyed = survey(inputs, faults, essential, service) if sound and faults is not None else None
    sized = sizes.sizing(inputs, sizes.read_times(times, inputs)) if sound and buffers else None
    findings = [*inputs.findings, *(surveyed.findings if surveyed else ())]
    write_file(output, report(findings, inputs if sound else None, fmt, surveyed, sized))
    if apply is not None and sized is not None:
        sizes.apply(apply, inputs, sized)
    return FINDINGS if has_errors(findings) or (strict and findings) else 0


def report(
    findings: Sequence[Finding],
    inputs: Optional[Inputs],
    fmt: str,
    survey: Optional[Survey] = None,
    sized: Optional[dict[str, Any]] = None,
) -> str:
    """Findings in one of the formats, with the facts of a sound graph (``inputs``) where the format has room.

    So with what it survives (``survey``), and with its buffer sizes (``sized``), where that was asked.
    """
    from eprune.analysis.rules import RULES
    from eprune.cli import buffers
    from eprune.cli.inputs import counts
    from eprune.formats.findings import as_data, render

    if fmt == "text":
        text = render(findings, "text") + f"{counts(findings)}\n"
        if inputs is not None:
            text += f"\n{_as_text(facts(inputs))}"
        if survey is not None:
            text += survey.as_text()
        return text if sized is None else f"{text}\n{buffers.as_text(sized)}"
    if fmt == "json":
        data = {**as_data(findings), "graph": None if inputs is None else facts(inputs)}
        if survey is not None:
            data["faults"] = survey.as_data()
        if sized is not None:
            data["buffers"] = sized
        return json.dumps(data, indent=2, ensure_ascii=False) + "\n"
    return render(findings, fmt, {name: rule.meaning for name, rule in RULES.items()})


def facts(inputs: Inputs) -> dict[str, Any]:
    """What a user wants to know of a sound graph. Sizes are in bytes, rates, capacities and delays in tokens."""
    from eprune.analysis.summary import summary

    graph = inputs.graph
    told = summary(graph, inputs.interfaces, inputs.mappings)
    homes = {actor: home for mapping in inputs.mappings for actor, home in mapping.homes().items()}
    placements = [placement for mapping in inputs.mappings for placement in mapping.placements]
    units = {placement.actor: placement.unit for placement in placements if placement.unit}
    ports = dict(graph.ports())
    return {
        "application": graph.name,
        "actors": [
            {
                "name": actor.name,
                "type": actor.type.value,
                "behaviour": _behaviour(actor.behaviour),
                "platform": homes.get(actor.name),
                "unit": units.get(actor.name),
            }
            for actor in graph.actors
        ],
        "fifos": [
            {
                "name": fifo.name,
                "from": str(fifo.source),
                "to": str(fifo.target),
                "token": str(ports[fifo.source].token),
                "token_bytes": told.token_bytes[fifo.name],
                "rate": ports[fifo.source].url,
                "capacity": fifo.capacity,
                "delay": fifo.delay,
            }
            for fifo in graph.fifos
        ],
        "buffer_bytes": told.buffer_bytes,
        "memory_bytes": told.memory_bytes,
        "order": list(told.order),
    }


def _behaviour(behaviour: Optional[Behaviour]) -> Optional[str]:
    from eprune.model.graph import ModelSlice

    if behaviour is None:
        return None
    if isinstance(behaviour, ModelSlice):
        last = f"-{behaviour.last}" if behaviour.last > behaviour.first else ""
        return f"{behaviour.file} {behaviour.first}{last}"
    model = f", {_behaviour(behaviour.model)}" if behaviour.model else ""
    return f"{behaviour.file}:{behaviour.class_name}{model}"


def _as_text(facts: dict[str, Any]) -> str:
    from eprune.model.quantity import format_size
    from eprune.views.tables import counted, table

    home = {actor["name"]: actor["platform"] for actor in facts["actors"]}
    placed = any(home.values())

    def place(actor: dict[str, Any]) -> str:
        return "/".join(filter(None, (actor["platform"], actor["unit"]))) or "-"

    def way(fifo: dict[str, Any]) -> str:
        source, target = (home[fifo[end].partition(".")[0]] or "-" for end in ("from", "to"))
        return source if source == target else f"{source} -> {target}"

    keys = ("name", "from", "to", "token", "token_bytes", "rate", "capacity", "delay")
    actors = table(
        ("actor", "type", "behaviour") + ("on",) * placed,
        [
            (actor["name"], actor["type"], actor["behaviour"] or "-") + (place(actor),) * placed
            for actor in facts["actors"]
        ],
    )
    fifos = table(
        ("FIFO", "from", "to", "token", "bytes", "rate", "capacity", "delay") + ("on",) * placed,
        [tuple(fifo[key] for key in keys) + (way(fifo),) * placed for fifo in facts["fifos"]],
    )
    memory = "".join(
        f"Memory of {platform}: {format_size(size)}, FIFO buffers and model weights\n"
        for platform, size in facts["memory_bytes"].items()
    )
    size = f"{counted(len(facts['actors']), 'actor')} and {counted(len(facts['fifos']), 'FIFO')}"
    return (
        f"{facts['application']}: {size}\n\n"
        f"{actors}\n{fifos}\n"
        f"FIFO buffers: {format_size(facts['buffer_bytes'])}\n{memory}"
        f"Precedence order: {' -> '.join(facts['order'])}\n"
    )
