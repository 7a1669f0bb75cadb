"""Which threads fire the actors: one for a cluster, in a static order, or one for each actor."""

import os

import pytest

BEHAVIOURS = r"""
import sys
import threading
from eprune.runtime import Actor, EndOfStream


class Count(Actor):
    def initialize(self):
        self.number = 0

    def fire(self, inputs, outputs):
        if self.number == 20:
            raise EndOfStream
        outputs["out"][...] = self.number, threading.get_ident()
        self.number += 1


class Clock(Count):
    waits = True


class Square(Actor):
    def fire(self, inputs, outputs):
        outputs["out"][...] = inputs["in"]
        outputs["out"][0] **= 2


class Ident(Actor):
    def fire(self, inputs, outputs):
        sys.stdout.write(f"{threading.get_ident()}\n")  # whole lines, whatever other threads write


class Show(Actor):
    def fire(self, inputs, outputs):
        number, thread = inputs["in"]
        print(number, "same" if thread == threading.get_ident() else "another", flush=True)
"""

APPLICATION = """
<application name="app">
  <actor name="A" class="b.py:{source}"><out name="out" token="int64[2]"/></actor>
  <actor name="B" class="b.py:Square"><in name="in" token="int64[2]"/><out name="out" token="int64[2]"/></actor>
  <actor name="C" class="b.py:Show"><in name="in" token="int64[2]"/></actor>
  <fifo name="f" from="A.out" to="B.in"/>
  <fifo name="g" from="B.out" to="C.in"/>
</application>
"""


@pytest.fixture
def run(tmp_path, monkeypatch, eprune, capfd):
    """Run the application whose source is of that class; the results, and the threads that C saw compared with A's."""
    monkeypatch.chdir(tmp_path)

    def run(source, *options):
        (tmp_path / "b.py").write_text(BEHAVIOURS)
        (tmp_path / "app.xml").write_text(APPLICATION.format(source=source))
        (tmp_path / "p.xml").write_text('<platform name="p"><unit name="cpu"/></platform>')
        maps = "".join(f'<map actor="{name}" unit="cpu"/>' for name in "ABC")
        (tmp_path / "m.xml").write_text(f'<mapping application="app" platform="p">{maps}</mapping>')
        done = eprune("run", "app.xml", "-p", "p.xml", "-m", "m.xml", "-q", *options)
        assert done.code == 0, done.err
        lines = [line.split() for line in capfd.readouterr().out.splitlines()]
        assert [int(number) for number, _ in lines] == [number**2 for number in range(20)]
        return {thread for _, thread in lines}

    return run


def test_actors_of_a_cluster_share_a_thread_unless_told_not_to(run):
    assert run("Count") == {"same"}
    assert run("Count", "--threads", "cluster") == {"same"}
    assert run("Count", "--threads", "actor") == {"another"}


def test_an_actor_that_waits_for_the_world_has_a_thread_of_its_own(run):
    assert run("Clock") == {"another"}


CHAINS = """
<application name="app">
  <actor name="A" class="b.py:Count"><out name="out" token="int64[2]"/></actor>
  <actor name="B" class="b.py:Ident"><in name="in" token="int64[2]"/></actor>
  <actor name="C" class="b.py:{source}"><out name="out" token="int64[2]"/></actor>
  <actor name="D" class="b.py:Ident"><in name="in" token="int64[2]"/></actor>
  <fifo name="f" from="A.out" to="B.in"/>
  <fifo name="g" from="C.out" to="D.in"/>
</application>
"""


@pytest.mark.parametrize(
    ("source", "core", "options", "threads"),
    [
        pytest.param("Count", True, [], 1, id="a core"),
        pytest.param("Count", False, [], 2, id="any cores"),
        pytest.param("Count", True, ["--threads", "actor"], 2, id="a thread an actor"),
        pytest.param("Clock", True, [], 1, id="beside a clock"),
    ],
)
def test_clusters_of_one_core_share_its_thread(tmp_path, monkeypatch, eprune, capfd, source, core, options, threads):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "b.py").write_text(BEHAVIOURS)
    (tmp_path / "app.xml").write_text(CHAINS.format(source=source))
    pinned = f' core="{min(os.sched_getaffinity(0))}"' if core else ""
    (tmp_path / "p.xml").write_text(f'<platform name="p"><unit name="cpu"{pinned}/></platform>')
    maps = "".join(f'<map actor="{name}" unit="cpu"/>' for name in "ABCD")
    (tmp_path / "m.xml").write_text(f'<mapping application="app" platform="p">{maps}</mapping>')
    done = eprune("run", "app.xml", "-p", "p.xml", "-m", "m.xml", "-q", *options)
    assert done.code == 0, done.err
    lines = capfd.readouterr().out.split()
    assert len(lines) == 40
    assert len(set(lines)) == threads
