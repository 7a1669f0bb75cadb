"""The sequential executor: what the application means, without threads, rings or links."""

from __future__ import annotations

import io
import re
import shutil
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from eprune.analysis.check import check
from eprune.deploy.build import programs_of
from eprune.explore.space import mapping
from eprune.formats.system import read_system
from eprune.measure import timing
from eprune.measure.executor import Executor, choices
from eprune.model.platform import Link, Platform, Unit
from tests.kit.programs import ROOT


def program_of(name, near=None, together=True):
    """The program of a platform with these actors (None: all)."""
    system = read_system(str(name if isinstance(name, Path) else ROOT / f"graphs/{name}.xml"))
    homes = {a.name: "near" if near is None or a.name in near else "far" for a in system.graph.actors}
    platform = Platform("near", (Unit("cpu"),), (Link("far"),))
    placed = replace(system, platforms=(platform,), mappings=(mapping(system.graph, platform, homes),))
    assert not check(placed)
    (program,) = programs_of(placed, together)
    return program


def test_rates_follow_the_control_tokens():
    program = program_of("predistorter")
    with Executor(program) as executor:
        frames = list(executor.run(6))
    firings = [firing for frame in frames for firing in frame]
    (dpg,) = choices(firings, program).values()
    assert sum(dpg.values()) == len(frames) == 6
    assert set(dpg) <= {row.value for row in program.rows}


def test_fusing_changes_no_bit():
    results = []
    for together in (True, False):
        program = program_of("vehicle", together=together)
        with Executor(program) as executor:
            results.append([executor.fire(node.name).outputs for node in executor.nodes][-2])
    fused, apart = ({port: value.copy() for port, value in outputs.items()} for outputs in results)
    assert [value.tobytes() for value in fused.values()] == [value.tobytes() for value in apart.values()]


def test_what_comes_from_elsewhere_is_fed():
    program = program_of("vehicle", near=("L3", "L4-L5", "Sink"))
    with Executor(program) as executor:
        (end,) = program.rx
        token = np.zeros(end.fifo.token.shape, end.fifo.token.dtype)
        executor.feed(end.fifo.name, token)
        (first, *_) = executor.frame()
    (scores,) = first.outputs.values()
    assert scores.shape == (1, 4) and scores.sum() == pytest.approx(1)


def test_a_behaviour_that_fails_is_named(monkeypatch):
    program = program_of("vehicle", near=("L4-L5", "Sink"))
    with Executor(program) as executor:
        executor.feed(program.rx[0].fifo.name, np.zeros((7, 7), np.float32))
        with pytest.raises(RuntimeError, match="actor 'L4-L5' failed"):
            executor.frame()


@pytest.mark.parametrize("told", [(), ("3",), ("4",)])
@pytest.mark.parametrize("together", [True, False])
def test_members_without_a_control_input_change_nothing(tmp_path, told, together):
    """The deep half of an early exit, whose actors are not told of the frames that leave before them."""
    text = (ROOT / "graphs/vehicle_exit.xml").read_text(encoding="utf-8")
    for number, token in (("3", "float32[1,24,24,32]"), ("4", "float32[1,100]")):
        if number not in told:
            text = text.replace(f'    <out name="to{number}" control="true" token="int32"/>\n', "")
            data = f'    <in name="in" token="{token}" rate="0..1"/>'
            text = text.replace(f'    <in name="mode" control="true" token="int32"/>\n{data}', data)
            text = re.sub(rf'  <fifo name="mode{number}".*\n', "", text)
    (tmp_path / "app.xml").write_text(text, encoding="utf-8")
    for model in ("vehicle.tflite", "vehicle_exit.tflite"):
        shutil.copy(ROOT / "graphs" / model, tmp_path / model)
    late = {}
    for path in (tmp_path / "app.xml", ROOT / "graphs/vehicle_exit.xml"):
        with Executor(program_of(path, together=together)) as executor:
            firings = [firing for frame in executor.run(12) for firing in frame]
        deep = [firing.outputs for firing in firings if firing.node not in ("Head", "Exit")]
        late[path.name] = [out.tobytes() for outputs in deep for out in outputs.values() if out.shape == (1, 4)]
    one, other = late.values()
    assert one == other and 0 < len(one) < 12


def test_timing_keeps_no_tokens_of_earlier_frames(tmp_path):
    """Else each firing takes new memory from the system, as none does in a run: Resize took 2.0 ms instead of 1.3."""
    (tmp_path / "watching.py").write_text(
        """import weakref
from eprune.runtime import Actor


class Source(Actor):
    def initialize(self):
        self.made = []

    def fire(self, inputs, outputs):
        self.made.append(weakref.ref(outputs["out"]))
        outputs["out"][...] = sum(each() is not None for each in self.made)


class Sink(Actor):
    def fire(self, inputs, outputs):
        print("kept", inputs["in"][0], flush=True)
"""
    )
    (tmp_path / "application.xml").write_text(
        """<application name="a">
  <actor name="Source" class="watching.py:Source"><out name="out" token="int32[1]"/></actor>
  <actor name="Sink" class="watching.py:Sink"><in name="in" token="int32[1]"/></actor>
  <fifo name="f" from="Source.out" to="Sink.in"/>
</application>
"""
    )
    program = program_of(tmp_path / "application.xml")
    kept = io.StringIO()
    with redirect_stdout(kept):
        timing._in_turn(program, "auto", timing.AT_ONCE)
    counts = [int(line.split()[1]) for line in kept.getvalue().splitlines()]
    assert len(counts) > 10 and max(counts) <= 2
