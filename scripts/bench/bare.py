"""The bare programs that eprune is compared with: what one would write by hand without any framework.

Each prints one JSON object.
"""

import json
import os
import socket
import sys
import threading
import time
from pathlib import Path
from queue import SimpleQueue

import numpy as np


def interpreter(path):
    """An interpreter on one thread, and a random input."""
    from ai_edge_litert.interpreter import Interpreter

    loaded = Interpreter(path, num_threads=1)
    loaded.allocate_tensors()
    tensor = loaded.get_input_details()[0]
    rng = np.random.default_rng(1)
    scale = 1 if tensor["dtype"] is np.float32 else 255
    return loaded, tensor["index"], (rng.random(tensor["shape"]) * scale).astype(tensor["dtype"])


def loop(path, frames, core="0"):
    """set_tensor, invoke, get_tensor: seconds per frame."""
    os.sched_setaffinity(0, {int(core)})
    model, index, frame = interpreter(path)
    output = model.get_output_details()[0]["index"]
    frames = int(frames)
    for turn in range(frames + frames // 10):
        if turn == frames // 10:
            begin = time.perf_counter()
        model.set_tensor(index, frame)
        model.invoke()
        model.get_tensor(output)
    print(json.dumps({"frame_s": (time.perf_counter() - begin) / frames}))


def sender(port, nbytes, count):
    """sendall of ``count`` tokens."""
    os.sched_setaffinity(0, {0})
    token = bytes(int(nbytes))
    with socket.create_connection(("127.0.0.1", int(port))) as link:
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(int(count)):
            link.sendall(token)
        link.recv(1)


def receiver(port, nbytes, count):
    """recv_into of ``count`` tokens: seconds a token."""
    os.sched_setaffinity(0, {1})
    token = memoryview(bytearray(int(nbytes)))
    with socket.create_server(("127.0.0.1", int(port))) as server:
        link, _ = server.accept()
        with link:
            begin = None
            for _ in range(int(count)):
                got = 0
                while got < len(token):
                    got += link.recv_into(token[got:])
                begin = begin or time.perf_counter()
            seconds = time.perf_counter() - begin
            link.sendall(b"!")
    print(json.dumps({"token_s": seconds / (int(count) - 1)}))


def handover(count):
    """Two threads and two SimpleQueues, of two slots: seconds a token."""
    os.sched_setaffinity(0, {0})
    free, full = SimpleQueue(), SimpleQueue()
    for slot in range(2):
        free.put(slot)

    def produce():
        for _ in range(int(count)):
            full.put(free.get())

    thread = threading.Thread(target=produce)
    begin = time.perf_counter()
    thread.start()
    for _ in range(int(count)):
        free.put(full.get())
    thread.join()
    print(json.dumps({"token_s": (time.perf_counter() - begin) / int(count)}))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    {"loop": loop, "sender": sender, "receiver": receiver, "handover": handover}[sys.argv[1]](*sys.argv[2:])
