"""The engine with a made-up link: in what order a failure reaches whom."""

import time
from queue import SimpleQueue

import pytest

from eprune.runtime.fire.engine import ActorThread, Engine
from eprune.runtime.kernel.actor import Actor
from eprune.runtime.kernel.errors import LinkError
from eprune.runtime.kernel.fifo import Fifo, Output


class Broken:
    """A link that fails at once, and takes its time to tell the peer why."""

    note = ""
    running = False

    def __init__(self, story):
        self.story = story

    def __str__(self):
        return "broken"

    def listen(self):
        pass

    def open(self, deadline, known):
        pass

    def bodies(self):
        return {"receive": self.run}

    def run(self):
        time.sleep(0.1)
        raise LinkError("the peer is gone")

    def abort(self, message):
        time.sleep(0.3)
        self.story.append("the peer was told")

    def cut(self):
        pass

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
        for slot in self.fifo.take_waiting(1):
            self.fifo.release(slot)


def test_a_failure_is_not_passed_on_as_an_orderly_end():
    story = []
    fifo = Told(story)
    behaviour = Busy(fifo)
    actor = ActorThread("A", behaviour, None, [], [Output("out", fifo, 1)])
    engine = Engine([actor], [Broken(story)], SimpleQueue(), lambda text: None)
    with pytest.raises(LinkError, match="gone"):
        engine.run(5)
    assert story == ["the peer was told"]
