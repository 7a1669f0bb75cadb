"""A small application: its files, and the arguments that name them."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

LOCAL = ("app.xml", "-p", "platforms/endpoint.xml", "-m", "local")
SPLIT = ("app.xml", "-p", "platforms", "-m", "split")

ACTORS = '''\
"""Behaviours."""
from helper import values

from eprune.runtime import Actor, EndOfStream


class Ramp(Actor):
    def __init__(self, count="4"):
        self.count = int(count)

    def initialize(self):
        self.frame = 0

    def fire(self, inputs, outputs):
        if self.frame == self.count:
            raise EndOfStream
        outputs["out"][...] = values(self.frame, outputs["out"].shape)
        self.frame += 1


class Print(Actor):
    def fire(self, inputs, outputs):
        print(inputs["in"].tolist(), flush=True)
'''
HELPER = '''\
"""What actors.py imports from beside it."""
import numpy as np


def values(seed, shape):
    return np.random.default_rng(seed).random(shape, np.float32)
'''
APPLICATION = """\
<application name="tiny">
  <actor name="In" class="behaviours.py:Ramp"><out name="out" token="float32[1,8,8,3]"/></actor>
  <actor name="L1" model="tiny.tflite" operators="0-1">
    <in name="in" token="float32[1,8,8,3]"/><out name="out" token="float32[1,4,4,4]"/>
  </actor>
  <actor name="L2" model="tiny.tflite" operators="2-3">
    <in name="in" token="float32[1,4,4,4]"/><out name="out" token="float32[1,5]"/>
  </actor>
  <actor name="Out" class="behaviours.py:Print"><in name="in" token="float32[1,5]"/></actor>
  <fifo name="f1" from="In.out" to="L1.in"/>
  <fifo name="f2" from="L1.out" to="L2.in"/>
  <fifo name="f3" from="L2.out" to="Out.in"/>
</application>
"""
#: Two cameras, joined.
TWO = """\
<application name="two">
  <actor name="A" class="behaviours.py:Ramp"><out name="out" token="float32[1,8,8,3]"/></actor>
  <actor name="B" class="behaviours.py:Ramp"><out name="out" token="float32[1,8,8,3]"/></actor>
  <actor name="LA" model="tiny.tflite" operators="0-1">
    <in name="in" token="float32[1,8,8,3]"/><out name="out" token="float32[1,4,4,4]"/>
  </actor>
  <actor name="LB" model="tiny.tflite" operators="0-1">
    <in name="in" token="float32[1,8,8,3]"/><out name="out" token="float32[1,4,4,4]"/>
  </actor>
  <actor name="Join" class="behaviours.py:Join">
    <in name="a" token="float32[1,4,4,4]"/><in name="b" token="float32[1,4,4,4]"/><out name="out" token="float32[2]"/>
  </actor>
  <actor name="Out" class="behaviours.py:Print"><in name="in" token="float32[2]"/></actor>
  <fifo name="f1" from="A.out" to="LA.in"/>
  <fifo name="f2" from="B.out" to="LB.in"/>
  <fifo name="f3" from="LA.out" to="Join.a"/>
  <fifo name="f4" from="LB.out" to="Join.b"/>
  <fifo name="f5" from="Join.out" to="Out.in"/>
</application>
"""
JOIN = """

class Join(Actor):
    def fire(self, inputs, outputs):
        outputs["out"][:] = inputs["a"].sum(), inputs["b"].sum()
"""
ENDPOINT = '<platform name="endpoint"><unit name="cpu0" core="0"/><link to="server" port="5100"/></platform>\n'
SERVER = '<platform name="server"><unit name="cpu0"/><link to="endpoint" port="5100"/></platform>\n'


def mapping(platform: str, homes: dict[str, str]) -> str:
    """The text of a mapping file."""
    places = {actor: 'unit="cpu0"' if home == platform else f'platform="{home}"' for actor, home in homes.items()}
    body = "".join(f'  <map actor="{actor}" {place}/>\n' for actor, place in places.items())
    return f'<mapping application="tiny" platform="{platform}">\n{body}</mapping>\n'
