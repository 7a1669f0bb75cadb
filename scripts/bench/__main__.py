"""Benchmarks, as ratios taken side by side: each pair is run in turn, several times, and the median ratio counts.

python -m scripts.bench                    all of them
python -m scripts.bench local link         some of them
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Optional

from scripts.bench import emulation as emulated_links
from scripts.bench import exits as early
from scripts.bench import exploring as every_cut
from scripts.bench import faults as failures
from scripts.bench import replicas as many
from scripts.bench import search as cuts
from scripts.bench import secure as protected_links
from scripts.bench.dpg import dpg
from scripts.bench.imported import imported
from scripts.bench.ssd import ssd

ROOT = Path(__file__).resolve().parents[2]
MODELS = ROOT.parent / "shared" / "models"
BARE = ROOT / "scripts" / "bench" / "bare.py"
ACTORS = ROOT / "scripts" / "bench" / "actors.py"
VEHICLE = ROOT / "graphs" / "vehicle.tflite"


def say(*cells: str) -> None:
    print("| " + " | ".join(cells) + " |", flush=True)


def bare(*arguments: object) -> dict[str, float]:
    command = [sys.executable, str(BARE), *map(str, arguments)]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True).stdout)


def program(folder: Path, platform: str, *declarations: str) -> Path:
    """A program as the code generator writes it, of the actors of this folder."""
    text = ["from eprune.runtime import Program", f"program = Program('bench', {platform!r}, 'd', __file__)"]
    text += ["program.unit('cpu0', 0)", "program.unit('cpu1', 1)"]
    text += [f"program.{declaration}" for declaration in declarations]
    text += ["raise SystemExit(program.main())"]
    path = folder / f"{platform}.py"
    path.write_text("\n".join(text).replace("ACTORS:", f"{os.path.relpath(ACTORS, folder)}:"))
    return path


def run(folder: Path, *programs: Path, arguments: tuple[str, ...] = ()) -> list[dict]:
    """Run programs side by side; their records."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    records = [folder / f"{path.stem}.json" for path in programs]
    started = [
        subprocess.Popen([sys.executable, str(path), "--record", str(record), *arguments], env=environment)
        for path, record in zip(programs, records)
    ]
    for process in started:
        if process.wait() != 0:
            raise SystemExit(f"{process.args} failed")
    return [json.loads(record.read_text()) for record in records]


def period(record: dict, actor: str) -> float:
    """Seconds between two firings of an actor, on average."""
    told = record["actors"][actor]
    return (told["last_s"] - told["first_s"]) / (told["firings"] - 1)


def ratios(pairs: int, one, other) -> tuple[float, float, float]:
    """Median of other/one, and the medians of both, run in turn."""
    measured = [(one(), other()) for _ in range(pairs)]
    return (
        statistics.median(second / first for first, second in measured),
        statistics.median(first for first, _ in measured),
        statistics.median(second for _, second in measured),
    )


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


