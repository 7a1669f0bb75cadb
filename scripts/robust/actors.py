"""A source and a sink that note when each frame begins and ends."""

import time
from pathlib import Path

import numpy as np

from eprune.runtime import Actor, EndOfStream


class Paced(Actor):
    """The tensors of a .npy file, again and again, ``count`` of them, one every ``pace`` seconds.

    The file ``begun`` gets the time at which each is given.
    """

    waits = True
    copies = True

    def __init__(self, path="", begun="", count="1", pace="0"):
        """Nothing is read yet."""
        self.path, self.begun, self.count, self.pace = path, begun, int(count), float(pace)

    def initialize(self):
        """Read the tensors."""
        self.tokens = np.load(self.path)
        self.file = Path(self.begun).open("wb", buffering=0)  # noqa: SIM115 - closed by finalize
        self.number, self.due = 0, 0.0

    def fire(self, inputs, outputs):
        """Give the next one when it is due."""
        if self.number == self.count:
            raise EndOfStream
        time.sleep(max(self.due - time.monotonic(), 0))
        now = time.monotonic()
        self.due = max(self.due + self.pace, now)
        for token in outputs.values():
            token[...] = self.tokens[self.number % len(self.tokens)]
        self.file.write(np.float64(now).tobytes())
        self.number += 1

    def finalize(self):
        """Close the file."""
        self.file.close()


class Stamped(Actor):
    """Notes the answer of each frame, when it was there, and the process's CPU time then: an .npz file at the end."""

    def __init__(self, path=""):
        """Nothing is noted yet."""
        self.path, self.answers, self.ended, self.cpu = path, [], [], []

    def fire(self, inputs, outputs):
        """Note one."""
        self.ended.append(time.monotonic())
        self.cpu.append(time.process_time())
        self.answers.append(next(iter(inputs.values())).copy())

    def finalize(self):
        """Write the file."""
        np.savez(self.path, answers=np.array(self.answers), ended=np.array(self.ended), cpu=np.array(self.cpu))
