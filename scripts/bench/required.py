"""What a requirement costs: the time of a frame where its age and its parts are measured, beside the same where not."""

from __future__ import annotations

from pathlib import Path

from eprune.deploy.ports import free_base_port
from scripts.bench.harness import period, program, ratios, run, say

PAIRS, FRAMES = 5, 10_000
#: FIFOs -> the token's bytes, between actors that do nothing
SIZES = (64, 64 * 1024)


def required(folder: Path) -> None:
    """Three actors that do nothing: on one platform, and the last two on another one, in turn with and without."""
    say("", "frame without, us", "with, us", "ratio")
    say(*["---"] * 4)
    for size in SIZES:
        for name, make in (("within a platform", _within), ("over a link", _across)):
            programs = [make(folder / f"{name}-{size}-{asked}", size, asked) for asked in (False, True)]

            def one(made: list[Path]) -> float:
                return period(run(made[0].parent, *made, arguments=(f"--frames={FRAMES}",))[-1], "Sink")

            ratio, without, having = ratios(
                PAIRS, lambda made=programs[0]: one(made), lambda made=programs[1]: one(made)
            )
            say(f"{size} bytes, {name}", f"{without * 1e6:.2f}", f"{having * 1e6:.2f}", f"{ratio:.3f}")


def _asks(asked: bool, *fifos: str) -> list[str]:
    return [f"require('Source.out', 'Sink.in', 60.0, fifos={fifos!r})"] * asked


def _within(folder: Path, size: int, asked: bool) -> list[Path]:
    folder.mkdir()
    return [
        program(
            folder,
            "one",
            "actor('Source', 'ACTORS:Constant', 'cpu0')",
            "actor('Copy', 'ACTORS:Echo', 'cpu0')",
            "actor('Sink', 'ACTORS:Discard', 'cpu0')",
            "cluster('Source', 'Copy', 'Sink')",
            f"fifo('f', 'Source.out', 'Copy.in', 'uint8', ({size},), 2)",
            f"fifo('g', 'Copy.out', 'Sink.in', 'uint8', ({size},), 2)",
            *_asks(asked, "f", "g"),
        )
    ]


def _across(folder: Path, size: int, asked: bool) -> list[Path]:
    folder.mkdir()
    port, kind = free_base_port(1), f"'uint8', ({size},), 8"
    first = program(
        folder,
        "first",
        "actor('Source', 'ACTORS:Constant', 'cpu0')",
        f"tx('f', 'Source.out', {kind}, 'second', '127.0.0.1', {port})",
        *_asks(asked, "f"),
    )
    second = program(
        folder,
        "second",
        "actor('Copy', 'ACTORS:Echo', 'cpu1')",
        "actor('Sink', 'ACTORS:Discard', 'cpu1')",
        "cluster('Copy', 'Sink')",
        f"rx('f', 'Copy.in', {kind}, 'first', {port})",
        f"fifo('g', 'Copy.out', 'Sink.in', 'uint8', ({size},), 2)",
        *_asks(asked, "f", "g"),
    )
    return [first, second]
