"""Several actors that one thread fires, of which none waits for another."""

import threading
from queue import SimpleQueue

import pytest

from eprune.runtime.fire.engine import Crew, Engine
from eprune.runtime.fire.firing import RunningActor
from eprune.runtime.fire.matched import Matched, MatchedInput, MatchedOutput
from eprune.runtime.fire.matched_ports import Inlet, Outlet
from eprune.runtime.fire.matching import Matcher
from eprune.runtime.fire.numbering import Numbering
from eprune.runtime.kernel.actor import Actor
from eprune.runtime.kernel.fifo import Fifo, Input, Output
from eprune.runtime.net.network import Network
from eprune.runtime.tell.journal import Journal
from tests.kit.waiting import until

LONG = 30.0


class Copy(Actor):
    """The same token again."""

    def fire(self, inputs, outputs):
        outputs["out"][...] = inputs["in"]


def plain(name, source, sink):
    return RunningActor(name, Copy(), [Input("in", source, 1)], [Output("out", sink, 1)])


def matched(name, source, sink):
    """An actor of an application that may lose tokens. It cannot do without its input."""
    inputs = [MatchedInput("in", source, 1, Inlet("in"))]
    outputs = [MatchedOutput("out", sink, 1, Outlet("out"))]
    behaviour = Copy()
    behaviour.alive = frozenset()
    numbering = Numbering(0.0)
    matcher = Matcher([each.inlet for each in inputs], [each.outlet for each in outputs], numbering=numbering)
    strategy = Matched(behaviour, inputs, outputs, outputs, matcher, numbering)
    return RunningActor(name, behaviour, inputs, outputs, matching=strategy)


def fifo(name):
    return Fifo(name, "int32", (), 4)


@pytest.fixture
def fire():
    """Fire actors in one thread, each in a cluster of its own; ends when they have ended."""
    engines = []

    def fire(*actors):
        events = SimpleQueue()
        crew = Crew([[actor] for actor in actors])
        for actor in actors:
            actor.use(crew.bell)
        engine = Engine([crew], Network([], events.put), 0, events, Journal("here"))
        engines.append(threading.Thread(target=engine.run, args=(LONG,), daemon=True))
        engines[-1].start()

    yield fire
    for each in engines:
        each.join(LONG)
        assert not each.is_alive()


def put(fifo, number):
    fifo.writable[fifo.written % fifo.capacity][...] = number
    fifo.commit(1, number)


@pytest.mark.parametrize("kind", [plain, matched])
def test_one_that_has_no_tokens_or_no_room_holds_up_no_other(fire, kind):
    ends = [fifo(name) for name in "abcdef"]
    a, b, c, d, e, f = ends
    fire(kind("empty", a, b), kind("full", c, d), kind("free", e, f))
    for number in range(6):
        until(lambda: c.capacity > c.written - c.released)
        put(c, number)
    until(lambda: d.written == d.capacity)
    for number in range(100):
        put(e, number)
        until(lambda number=number: f.written == number + 1)
        assert f.readable[number % 4] == number
        f.release()
    assert (b.written, d.written, c.released) == (0, 4, 4)
    d.release(4)
    until(lambda: d.written == 6)
    for each in (a, c, e):
        each.end()
    until(lambda: b.ended and d.ended and f.ended)


def test_what_one_does_not_get_the_next_ones_learn(fire):
    first, second, third, last = (fifo(name) for name in "abcd")
    first.lossy = True
    fire(matched("X", first, second), matched("Y", second, third), matched("Z", third, last))
    put(first, 0)
    until(lambda: last.written == 1)
    first.starve(True)
    until(lambda: last.lost)
    put(first, 1)
    first.lost = False
    until(lambda: last.written == 2 and not last.lost)
    first.pass_over(7)
    until(lambda: last.passed == 7)
    first.end()
    until(lambda: last.ended)
