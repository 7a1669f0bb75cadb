"""Whole applications against bare loops: in one process, and in two."""

from __future__ import annotations

import itertools
from pathlib import Path

from eprune.deploy.ports import free_base_port
from eprune.formats.model_files import read_model
from eprune.formats.models.boundary import boundary
from eprune.formats.tflite.cost import macs
from scripts.bench.harness import ACTORS, MODELS, ROOT, VEHICLE, bare, generate, period, ratios, run, say


def application(folder: Path, model: Path, at: float = 0.5, units: tuple[str, str] = ("host", "host")) -> Path:
    """A graph of source, two slices of ``model`` (cut where ``at`` of the operations are done), and sink.

    ``units`` are the platforms of the first and the second half, each of which has one core.
    """
    facts = read_model(str(model))
    count = len(facts.operators)
    done = list(itertools.accumulate(macs(facts, operator) for operator in facts.operators))

    def tokens(operators: range, which: int) -> str:
        return str(facts.tensors[boundary(facts, operators)[which][0]].token)

    cut = min(
        (
            index
            for index in range(1, count)
            if len(boundary(facts, range(index))[1]) == 1 and len(boundary(facts, range(index, count))[0]) == 1
        ),
        key=lambda index: abs(done[index - 1] - at * done[-1]),
    )
    first, second = range(cut), range(cut, count)
    graph = folder / f"{model.stem}.xml"
    graph.write_text(
        f"""<application name="bench">
  <actor name="Source" class="{ACTORS}:Constant"><out name="out" token="{tokens(first, 0)}"/></actor>
  <actor name="Head" model="{model}" operators="0-{cut - 1}">
    <in name="in" token="{tokens(first, 0)}"/>
    <out name="out" token="{tokens(first, 1)}"/>
  </actor>
  <actor name="Tail" model="{model}" operators="{cut}-{count - 1}">
    <in name="in" token="{tokens(second, 0)}"/>
    <out name="out" token="{tokens(second, 1)}"/>
  </actor>
  <actor name="Sink" class="{ACTORS}:Discard"><in name="in" token="{tokens(second, 1)}"/></actor>
  <fifo name="f1" from="Source.out" to="Head.in"/>
  <fifo name="f2" from="Head.out" to="Tail.in"/>
  <fifo name="f3" from="Tail.out" to="Sink.in"/>
</application>
"""
    )
    homes = dict(zip(("Source", "Head", "Tail", "Sink"), (units[0], units[0], units[1], units[1])))
    port = free_base_port(1)
    for core, own in enumerate(dict.fromkeys(units)):
        links = "".join(f'<link to="{peer}" address="127.0.0.1" port="{port}"/>' for peer in {*units} - {own})
        (folder / f"{own}.xml").write_text(f'<platform name="{own}"><unit name="cpu" core="{core}"/>{links}</platform>')
        lines = "".join(
            f'<map actor="{name}" ' + ('unit="cpu"/>' if home == own else f'platform="{home}"/>')
            for name, home in homes.items()
        )
        (folder / f"map_{own}.xml").write_text(f'<mapping application="bench" platform="{own}">{lines}</mapping>')
    return graph


def where(folder: Path, platform: str) -> list[str]:
    """The options that name a platform and its mapping."""
    return ["-p", str(folder / f"{platform}.xml"), "-m", str(folder / f"map_{platform}.xml")]


def local(folder: Path) -> None:
    """A fused run on one core against a bare loop of one interpreter on the whole model."""
    say("model", "bare loop, ms", "eprune, ms", "throughput ratio (target)")
    say("---", "---", "---", "---")
    for model, frames, target in ((MODELS / "deeplabv3_257_mv_gpu.tflite", 100, 0.99), (VEHICLE, 1500, 0.95)):
        if not model.exists():
            say(model.stem, "the model is not here", "", "")
            continue
        fused = generate(application(folder, model), where(folder, "host"), folder / "host.py")

        def ours(fused: Path = fused, frames: int = frames) -> float:
            record = run(folder, fused, arguments=("--frames", str(frames)))[0]
            return period(record, "Sink")

        ratio, our_s, bare_s = ratios(
            7, ours, lambda model=model, frames=frames: bare("loop", model, frames)["frame_s"]
        )
        say(model.stem, f"{bare_s * 1e3:.3f}", f"{our_s * 1e3:.3f}", f"{ratio:.3f} ({target})")


def split(folder: Path) -> None:
    """The vehicle classifier on two processes of one core each, split after L2, against the slower stage alone."""
    endpoint = ROOT / "graphs" / "endpoint.xml"
    server = ROOT / "graphs" / "server.xml"
    text = (ROOT / "graphs" / "vehicle.xml").read_text()
    text = text.replace('class="frame_source.py:FrameSource"', f'class="{ACTORS}:Constant"')
    text = text.replace('class="json_lines.py:JsonLines"', f'class="{ACTORS}:Discard"')
    text = "\n".join(line for line in text.splitlines() if "<param" not in line)
    graph = folder / "vehicle.xml"
    graph.write_text(text.replace('model="vehicle.tflite"', f'model="{VEHICLE}"'))
    programs = [
        generate(
            graph,
            ["-p", str(xml), "-m", str(ROOT / "mappings" / "vehicle_split" / xml.name)],
            folder / f"{xml.stem}.py",
        )
        for xml in (endpoint, server)
    ]
    frames = 2000

    def ours() -> float:
        return period(run(folder, *programs, arguments=("--frames", str(frames)))[1], "Sink")

    def bound() -> float:
        stages = [next((folder / f"{xml.stem}.models").iterdir()) for xml in (endpoint, server)]
        return max(bare("loop", stage, frames, core)["frame_s"] for core, stage in enumerate(stages))

    ratio, our_s, bound_s = ratios(7, ours, bound)
    say("split after L2", "bound, ms", "eprune, ms", "throughput ratio (target)")
    say("---", "---", "---", "---")
    say("", f"{bound_s * 1e3:.3f}", f"{our_s * 1e3:.3f}", f"{ratio:.3f} (0.95)")
