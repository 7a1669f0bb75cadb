"""The engine with a made-up link: in what order a failure reaches whom."""

import threading
import time
from queue import SimpleQueue

import pytest

from eprune.runtime.fire.engine import Crew, Engine
from eprune.runtime.fire.firing import RunningActor
from eprune.runtime.kernel.actor import Actor
from eprune.runtime.kernel.errors import LinkError
from eprune.runtime.kernel.fifo import Fifo, Output
from eprune.runtime.tell.journal import Journal


class Broken:
    """Connections of which one fails at once; it takes its time to tell the peer why."""

    def __init__(self, story, events):
        self.story = story
        self.events = events

    def listen(self):
        pass

    def open(self, deadline):
        self.events.put("opened")
        threading.Timer(0.1, self.events.put, [LinkError("the peer is gone")]).start()

    def abort(self, message):
        time.sleep(0.3)
        self.story.append("the peer was told")

    def close(self):
        pass


class Told(Fifo):
    """A FIFO that tells when its producer has ended."""

    def __init__(self, story):
        super().__init__("f", "int32", (), 4)
        self.story = story

    def end(self):
        self.story.append("an orderly end")
        super().end()


class Busy(Actor):
    """Fires for ever; nobody reads, so its own slots are given back."""

    def __init__(self, fifo):
        self.fifo = fifo

    def fire(self, inputs, outputs):
        time.sleep(0.001)
        self.fifo.release(self.fifo.written - self.fifo.released)


def test_a_failure_is_not_passed_on_as_an_orderly_end():
    story = []
    fifo = Told(story)
    behaviour = Busy(fifo)
    events = SimpleQueue()
    actor = RunningActor("A", behaviour, [], [Output("out", fifo, 1)])
    engine = Engine([Crew([[actor]])], Broken(story, events), 1, events, Journal("here"))
    with pytest.raises(LinkError, match="gone"):
        engine.run(5)
    assert story == ["the peer was told"]
