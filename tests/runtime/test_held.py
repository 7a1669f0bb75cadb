"""Inputs on hold: they have the newest tokens that came, and nobody waits for their reader."""

from __future__ import annotations

import json
import textwrap
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eprune.formats.behaviours.python_class import PythonBehaviour
from eprune.formats.xml.application import read_application
from eprune.model.graph import FaultPolicy
from eprune.runtime.fire.matched import HeldInput
from eprune.runtime.fire.matched_ports import Inlet
from eprune.runtime.kernel.fifo import Fifo
from eprune.runtime.kernel.held import Copy, Held
from tests.kit.dynamic import deploy, run_in_threads

BEHAVIOURS = """
    import json
    import time
    from pathlib import Path

    from eprune.runtime import Actor, EndOfStream


    class Source(Actor):
        waits = True

        def __init__(self, period, count, path):
            self.period, self.count, self.path, self.made = float(period), int(count), path, []

        def fire(self, inputs, outputs):
            if len(self.made) == self.count:
                raise EndOfStream
            time.sleep(self.period)
            for each in outputs["out"] if isinstance(outputs["out"], list) else [outputs["out"]]:
                each[...] = len(self.made)
            self.made.append(time.time())

        def finalize(self):
            Path(self.path).write_text(json.dumps(self.made))


    class Slow(Actor):
        def __init__(self, path):
            self.path, self.got = path, []

        def fire(self, inputs, outputs):
            begin = time.time()
            held = inputs["held"] if isinstance(inputs["held"], list) else [inputs["held"]]
            before = [int(each[0]) for each in held]
            time.sleep(0.3)
            assert before == [int(each[0]) for each in held], "it has changed under the firing"
            self.got.append([begin, before])

        def finalize(self):
            Path(self.path).write_text(json.dumps(self.got))
"""
APPLICATION = """
<application name="held">
  <actor name="Fast" class="behaviours.py:Source">
    <param name="period" value="0.01"/><param name="count" value="150"/>
    <out name="out" token="int32[2]" rate="{rate}"/>
  </actor>
  <actor name="Lead" class="behaviours.py:Source">
    <param name="period" value="0.2"/><param name="count" value="5"/>
    <out name="out" token="int32[2]"/>
  </actor>
  <actor name="Slow" class="behaviours.py:Slow">
    <in name="lead" token="int32[2]"/>
    <in name="held" token="int32[2]" rate="{rate}" hold="true"/>
  </actor>
  <fifo name="f" from="Fast.out" to="Slow.held"/>
  <fifo name="g" from="Lead.out" to="Slow.lead" capacity="8"/>
</application>
"""


@pytest.mark.parametrize("rate", [1, pytest.param(3, marks=pytest.mark.long)])
@pytest.mark.parametrize(
    ("home", "policy"),
    [
        pytest.param("one", FaultPolicy.STOP, id="within a platform"),
        pytest.param("other", FaultPolicy.STOP, id="over a link"),
        pytest.param("other", FaultPolicy.WAIT, id="over a link that waits"),
        pytest.param("other", FaultPolicy.DROP, id="over a link that drops", marks=pytest.mark.long),
    ],
)
def test_a_slow_reader_holds_up_no_producer_and_has_its_newest_tokens(tmp_path, home, policy, rate):
    """Fast makes a token each 10 ms for 1.5 s; Slow takes 300 ms for each of five firings."""
    (tmp_path / "behaviours.py").write_text(textwrap.dedent(BEHAVIOURS))
    (tmp_path / "app.xml").write_text(APPLICATION.format(rate=rate))
    graph = read_application(str(tmp_path / "app.xml"))
    actors = []
    for actor in graph.actors:
        kind = "Slow" if actor.name == "Slow" else "Source"
        behaviour = PythonBehaviour("behaviours.py", kind, str(tmp_path / "behaviours.py"))
        parameters = (*actor.parameters, ("path", str(tmp_path / f"{actor.name}.json")))
        actors.append(replace(actor, behaviour=behaviour, parameters=parameters))
    fifos = tuple(replace(fifo, policy=policy) if fifo.name == "f" else fifo for fifo in graph.fifos)
    graph = replace(graph, actors=tuple(actors), fifos=fifos)
    run_in_threads(deploy(graph, {"Fast": home, "Lead": "one", "Slow": "one"}, tmp_path))
    made = json.loads((tmp_path / "Fast.json").read_text())
    got = json.loads((tmp_path / "Slow.json").read_text())
    assert len(got) == 5 and len(made) == 150
    assert made[-1] - made[0] < 150 * 0.01 * 2  # a busy machine
    for begin, values in got:
        assert len(set(values)) == 1, "of two firings"
        # What was made 100 ms before at most, unless there was nothing newer.
        assert values[0] >= min(149, sum(at < begin - 0.1 for at in made) - 1)


@given(
    rate=st.integers(1, 3),
    delay=st.integers(0, 4),
    spare=st.integers(0, 3),
    data=st.data(),
)
def test_what_is_taken_is_the_newest_whole_firing_and_there_is_always_room_for_another(rate, delay, spare, data):
    capacity = max(delay, rate) + rate + spare
    fifo = Held("f", "int32", (), capacity, delay, np.full(delay, -1, np.int32))
    fifo.hold(rate)
    copy = Copy(fifo, rate)
    whole, taken, broken = (-1 if delay >= rate else None), None, delay % rate > 0
    for index in range(data.draw(st.integers(0, 20))):
        count = data.draw(st.sampled_from([rate, rate, rate - 1]))  # the rest may be lost
        for _ in range(count):
            assert fifo.capacity - fifo.written + fifo.released >= 1
            fifo.writable[fifo.written % capacity][...] = index
            fifo.commit(1, index)
            if broken:  # the next firing has the room of all that was before the one whose rest is lost
                whole, broken = taken, False
        if count == rate:
            whole = index
        broken = 0 < count < rate
        if data.draw(st.booleans()):
            got = fifo.take(copy)
            assert got == (None if whole == taken else whole)
            if got is not None:
                taken = got
                assert [int(each) for each in copy.tokens] == [got] * rate
    assert fifo.discarded <= fifo.released


def test_a_reader_that_looks_while_a_token_is_handed_over_looks_again(monkeypatch):
    """It may be the only one that ever comes, and its producer may end at once."""
    fifo = Held("f", "int32", (), 2)
    fifo.hold(1)
    inlet = Inlet("in", hold=True)
    port = HeldInput("in", fifo, 1, inlet)
    hand_over, seen = Fifo.commit, []

    def looked_at(self, *arguments):
        hand_over(self, *arguments)
        port.poll(0.0)
        seen.append((port.state(), len(inlet.queue), inlet.ended))

    monkeypatch.setattr(Fifo, "commit", looked_at)
    fifo.commit(1, 0)
    fifo.end()
    assert seen[0][1:] == (0, False)
    assert port.state() != seen[0][0]
    port.poll(0.0)
    assert len(inlet.queue) == 1 and inlet.ended