def generate(graph: Path, arguments: list[str], output: Path, *more: str) -> Path:
    command = [sys.executable, "-m", "eprune", "codegen", str(graph), *arguments, "-o", str(output), *more]
    subprocess.run(command, check=True, cwd=ROOT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    return output


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


def link(folder: Path) -> None:
    """TX to RX over loopback, against a bare sendall and recv_into pair."""
    from eprune.deploy.ports import free_base_port

    def both(nbytes: int, count: int) -> float:
        port = free_base_port(1)
        receiver = subprocess.Popen(
            [sys.executable, str(BARE), "receiver", str(port), str(nbytes), str(count)], stdout=subprocess.PIPE
        )
        while True:
            command = [sys.executable, str(BARE), "sender", str(port), str(nbytes), str(count)]
            if subprocess.run(command, stderr=subprocess.DEVNULL).returncode == 0:
                break
            time.sleep(0.05)
        return json.loads(receiver.communicate()[0])["token_s"]

    def ours(nbytes: int, count: int, capacity: int, source: str = "Idle", sink: str = "Discard") -> float:
        port = free_base_port(1)
        shape = f"'uint8', ({nbytes},), capacity={capacity}"
        tx = program(
            folder,
            "tx",
            f"actor('A', 'ACTORS:{source}', 'cpu0')",
            f"tx('f', 'A.out', {shape}, to='rx', address='127.0.0.1', port={port})",
        )
        rx = program(
            folder, "rx", f"actor('B', 'ACTORS:{sink}', 'cpu1')", f"rx('f', 'B.in', {shape}, frm='tx', port={port})"
        )
        return period(run(folder, tx, rx, arguments=("--frames", str(count)))[1], "B")

    say("token", "bare pair", "eprune", "throughput ratio (target)")
    say("---", "---", "---", "---")
    for nbytes, count in ((64 * 1024, 20000), (256 * 1024, 6000), (1024 * 1024, 2000), (4 * 1024 * 1024, 500)):
        ratio, our_s, bare_s = ratios(5, lambda n=nbytes, c=count: ours(n, c, 4), lambda n=nbytes, c=count: both(n, c))
        rates = [f"{nbytes / seconds / 1e9:.2f} GB/s" for seconds in (bare_s, our_s)]
        say(f"{nbytes // 1024} KiB", *rates, f"{ratio:.2f} (0.8)")
    for capacity in (2, 64):
        seconds = statistics.median(ours(400, 200_000, capacity) for _ in range(5))
        say(f"400 B, capacity {capacity}", "", f"{1 / seconds:.0f} tokens/s", "(50000 tokens/s)")
    ours(73728, 500, 2, "Stamp", "Lag")


def hop(folder: Path) -> None:
    """A hand-over between two actors of one process, on one core, against two bare SimpleQueues."""
    path = program(
        folder,
        "hop",
        "actor('A', 'ACTORS:Idle', 'cpu0')",
        "actor('B', 'ACTORS:Discard', 'cpu0')",
        "fifo('f', 'A.out', 'B.in', 'int32', (), capacity=2)",
    )
    count = 100_000

    def ours() -> float:
        return period(run(folder, path, arguments=("--frames", str(count)))[0], "B")

    ratio, bare_s, our_s = ratios(7, lambda: bare("handover", count)["token_s"], ours)
    say("hop", "bare, us", "eprune, us", "cost ratio (target)")
    say("---", "---", "---", "---")
    say("", f"{bare_s * 1e6:.2f}", f"{our_s * 1e6:.2f}", f"{ratio:.2f} (at most 1.5)")


def analyzer(folder: Path) -> None:
    """eprune analyze on a chain and on a random layered graph."""
    import random

    say("graph", "actors", "FIFOs", "seconds", "peak memory")
    say("---", "---", "---", "---", "---")
    for kind in ("chain", "layered"):
        for count in (1000, 10_000, 100_000):
            choose = random.Random(count)
            width = 1 if kind == "chain" else 10
            edges = [
                (source, target)
                for target in range(width, count)
                for source in sorted(
                    {choose.randrange(max(0, target - 3 * width), target - width + 1) for _ in range(2)}
                )
            ]
            if kind == "chain":
                edges = [(target - 1, target) for target in range(1, count)]
            ports: list[list[str]] = [[] for _ in range(count)]
            for number, (source, target) in enumerate(edges):
                ports[source].append(f'<out name="o{number}" token="float32[4]"/>')
                ports[target].append(f'<in name="i{number}" token="float32[4]"/>')
            lines = [f'<actor name="a{n}">{"".join(own)}</actor>' for n, own in enumerate(ports)]
            lines += [f'<fifo name="f{n}" from="a{u}.o{n}" to="a{v}.i{n}"/>' for n, (u, v) in enumerate(edges)]
            path = folder / f"{kind}.xml"
            path.write_text('<application name="big">\n' + "\n".join(lines) + "\n</application>\n")
            begin = time.perf_counter()
            process = subprocess.Popen(
                [sys.executable, "-m", "eprune", "analyze", str(path)], cwd=ROOT, stdout=subprocess.DEVNULL
            )
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode != 0:
                raise SystemExit("the graph is not sound")
            seconds = time.perf_counter() - begin
            say(kind, f"{count}", f"{len(edges)}", f"{seconds:.2f}", f"{usage.ru_maxrss / 1024:.0f} MiB")


def start(folder: Path) -> None:
    """What starting costs."""
    say("command", "seconds")
    say("---", "---")
    for name, arguments in {
        "python3 -c pass": ["-c", "pass"],
        "from eprune.runtime import Program": ["-c", "from eprune.runtime import Program"],
        "eprune --help": ["-m", "eprune", "--help"],
    }.items():
        times = []
        for _ in range(11):
            begin = time.perf_counter()
            subprocess.run([sys.executable, *arguments], cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
            times.append(time.perf_counter() - begin)
        say(name, f"{statistics.median(times):.3f}")


def emulation(folder: Path) -> None:
    """Throughput and round trips over an emulated link, against `tc` in network namespaces."""
    emulated_links.emulation(folder, say)


def secure(folder: Path) -> None:
    """Throughput of large tokens and round trips of small ones, over TLS and through SSH, against plain links."""
    protected_links.secure(folder, say)


def exploring(folder: Path) -> None:
    """Every partition point of both applications, on two cores over loopback: measured, and predicted."""
    every_cut.exploring(folder, say)


def search(_: Path) -> None:
    """Growth of the search for the best of all cuts: random graphs, over two tiers and three."""
    cuts.search(say)


def faults(folder: Path) -> None:
    """What a link that may break costs, and how long it takes to notice faults and to get over them."""
    failures.faults_bench(folder, say)


def replicas(folder: Path) -> None:
    """K(1,n) and K(2,n) of the vehicle classifier, each process with a fifth of a core: time per frame."""
    many.replicas(folder, say)


def dynamic(folder: Path) -> None:
    """An iteration of five actors on one core that compute nothing: three of them dynamic, against all static.

    The entry leads, so that two control tokens an iteration go to the member and to the exit.
    """
    chain = ("Source", "Split", "Work", "Merge", "Sink")
    varying = {"Split", "Work"}

    def five(name: str, value: Optional[int]) -> Path:
        kinds = dict.fromkeys(chain, "Idle")
        lines = []
        for actor, kind in {**kinds, "Sink": "Discard"}.items():
            choose = actor == "Split" and value is not None
            behaviour, more = ("Choose", f", {{'value': '{value}'}}") if choose else (kind, "")
            lines.append(f"actor({actor!r}, 'ACTORS:{behaviour}', 'cpu0'{more})")
        for source, target in zip(chain, chain[1:]):
            rate = ", rate=(0, 1)" if source in varying and value is not None else ""
            lines.append(f"fifo('{source}', '{source}.out', '{target}.in', 'uint8', (64,), capacity=4{rate})")
        if value is not None:
            lines += [f"row('Deep', {row}, {{'Split': {row}, 'Work': {row}}})" for row in (0, 1)]
            for actor in ("Work", "Merge"):
                ends = f"'Split.to{actor}', '{actor}.mode'"
                lines.append(f"fifo('c{actor}', {ends}, 'int32', (), capacity=4, control='Deep')")
        return program(folder, name, *lines)

    programs = [five("static", None), five("active", 1), five("idle", 0)]

    def iteration(path: Path) -> float:
        return period(run(folder, path, arguments=("--frames", "20000"))[0], "Sink")

    say("an iteration of five firings", "static, us", "dynamic, us", "ratio")
    say("---", "---", "---", "---")
    for what, path in (("the branch is active", programs[1]), ("the branch is idle", programs[2])):
        ratio, static_s, dynamic_s = ratios(7, lambda: iteration(programs[0]), lambda path=path: iteration(path))
        say(what, f"{static_s * 1e6:.1f}", f"{dynamic_s * 1e6:.1f}", f"{ratio:.2f}")


def exits(folder: Path) -> None:
    """The vehicle classifier with an early exit, at 0, 50 and 100 % exits: bytes and time a frame."""
    early.exits(folder, say)


_ALL = (
    local,
    split,
    link,
    hop,
    analyzer,
    dpg,
    dynamic,
    exits,
    start,
    imported,
    ssd,
    emulation,
    exploring,
    secure,
    search,
    replicas,
    faults,
)
BENCHES = {each.__name__: each for each in _ALL}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[[], *BENCHES], help="which; all by default")
    names = parser.parse_args().names or list(BENCHES)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for name in names:
        print(f"\n{BENCHES[name].__doc__}\n", flush=True)
        with tempfile.TemporaryDirectory(prefix="eprune-bench-") as folder:
            BENCHES[name](Path(folder))


if __name__ == "__main__":
    main()
