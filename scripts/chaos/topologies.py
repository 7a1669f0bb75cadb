"""The applications that things fail in: their files, as a user would write them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
ACTORS = ROOT / "scripts" / "chaos" / "actors.py"
MODEL = ROOT / "graphs" / "vehicle.tflite"
#: 16 KB, so that the rings at the ends of a link hold few tokens and a stall is soon seen
TOKEN = "int64[2048]"


class Topology(NamedTuple):
    """``write`` writes application.xml, platforms/ and mappings/ into a folder whose path it gets."""

    name: str
    write: Callable[[Path], None]
    #: results repeat after so many, 0: they are numbered
    period: int = 0


class Placed(NamedTuple):
    """An actor of a topology that is written actor by actor: its ports by name, ``port?`` for an optional input."""

    name: str
    behaviour: str
    platform: str
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()


def _actor(folder: Path, actor: Placed, token: str = TOKEN) -> str:
    ports = "".join(
        f'<in name="{name.rstrip("?")}" token="{token}"' + ' required="false"' * name.endswith("?") + "/>"
        for name in actor.inputs
    )
    ports += "".join(f'<out name="{name}" token="{token}"/>' for name in actor.outputs)
    parameter = f'<param name="folder" value="{folder}"/>'
    return f'  <actor name="{actor.name}" class="{ACTORS}:{actor.behaviour}">{parameter}{ports}</actor>\n'


def _deploy(folder: Path, homes: dict[str, str], links: Sequence[tuple[str, str]], application: str) -> None:
    """Write platforms, joined by ``links`` with a range of ports each, and mappings."""
    platforms = list(dict.fromkeys(homes.values()))
    ports = {link: 5100 + 10 * number for number, link in enumerate(links)}
    for name in ("platforms", "mappings"):
        (folder / name).mkdir()
    for platform in platforms:
        peers = [(a if platform == b else b, port) for (a, b), port in ports.items() if platform in (a, b)]
        text = "".join(f'<link to="{peer}" port="{port}"/>' for peer, port in peers)
        (folder / "platforms" / f"{platform}.xml").write_text(
            f'<platform name="{platform}"><unit name="cpu"/>{text}</platform>\n'
        )
        places = "".join(
            f'<map actor="{actor}" ' + ('unit="cpu"/>' if home == platform else f'platform="{home}"/>')
            for actor, home in homes.items()
        )
        (folder / "mappings" / f"{platform}.xml").write_text(
            f'<mapping application="{application}" platform="{platform}">{places}</mapping>\n'
        )


def _write(folder: Path, name: str, actors: Sequence[Placed], fifos: Sequence[tuple[str, str, str, str]]) -> None:
    """``fifos``: name, from, to, and what else is said of them."""
    text = "".join(_actor(folder, actor) for actor in actors)
    text += "".join(f'  <fifo name="{fifo}" from="{a}" to="{b}" {more}/>\n' for fifo, a, b, more in fifos)
    (folder / "application.xml").write_text(f'<application name="{name}">\n{text}</application>\n')
    homes = {actor.name: actor.platform for actor in actors}
    pairs = [(homes[a.partition(".")[0]], homes[b.partition(".")[0]]) for _, a, b, _ in fifos]
    _deploy(folder, homes, list(dict.fromkeys(pair for pair in pairs if pair[0] != pair[1])), name)


def k(servers: int, endpoints: int, policy: str, more: str = "") -> Topology:
    """K(servers, endpoints), made by `eprune replicate` of a chain of three."""

    def write(folder: Path) -> None:
        actors = [
            Placed("Input", "Source", "", (), ("out",)),
            Placed("Net", "Relay", "", ("in",), ("out",)),
            Placed("Head", "Sink", "", ("in",)),
        ]
        text = "".join(_actor(folder, actor) for actor in actors)
        text += '  <fifo name="f1" from="Input.out" to="Net.in"/>\n'
        text += f'  <fifo name="f2" from="Net.out" to="Head.in" {more}/>\n'
        (folder / "chain.xml").write_text(f'<application name="k">\n{text}</application>\n')
        sizes = ["--endpoints", str(endpoints), "--servers", str(servers), "--policy", policy]
        command = [sys.executable, "-m", "eprune", "replicate", str(folder / "chain.xml"), "--cut-after", "Net", *sizes]
        command += ["--allow-outside", "-o", str(folder)]
        subprocess.run(command, check=True, cwd=ROOT, stderr=subprocess.DEVNULL)

    return Topology(f"K({servers},{endpoints}) {policy}", write)


def split(policy: str, more: str = "") -> Topology:
    """A chain of four, cut in the middle."""

    def write(folder: Path) -> None:
        actors = [
            Placed("Input", "Source", "endpoint", (), ("out",)),
            Placed("L1", "Relay", "endpoint", ("in",), ("out",)),
            Placed("L2", "Relay", "server", ("in",), ("out",)),
            Placed("Sink", "Sink", "server", ("in",)),
        ]
        fifos = [
            ("f1", "Input.out", "L1.in", ""),
            ("f2", "L1.out", "L2.in", f'policy="{policy}" {more}'),
            ("f3", "L2.out", "Sink.in", ""),
        ]
        _write(folder, "split", actors, fifos)

    return Topology(f"split {policy}", write)


def join(policy: str) -> Topology:
    """Two endpoints whose tokens meet in one actor, which requires both."""

    def write(folder: Path) -> None:
        actors = [
            Placed("A", "Source", "endpoint1", (), ("out",)),
            Placed("B", "Source", "endpoint2", (), ("out",)),
            Placed("Both", "Sink", "server", ("in1", "in2")),
        ]
        fifos = [
            ("f1", "A.out", "Both.in1", f'policy="{policy}" timeout="300ms"'),
            ("f2", "B.out", "Both.in2", f'policy="{policy}" timeout="300ms"'),
        ]
        _write(folder, "join", actors, fifos)

    return Topology(f"join {policy}", write)


def diamond(policy: str, more: str = "") -> Topology:
    """A source, two arms and a join that wants the tokens of one firing; the arm of B may lose some."""

    def write(folder: Path) -> None:
        actors = [
            Placed("Input", "Source", "source", (), ("b", "c")),
            Placed("B", "Relay", "lossy", ("in",), ("out",)),
            Placed("C", "Relay", "sure", ("in",), ("out",)),
            Placed("Join", "Relay", "sink", ("b?", "c")),
        ]
        sure = f'policy="{policy}" {more}'
        fifos = [
            ("ab", "Input.b", "B.in", 'policy="drop"'),
            ("bd", "B.out", "Join.b", 'policy="drop"'),
            ("ac", "Input.c", "C.in", sure),
            ("cd", "C.out", "Join.c", sure),
        ]
        _write(folder, "diamond", actors, fifos)

    return Topology(f"diamond {policy}", write)


def tail() -> Topology:
    """A sink beside its source, and a tail that may be lost, of two platforms that end together."""

    def write(folder: Path) -> None:
        actors = [
            Placed("Input", "Source", "source", (), ("near", "far")),
            Placed("Near", "Sink", "source", ("in",)),
            Placed("L1", "Relay", "middle", ("in",), ("out",)),
            Placed("Far", "Sink", "end", ("in",)),
        ]
        fifos = [
            ("near", "Input.near", "Near.in", ""),
            ("far", "Input.far", "L1.in", 'policy="drop"'),
            ("end", "L1.out", "Far.in", 'policy="stop"'),
        ]
        _write(folder, "tail", actors, fifos)

    return Topology("tail", write)


def beside() -> Topology:
    """A source of two sinks; where one is lost it waits, and the other goes on with zeros."""

    def write(folder: Path) -> None:
        actors = [
            Placed("Input", "Source", "source", (), ("b", "c")),
            Placed("B", "Sink", "waits", ("in",)),
            Placed("C", "Sink", "zeros", ("in",)),
        ]
        fifos = [
            ("b", "Input.b", "B.in", 'policy="wait" ack="fired"'),
            ("c", "Input.c", "C.in", 'policy="zero" timeout="100ms"'),
        ]
        _write(folder, "beside", actors, fifos)

    return Topology("beside", write)


def vehicle(policy: str, more: str = "") -> Topology:
    """The vehicle classifier, cut after L2."""

    def write(folder: Path) -> None:
        text = (ROOT / "graphs" / "vehicle.xml").read_text()
        text = text.replace('"vehicle.tflite"', f'"{MODEL}"')
        text = text.replace("frame_source.py:FrameSource", f"{ACTORS}:Frames")
        text = text.replace("json_lines.py:JsonLines", f"{ACTORS}:Scores")
        lines = [line for line in text.splitlines() if 'name="count"' not in line]
        for number, line in enumerate(lines):
            if 'name="path"' in line or 'name="labels"' in line:
                lines[number] = f'    <param name="folder" value="{folder}"/>'
        text = "\n".join(lines).replace('to="L3.in"', f'to="L3.in" policy="{policy}" {more}')
        (folder / "application.xml").write_text(text)
        here = dict.fromkeys(("Input", "L1", "L2"), "endpoint")
        there = dict.fromkeys(("L3", "L4-L5", "Sink"), "server")
        _deploy(folder, {**here, **there}, [("endpoint", "server")], "vehicle")

    return Topology(f"vehicle split {policy}", write, period=16)
