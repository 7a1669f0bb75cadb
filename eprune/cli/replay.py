"""``eprune replay``: a network that is offloaded frame by frame, on a trace of its link and its platforms."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Optional

import click

from eprune.cli import options
from eprune.cli.errors import FINDINGS, INTERRUPTED, say
from eprune.cli.printing import show


@click.command("replay", cls=options.Command, short_help="Try offloading on a trace of link and load.")
@click.argument("trace", metavar="TRACE.csv", type=click.Path(exists=True, dir_okay=False))
@options.application_argument
@options.deployment_options(required=True)
@options.outside_option
@click.option("--device", required=True, metavar="PLATFORM", help="The platform that has the frames.")
@click.option("--server", required=True, metavar="PLATFORM", help="The platform that may compute the rest.")
@click.option(
    "--cut",
    multiple=True,
    metavar="ACTOR",
    help="An actor behind which the network may be cut; without any, wherever a single tensor leads on.",
)
@click.option(
    "--way",
    "ways",
    multiple=True,
    metavar="WAY",
    help="Try only this: offload, exits, random, oracle, or how many blocks run on the device in each frame. May be "
    "repeated.",
)
@click.option("--data", metavar="DIR|FILE", help="Also try early exits on the device, fitted on these pictures.")
@click.option("--wish", metavar="WHAT=VALUE", help="What exits must keep, as of apply exits (agreement=0.99).")
@click.option("--at", multiple=True, metavar="ACTOR", help="An actor behind which an exit is put.")
@click.option("--exits", type=click.IntRange(min=1), metavar="N", help="At most so many exits (1).")
@click.option(
    "--seconds",
    type=click.FloatRange(min=0.5),
    default=30.0,
    metavar="S",
    help="How much of the trace is played for each way (default: 30).",
)
@click.option("--latency", "limit", metavar="TIME", help="Also show which part of the frames takes at most TIME.")
@click.option("--set", "settings", multiple=True, metavar="ACTOR.PARAM=VALUE", help="Set an actor's parameter.")
@click.option(
    "--interpreter",
    type=click.Choice(["auto", "ai-edge-litert", "tflite-runtime"]),
    help="The TFLite interpreter to use (default: auto, the first that is installed).",
)
@options.format_option
@click.option("-q", "--quiet", is_flag=True, help="No progress on stderr.")
def command(
    trace: str,
    application: str,
    platforms: Sequence[str],
    mappings: Sequence[str],
    device: str,
    server: str,
    cut: tuple[str, ...],
    ways: Sequence[str],
    data: Optional[str],
    wish: Optional[str],
    at: tuple[str, ...],
    exits: Optional[int],
    seconds: float,
    limit: Optional[str],
    settings: Sequence[str],
    interpreter: Optional[str],
    fmt: str,
    quiet: bool,
) -> int:
    """Try a network whose cut is decided frame by frame, on a trace of its link and its platforms.

    The trace is CSV: seconds,platform,peer,bandwidth,latency,slowdown. A row with a peer says the bytes per second and
    the latency in seconds of the link between the two platforms from then on; one without says how many times slower
    than its file the platform is. Links and units are emulated.

    The same frames, one under way at a time, go through the pass offload with a fixed number of blocks on the device,
    with its decider, and with an oracle that knows the trace; with --data, also with exits on the device, and with
    exits that let as many frames go, but at random. The blocks are timed on this machine first, by the units'
    slowdowns. The mean counts each part of the trace the same; "over the oracle" is by how much it exceeds the
    oracle's, "settled" the same without the 30 frames after each change. Sources must not end before the trace does.

    Exit code: 0 fine, 1 a run failed, 2 wrong usage, 130 interrupted.

    \b
    Example:
      eprune replay walk.csv app.xml -p platforms -m mappings/split --device phone --server server --latency 50ms
    """
    from eprune.cli.progress import progress
    from eprune.cli.reading import read_sound
    from eprune.deploy.options import check_complete, placed_settings
    from eprune.measure import replay
    from eprune.measure.plans.offload import planned
    from eprune.model.quantity import parse_time
    from eprune.passes import offload
    from eprune.views import replay as view

    system = read_sound(application, platforms, mappings)
    check_complete(system)
    within = None
    if limit is not None:
        try:
            within = float(parse_time(limit))
        except ValueError as error:
            raise click.UsageError(f"--latency {error}") from None
    more: dict[str, Any] = {"data": data, "wish": wish, "at": at, "exits": exits}
    asked = offload.Options(device, (server,), cut=cut, **{name: value for name, value in more.items() if value})
    try:
        changes = replay.moments(trace)
        fitting = progress(1, unit="", quiet=quiet)
        asked = planned(system, asked, fitting)
        fitting.clear()
        blocks = replay.blocks_of(system, asked)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    known = replay.ways_of(len(blocks), bool(asked.made))
    for name in ways:
        if name not in known:
            raise click.UsageError(f"--way {name}: there are {', '.join(known)}")
    chosen = [name for name in known if not ways or name in ways]
    given: dict[str, list[str]] = {}
    for platform, setting in placed_settings(system, settings):
        given.setdefault(platform, []).append(f"--set={setting}")
    for platform in (each.platform for each in system.mappings):
        given.setdefault(platform, []).extend([f"--interpreter={interpreter}"] * bool(interpreter))
    shown = progress(len(chosen), 0, quiet)
    try:
        times = replay.block_times(system, application, asked, blocks, interpreter)
        result = replay.replay(
            system, asked, str(Path(trace).resolve()), changes, seconds, blocks, times, chosen, given, shown
        )
    except KeyboardInterrupt:
        return INTERRUPTED
    except RuntimeError as error:
        say(f"error: {error}")
        return FINDINGS
    for way in result.ways:
        if not way.frames or way.frames[-1].begun < 0.9 * seconds:
            last = way.frames[-1].begun if way.frames else 0
            say(f"note: {way.name} ended after {last:.1f} of {seconds:g} s: its source had no more frames")
    show(view.as_json(result, within) if fmt == "json" else view.as_text(result, within), fmt)
    return 0
