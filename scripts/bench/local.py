"""Whole applications against bare loops: in one process, and in two."""

from __future__ import annotations

from pathlib import Path

from scripts.bench.harness import ACTORS, MODELS, ROOT, VEHICLE, bare, generate, period, ratios, run, say


def application(folder: Path, model: Path) -> tuple[Path, list[str]]:
    """A graph of source, one actor an operator group of ``model`` (a chain cut in two), and sink; on one core."""
    from eprune.formats.tflite.model import boundary, read_model

    facts = read_model(str(model))
    count = len(facts.operators)

    def tokens(operators, which):
        return str(facts.tensors[boundary(facts, operators)[which][0]].token)

    cut = next(
        index
        for index in range(count // 2, count)
        if len(boundary(facts, range(index))[1]) == 1 and len(boundary(facts, range(index, count))[0]) == 1
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
    (folder / "host.xml").write_text('<platform name="host"><unit name="cpu0" core="0"/></platform>')
    actors = ("Source", "Head", "Tail", "Sink")
    lines = "".join(f'<map actor="{name}" unit="cpu0"/>' for name in actors)
    (folder / "map.xml").write_text(f'<mapping application="bench" platform="host">{lines}</mapping>')
    return graph, ["-p", str(folder / "host.xml"), "-m", str(folder / "map.xml")]


def local(folder: Path) -> None:
    """A fused run on one core against a bare loop of one interpreter on the whole model."""
    say("model", "bare loop, ms", "eprune, ms", "throughput ratio (target)")
    say("---", "---", "---", "---")
    for model, frames, target in ((MODELS / "deeplabv3_257_mv_gpu.tflite", 100, 0.99), (VEHICLE, 1500, 0.95)):
        if not model.exists():
            say(model.stem, "the model is not here", "", "")
            continue
        graph, arguments = application(folder, model)
        fused = generate(graph, arguments, folder / "host.py")

        def ours(fused: Path = fused, frames: int = frames) -> float:
            record = run(folder, fused, arguments=("--frames", str(frames)))[0]
            return period(record, "Sink")

        ratio, our_s, bare_s = ratios(
            7, ours, lambda model=model, frames=frames: bare("loop", model, frames)["frame_s"]
        )
        say(model.stem, f"{bare_s * 1e3:.3f}", f"{our_s * 1e3:.3f}", f"{ratio:.3f} ({target})")


def split(folder: Path) -> None:
    """The vehicle classifier on two processes of one core each, split after L2, against the slower stage alone."""
    graph, _ = application(folder, VEHICLE)
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
