"""A folder with an application, its explorations and all else that a command may be asked about."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
from application import ACTORS, APPLICATION, ENDPOINT, HELPER, ROOT, SERVER, mapping
from click.testing import CliRunner

from eprune.cli.main import cli
from eprune.formats.model_files import parse_model
from eprune.formats.tflite.head import head_model
from eprune.formats.tflite.model import buffer_bytes, load_schema
from eprune.model.token import parse_token
from tests.kit import sdf3, tiny_models

ONE_EACH = ("In=1ms", "L1=1ms", "L2=1ms", "Out=1ms")
#: What is done in the folder, beforehand.
PREPARED = [
    ["import", "tiny.tflite", "-o", "imported"],
    ["import", "tiny.tflite", "-o", "changed"],
    ["apply", "partition", "wide.tflite", "--devices", "2", "--method", "lop", "-o", "parted"],
    ["certify", "keys", "endpoint"],
    ["run", "plain.xml", "-p", "platforms", "-m", "split", "--tap", "f1=f1.npy", "--tap", "f3=f3.npy", "-q"],
    ["simulate", "plain.xml", "--time", "--times", *ONE_EACH, "--trace", "predicted.json", "-o", "predicted.txt"],
    ["explore", "plain.xml", "-p", "platforms/endpoint.xml", "platforms/server.xml", "-o", "fresh", "--frames", "3"],
    ["explore", "app.xml", "-p", "platforms/endpoint.xml", "platforms/server.xml", "-o", "modelled", "--frames", "3"],
    ["explore", "plain.xml", "-p", "platforms/endpoint.xml", "platforms/server.xml", "-o", "cuts", "--frames", "3"],
    ["profile", "cuts", "-q", "--no-pin"],
    ["profile", "cuts", "-q", "--no-pin", "--latency", "--point", "2", "--point", "4"],
]

ODD = "from elsewhere import Base\n\n\nclass Odd(Base):\n    pass\n"
DEADLOCK = """<application name="ring">
  <actor name="A"><in name="in" token="int8"/><out name="out" token="int8"/></actor>
  <actor name="B"><in name="in" token="int8"/><out name="out" token="int8"/></actor>
  <fifo name="f1" from="A.out" to="B.in"/>
  <fifo name="f2" from="B.out" to="A.in"/>
</application>
"""
#: What stands for a slice of a model where programs are to start quickly, without an interpreter.
ZEROS = """

class Zeros(Actor):
    def fire(self, inputs, outputs):
        outputs["out"][...] = 0
"""
#: A source that takes its time and may forget elements, and a sink that says where it runs and how it was called.
PROBES = '''\
"""Actors that make visible what options do."""
import json
import os
import time

from eprune.runtime import Actor, EndOfStream


class Ramp(Actor):
    def __init__(self, count="2", late="0", slow="0", hole="0"):
        self.count, self.slow, self.hole = int(count), float(slow), int(hole)
        time.sleep(float(late))

    def initialize(self):
        self.frame = 0

    def fire(self, inputs, outputs):
        if self.frame == self.count:
            raise EndOfStream
        time.sleep(self.slow)
        outputs["out"].flat[self.hole :] = self.frame
        self.frame += 1


class Tell(Actor):
    def __init__(self, gain="1"):
        self.gain = float(gain)

    def fire(self, inputs, outputs):
        pass

    def finalize(self):
        cores = len(os.sched_getaffinity(0))
        print(json.dumps({"cores": cores, "gain": self.gain}), flush=True)
        if "PROBE_FILE" in os.environ:
            with open(os.environ["PROBE_FILE"], "w") as stream:
                stream.write(str(cores))
'''
PROBE = """<application name="tiny">
  <actor name="In" class="probes.py:Ramp"><out name="out" token="float32[4]"/></actor>
  <actor name="Out" class="probes.py:Tell"><in name="in" token="float32[4]"/></actor>
  <fifo name="f1" from="In.out" to="Out.in"/>
</application>
"""
#: What a requirement asks for is missed: L1 takes too long, now and then.
REQUIRED = """<application name="tiny">
  <actor name="In" rate="25/s" time="1ms"><out name="out" token="float32[4]"/></actor>
  <actor name="L1" time="10ms..30ms..60ms">
    <in name="in" token="float32[4]"/><out name="out" token="float32[4]"/>
  </actor>
  <actor name="Out" time="1ms"><in name="in" token="float32[4]"/></actor>
  <fifo name="f1" from="In.out" to="L1.in"/>
  <fifo name="f2" from="L1.out" to="Out.in"/>
  <require from="In.out" to="Out.in" rate="25/s" latency="20ms" share="0.9"/>
</application>
"""
#: The server's sink may be lost, and the endpoint's goes on.
SINKS = """<application name="tiny">
  <actor name="In" class="probes.py:Ramp"><out name="out" token="int8"/><out name="near" token="int8"/></actor>
  <actor name="Out" class="probes.py:Tell"><in name="in" token="int8" required="false"/></actor>
  <actor name="Near" class="probes.py:Tell"><in name="in" token="int8"/></actor>
  <fifo name="f1" from="In.out" to="Out.in" policy="drop"/>
  <fifo name="f2" from="In.near" to="Near.in"/>
</application>
"""


@contextlib.contextmanager
def inside(folder):
    """Work in this folder."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def broken(data):
    """The same model with one weight of its third operator changed."""
    model = parse_model(data)
    root = load_schema("model").Model.GetRootAs(data)
    weights = model.tensors[model.operators[2].inputs[1]].buffer
    changed = bytearray(data)
    changed[data.find(buffer_bytes(data, root, weights).tobytes()) + 3] ^= 0x40  # the exponent of the first weight
    return bytes(changed)


