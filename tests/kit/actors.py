"""Tiny behaviours, one a kind of good or bad conduct."""

import os
import signal
import sys
import threading
import time

from eprune.runtime import Actor, EndOfStream
from eprune.runtime.net import clocks


def say(text):
    """One line in one write: actors' threads share stdout."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


class Count(Actor):
    """0, 1, 2, ... in every element, ``n`` of them (forever if n is 0)."""

    def __init__(self, n="10"):
        self.n = int(n)

    def initialize(self):
        self.firing = 0

    def fire(self, inputs, outputs):
        if self.n and self.firing == self.n:
            raise EndOfStream
        for out in outputs.values():
            for token in out if isinstance(out, list) else [out]:
                token[...] = self.firing
                self.firing += 1


class RoundTrips(Actor):
    """One token: microseconds to the platform ``to`` and back, as soon as that is known."""

    def __init__(self, to):
        self.to = to

    def initialize(self):
        self.left = 1

    def fire(self, inputs, outputs):
        if not self.left:
            raise EndOfStream
        self.left -= 1
        self.note(f"the way to nowhere: {self.round_trip('nowhere')}")
        while self.round_trip(self.to) is None:
            time.sleep(0.01)
        outputs["out"][...] = round(1e6 * self.round_trip(self.to))


class Copy(Actor):
    """Copies ``in`` to ``out``."""

    def fire(self, inputs, outputs):
        outputs["out"][...] = inputs["in"]


class Add(Actor):
    """Adds its inputs."""

    def fire(self, inputs, outputs):
        total = sum(inputs.values())
        for out in outputs.values():
            out[...] = total


class Show(Actor):
    """Prints the first element of each token, and checks that all of its elements agree."""

    def fire(self, inputs, outputs):
        for value in inputs.values():
            for token in value if isinstance(value, list) else [value]:
                first = token.flat[0]
                assert (token == first).all()
                say(first)

    def finalize(self):
        say(f"{self.name} finalized")


class Total(Actor):
    """Prints how many tokens came, and their sum."""

    def initialize(self):
        self.count = self.total = 0

    def fire(self, inputs, outputs):
        self.count += 1
        self.total += int(inputs["in"].flat[0])

    def finalize(self):
        say(f"{self.count} tokens, sum {self.total}")


class Diary(Total):
    """Tells of all that is done with it, and counts on from stream to stream of a service."""

    keeps_state = True

    def initialize(self):
        super().initialize()
        say(f"{self.name} initialized")

    def fire(self, inputs, outputs):
        super().fire(inputs, {})
        for out in outputs.values():
            out[...] = self.count
        say(f"{self.name} {self.count}")

    def finalize(self):
        say(f"{self.name} finalized after {self.count}")


class OnlyOnce(Total):
    """Cannot be made again in the same process."""

    made = 0

    def __init__(self):
        OnlyOnce.made += 1
        if OnlyOnce.made > 1:
            raise OSError(16, "Device or resource busy", "/dev/video7")


class Few(Total):
    """Wants only ``n`` tokens."""

    def __init__(self, n="3"):
        self.n = int(n)

    def fire(self, inputs, outputs):
        if self.count == self.n:
            raise EndOfStream
        super().fire(inputs, outputs)


class DiesAtFive(Total):
    """A sink that raises on the token 5."""

    def fire(self, inputs, outputs):
        if inputs["in"].flat[0] == 5:
            raise ValueError("five is right out")
        super().fire(inputs, outputs)


class Crash(Copy):
    """Raises on the token 5."""

    def fire(self, inputs, outputs):
        if inputs["in"].flat[0] == 5:
            raise ValueError("five is right out")
        super().fire(inputs, outputs)


class Exit(Copy):
    """Calls sys.exit, as code that was once a script may."""

    def fire(self, inputs, outputs):
        raise SystemExit(0)


class Dies(Copy):
    """Takes its whole process with it on the token 5."""

    def fire(self, inputs, outputs):
        if inputs["in"].flat[0] == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        super().fire(inputs, outputs)


class DiesQuietly(Dies):
    """The same for a sink."""

    def fire(self, inputs, outputs):
        super().fire(inputs, {"out": inputs["in"].copy()})


class Freezes(Copy):
    """Stops its whole process at the token 5, until somebody continues it."""

    def fire(self, inputs, outputs):
        if inputs["in"].flat[0] == 5:
            os.kill(os.getpid(), signal.SIGSTOP)
        super().fire(inputs, outputs)


class Stuck(Copy):
    """Never comes back from the token 5."""

    def fire(self, inputs, outputs):
        if inputs["in"].flat[0] == 5:
            say("stuck")
            time.sleep(3600)
        super().fire(inputs, outputs)


class BadStart(Copy):
    """Cannot initialize."""

    def initialize(self):
        raise OSError(2, "No such camera", "/dev/video7")


class BadEnd(Total):
    """Cannot write its results."""

    def finalize(self):
        raise OSError(28, "No space left on device", "results.json")


class WritesInput(Copy):
    """Writes into its input, which it must not."""

    def fire(self, inputs, outputs):
        inputs["in"][...] = 1


class Fresh(Actor):
    """Tells whether its output slots repeat: the FIFO's memory is allocated once."""

    def initialize(self):
        self.seen = set()
        self.firings = 0

    def fire(self, inputs, outputs):
        if self.firings == 100:
            raise EndOfStream
        self.firings += 1
        self.seen.add(outputs["out"].__array_interface__["data"][0])
        outputs["out"][...] = len(self.seen)


