"""The two stages as dora and pyzmq run them (see ``stages``). Each second stage prints or writes one JSON object."""

import json
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from scripts.bench.bare import interpreter


class Stage:
    """An interpreter on one core."""

    def __init__(self, path, core):
        os.sched_setaffinity(0, {core})
        self.model, self.index, self.frame = interpreter(path)
        self.output = self.model.get_output_details()[0]["index"]

    def __call__(self, frame):
        """The output for ``frame``, which has its shape."""
        self.model.set_tensor(self.index, frame)
        self.model.invoke()
        return self.model.get_tensor(self.output)


class Clock:
    """Seconds per frame, once the first tenth of the frames is through."""

    def __init__(self, frames):
        self.frames, self.done, self.begin = frames, 0, 0.0

    def tick(self):
        """One frame is through."""
        if self.done == self.frames // 10:
            self.begin = time.perf_counter()
        self.done += 1

    def told(self):
        """As JSON."""
        return json.dumps({"frame_s": (time.perf_counter() - self.begin) / (self.done - 1 - self.frames // 10)})


def zmq(side, path, port, frames):
    """PUSH and PULL over TCP, without copies where pyzmq can, two messages at either end."""
    import numpy as np
    import zmq

    context = zmq.Context()
    if side == "head":
        stage, socket = Stage(path, 0), context.socket(zmq.PUSH)
        socket.sndhwm = 2
        socket.connect(f"tcp://127.0.0.1:{port}")
        for _ in range(frames):
            socket.send(np.ascontiguousarray(stage(stage.frame)), copy=False)
        socket.close()
        context.term()
        return
    stage, socket, clock = Stage(path, 1), context.socket(zmq.PULL), Clock(frames)
    socket.rcvhwm = 2
    socket.bind(f"tcp://127.0.0.1:{port}")
    for _ in range(frames):
        message = socket.recv(copy=False)
        stage(np.frombuffer(message.buffer, stage.frame.dtype).reshape(stage.frame.shape))
        clock.tick()
    print(clock.told())


def dora(side, path, result, frames):
    """Nodes of one dataflow on one machine, which share memory. Frames that the second has no time for are dropped."""
    import pyarrow
    from dora import Node

    node = Node()
    if side == "head":
        stage = Stage(path, 0)
        for _ in range(frames):
            node.send_output("out", pyarrow.array(stage(stage.frame).ravel()), {})
        return
    stage, clock = Stage(path, 1), Clock(frames)
    for event in node:
        if event["type"] == "INPUT":
            stage(event["value"].to_numpy().reshape(stage.frame.shape))
            clock.tick()
        elif event["type"] in ("STOP", "INPUT_CLOSED"):
            break
    Path(result).write_text(clock.told())


if __name__ == "__main__":
    what, side, path, place, frames = sys.argv[1:]
    {"zmq": zmq, "dora": dora}[what](side, path, place, int(frames))