def prepare(folder):
    """Fill the folder, which is returned."""
    homes = {"In": "endpoint", "L1": "endpoint", "L2": "server", "Out": "server"}
    files = {
        "app.xml": APPLICATION,
        "plain.xml": re.sub(r'model="tiny.tflite" operators="[-0-9]+"', 'class="behaviours.py:Zeros"', APPLICATION),
        "broken.xml": APPLICATION.replace('to="L1.in"', 'to="L1.inn"'),
        "wrong.xml": APPLICATION.replace("<fifo", "<fifi", 1),
        "deadlock.xml": DEADLOCK,
        "warned.xml": DEADLOCK.replace('to="A.in"', 'to="A.in" delay="1"'),
        "probe.xml": PROBE,
        "required.xml": REQUIRED,
        "sinks.xml": SINKS,
        "behaviours.py": ACTORS + ZEROS,
        "helper.py": HELPER,
        "odd.py": ODD,
        "old.py": "from eprune.runtime.actor import Actor\n",
        "probes.py": PROBES,
        **{
            f"hosted/{name}.xml": text.replace(
                "<platform ", '<platform host="local" folder="nothing-is-deployed-here" '
            )
            for name, text in (("endpoint", ENDPOINT), ("server", SERVER))
        },
        "platforms/endpoint.xml": ENDPOINT,
        "platforms/server.xml": SERVER,
        "other/endpoint.xml": ENDPOINT.replace('port="5100"', 'port="5200" bandwidth="1MB/s"'),
        "other/server.xml": SERVER.replace('port="5100"', 'port="5200" bandwidth="1MB/s"'),
        "edge/edge.xml": SERVER.replace("server", "edge"),
        "ssh/endpoint.xml": ENDPOINT.replace('port="5100"', 'port="5100" security="ssh" address="10.0.0.2"'),
        "ssh/server.xml": SERVER.replace('port="5100"', 'port="5100" security="ssh" address="10.0.0.1"'),
        "tls/endpoint.xml": ENDPOINT.replace('port="5100"', 'port="5100" security="tls"'),
        "tls/server.xml": SERVER.replace('port="5100"', 'port="5100" security="tls"'),
        "local/endpoint.xml": mapping("endpoint", dict.fromkeys(homes, "endpoint")),
        "one/endpoint.xml": mapping("endpoint", dict.fromkeys(("In", "Out"), "endpoint")),
        **{f"split/{platform}.xml": mapping(platform, homes) for platform in ("endpoint", "server")},
        **{
            f"two/{platform}.xml": mapping(platform, {"In": "endpoint", "Out": "server"})
            for platform in ("endpoint", "server")
        },
        **{
            f"sinks/{platform}.xml": mapping(platform, {"In": "endpoint", "Near": "endpoint", "Out": "server"})
            for platform in ("endpoint", "server")
        },
    }
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    (folder / "tiny.tflite").write_bytes(tiny_models.conv_pool_dense())
    (folder / "wide.tflite").write_bytes(tiny_models.two_convolutions())
    (folder / "residual.tflite").write_bytes(tiny_models.residual_blocks())
    (folder / "stateful.tflite").write_bytes(tiny_models.counter())
    (folder / "sdf3.xml").write_text(sdf3.modem())
    exit_actors = re.findall(r'<actor name="([^"]*)"', (ROOT / "graphs/vehicle_exit.xml").read_text())
    (folder / "times.json").write_text(json.dumps(dict.fromkeys(exit_actors, 0.001)))
    trace = "seconds,platform,peer,bandwidth,latency,slowdown\n0,endpoint,server,1e6,,\n0.2,server,,,,2\n"
    seen = [{"from": "L1.out", "ssim": 0.8}, {"from": "L1.out", "ssim": 0.9}, {"from": "L2.out", "ssim": 0.1}]
    (folder / "revealed.json").write_text(json.dumps({"application": "tiny", "cuts": seen}))
    (folder / "trace.csv").write_text(trace)
    random = np.random.default_rng(1)
    pictures = random.integers(0, 256, (20, 8, 8, 3), np.uint8)
    np.savez(folder / "pictures.npz", x=pictures, y=np.arange(20) % 5)
    np.savez(folder / "unlabelled.npz", x=pictures)
    weights = random.normal(size=(5, 192)).astype(np.float32)
    answer = parse_token("float32[1,5]")
    (folder / "small.tflite").write_bytes(
        head_model(parse_token("float32[1,8,8,3]"), (1, 1), weights, weights[:, 0], answer)
    )
    with inside(folder):
        for arguments in PREPARED:
            result = CliRunner().invoke(cli, arguments)
            assert result.exit_code == 0, result.output
    changed = folder / "changed/tiny.tflite"
    changed.write_bytes(broken(changed.read_bytes()))
    shutil.copytree(folder / "cuts", folder / "timed")
    plan = json.loads((folder / "cuts/explore.json").read_text())["id"]
    times = {name: {"actors": dict.fromkeys(("In", "L1", "L2", "Out"), 0.001)} for name in ("endpoint", "server")}
    times["server"]["actors"]["L2"] = 0.002
    shutil.copytree(folder / "fresh", folder / "planned")
    for name in ("timed", "planned"):
        (folder / name / "actors.json").write_text(json.dumps({"plan": plan, "platforms": times}))
    failed = shutil.copytree(folder / "cuts", folder / "failed") / "results.jsonl"
    failed.write_text(failed.read_text().replace('"ok": true', '"ok": false', 1))
    return folder