class Where(Actor):
    """Prints the cores that its thread may run on."""

    def fire(self, inputs, outputs):
        say(sorted(os.sched_getaffinity(0)))
        raise EndOfStream


class Shapes(Actor):
    """Prints what it is told of its ports."""

    def initialize(self):
        say(f"{self.name} {dict(self.inputs)} {dict(self.outputs)}")

    def fire(self, inputs, outputs):
        raise EndOfStream


class SlowCount(Count):
    """Counts, a token a millisecond."""

    def fire(self, inputs, outputs):
        time.sleep(0.001)
        super().fire(inputs, outputs)


class SaysThatItEnds(SlowCount):
    """The same, and says so when it has ended."""

    def finalize(self):
        print("ended", flush=True)


class SlowShow(Show):
    """Prints its tokens, ten a second."""

    def fire(self, inputs, outputs):
        super().fire(inputs, outputs)
        time.sleep(0.1)


class LateCount(Count):
    """Counts, but begins late."""

    def initialize(self):
        super().initialize()
        self.begun = False

    def fire(self, inputs, outputs):
        if not self.begun:
            time.sleep(0.5)
        self.begun = True
        super().fire(inputs, outputs)


class SlowCountBoth(Count):
    """Counts, a token a millisecond, the same at all outputs."""

    def fire(self, inputs, outputs):
        if self.n and self.firing == self.n:
            raise EndOfStream
        time.sleep(0.001)
        for out in outputs.values():
            out[...] = self.firing
        self.firing += 1


class Pairs(Actor):
    """Prints a line of what came at each input, ``-`` where nothing did."""

    def fire(self, inputs, outputs):
        say(" ".join(str(inputs[port]) if port in inputs else "-" for port in self.inputs))


class Idle(Count):
    """Counts, with 0.7 s between two tokens."""

    def fire(self, inputs, outputs):
        if self.firing:
            time.sleep(0.7)
        super().fire(inputs, outputs)


class Sleeper(Show):
    """Prints its tokens, and takes 0.7 s for each."""

    def fire(self, inputs, outputs):
        super().fire(inputs, outputs)
        time.sleep(0.7)


class LateStart(Count):
    """Counts, but takes 0.7 s to initialize."""

    def initialize(self):
        time.sleep(0.7)
        super().initialize()


class LateStartShow(Show):
    """Prints its tokens, but takes 0.7 s to initialize."""

    def initialize(self):
        time.sleep(0.7)


class Fork(Actor):
    """A control source and entry: of token n, n % 3 copies go deep, and one goes straight to the exit."""

    def control(self, inputs):
        return int(inputs["in"]) % 3

    def fire(self, inputs, outputs):
        outputs["always"][...] = inputs["in"]
        for out in outputs.get("deep", ()):
            out[...] = inputs["in"]


class Remainder(Actor):
    """A configuration actor: token n chooses row n % 3."""

    def control(self, inputs):
        return int(inputs["in"]) % 3


class ForkAsTold(Fork):
    """The same for an entry that a configuration actor leads."""

    def control(self, inputs):
        raise NotImplementedError


class Negate(Actor):
    """Negates as many tokens as there are."""

    def fire(self, inputs, outputs):
        for token, out in zip(inputs["in"], outputs["out"]):
            out[...] = -token


class Join(Actor):
    """An exit: ten times the token that came straight, plus all that went deep."""

    def fire(self, inputs, outputs):
        outputs["out"][...] = 10 * inputs["always"] + sum(inputs.get("deep", ()))


class FirstOfPairs(Actor):
    """Prints a line of the first element of what came at each input, ``-`` where nothing did."""

    def fire(self, inputs, outputs):
        say(" ".join(str(inputs[port].flat[0]) if port in inputs else "-" for port in self.inputs))


class Naps(Copy):
    """Takes half a second for its second token."""

    def fire(self, inputs, outputs):
        if inputs["in"].flat[0] == 1:
            time.sleep(0.5)
        super().fire(inputs, outputs)


class SlowForEveryFourth(Copy):
    """A second for every fourth frame."""

    frame = 0

    def fire(self, inputs, outputs):
        self.frame += 1
        time.sleep(self.frame % 4 == 0)
        super().fire(inputs, outputs)


class Camera(Naps):
    """The same as a camera would: it waits for the world."""

    waits = True


class Doorkeeper(Actor):
    """Waits for somebody who never comes, until the run is stopped."""

    waits = True

    def __init__(self):
        self.stopped = threading.Event()

    def fire(self, inputs, outputs):
        say("waiting")
        self.stopped.wait()
        raise EndOfStream

    def interrupt(self):
        self.stopped.set()


class SlowEnds(Copy):
    """Takes half a second to begin and to end."""

    def initialize(self):
        time.sleep(0.5)

    def finalize(self):
        time.sleep(0.5)


class NeverStarts(Copy):
    """Hangs before its first token."""

    def initialize(self):
        time.sleep(3600)


class Prints(Actor):
    """Prints as scripts do, into Python's buffer."""

    def fire(self, inputs, outputs):
        print(int(inputs["in"].flat[0]))


class Quiet(Actor):
    """Consumes."""

    def fire(self, inputs, outputs):
        pass


class SetsTheClock(Copy):
    """Puts the clock forward by a day at its third token."""

    def fire(self, inputs, outputs):
        if inputs["in"].flat[0] == 2:
            true = time.time
            time.time = lambda: true() + 86400
        super().fire(inputs, outputs)


class Paced(Actor):
    """A camera: every ``period`` seconds its count and the time, [count, time]; ``n`` of them (for ever if n is 0).

    From its firing ``hang_at`` it comes back only ``hang`` seconds later.
    """

    waits = True

    def __init__(self, period="0.02", n="0", hang_at="-1", hang="0"):
        self.period, self.n, self.hang_at, self.hang = float(period), int(n), int(hang_at), float(hang)

    def initialize(self):
        self.count, self.due = 0, 0.0

    def fire(self, inputs, outputs):
        if self.n and self.count == self.n:
            raise EndOfStream
        now = time.monotonic()
        if now < self.due:
            time.sleep(self.due - now)
        if self.count == self.hang_at:
            time.sleep(self.hang)
        now = time.monotonic()
        # What was missed is gone: a camera has no past.
        self.due = (self.due if now < self.due + self.period else now) + self.period
        for out in outputs.values():
            out[...] = self.count, now
        self.count += 1


class Stamps(Actor):
    """Writes a line into ``file`` for each firing: the time, then port=count=time of each token that it had.

    A firing takes ``seconds``. From its firing ``hang_at`` it comes back only ``hang`` seconds later.
    """

    def __init__(self, file, seconds="0", hang_at="-1", hang="0"):
        self.path, self.seconds, self.hang_at, self.hang = file, float(seconds), int(hang_at), float(hang)

    def initialize(self):
        self.file, self.count = open(self.path, "w", encoding="ascii"), 0  # noqa: SIM115, PTH123

    def fire(self, inputs, outputs):
        if self.count == self.hang_at:
            time.sleep(self.hang)
        self.count += 1
        tokens = [f"{port}={int(token[0])}={token[1]:.6f}" for port, token in inputs.items()]
        self.file.write(" ".join([f"{time.monotonic():.6f}", *tokens]) + "\n")
        self.file.flush()
        time.sleep(self.seconds)
        for out in outputs.values():
            out[...] = next(iter(inputs.values()))

    def finalize(self):
        self.file.close()


class Awaited(Paced):
    """The same, which says when it has waited."""

    def fire(self, inputs, outputs):
        super().fire(inputs, outputs)
        self.came()


class PacedAhead(Paced):
    """The same on a host whose clock is an hour ahead."""

    def __init__(self, **parameters):
        super().__init__(**parameters)
        clocks._EPOCH += 3600 * 10**9


class SumOfAll(Actor):
    """Prints the sum of what comes at all its inputs."""

    def fire(self, inputs, outputs):
        print(sum(int(token) for token in inputs.values()), flush=True)


class Batches(Actor):
    """Prints the tokens of each firing on a line, the first element of each; ``-`` where it has none."""

    def fire(self, inputs, outputs):
        value = inputs.get("in", [])
        say(" ".join(str(token.flat[0]) for token in (value if isinstance(value, list) else [value])) or "-")


class Blocks(Actor):
    """The number of the token, in every element of all tokens that it gives; its firings end after ``n``."""

    def __init__(self, n="10", wait="0"):
        self.n, self.wait = int(n), float(wait)

    def initialize(self):
        self.firing = self.number = 0

    def fire(self, inputs, outputs):
        if self.firing == self.n:
            raise EndOfStream
        self.firing += 1
        time.sleep(self.wait)
        for out in outputs.values():
            for token in out if isinstance(out, list) else [out]:
                token[...] = self.number
                self.number += 1


class Passes(Actor):
    """Each token that comes goes out, in whatever pieces."""

    def initialize(self):
        self.waiting = []

    def fire(self, inputs, outputs):
        for value in inputs.values():
            self.waiting += [token.copy() for token in (value if isinstance(value, list) else [value])]
        for out in outputs.values():
            for token in out if isinstance(out, list) else [out]:
                token[...] = self.waiting.pop(0)


class Idles(Actor):
    """Takes what comes, and gives zeros."""

    def fire(self, inputs, outputs):
        for out in outputs.values():
            for token in out if isinstance(out, list) else [out]:
                token[...] = 0
