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


def _read(link, token):
    got = 0
    while got < len(token):
        got += link.recv_into(token[got:])


def _dial(port):
    while True:
        try:
            link = socket.create_connection(("127.0.0.1", port))
        except ConnectionRefusedError:
            time.sleep(0.02)
            continue
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return link


def gather(own, base, devices, exchanges, nbytes, rounds):
    """An all-gather mesh with blocking reads, process number ``own``: seconds a round."""
    own, base, devices, exchanges, nbytes, rounds = map(int, (own, base, devices, exchanges, nbytes, rounds))
    os.sched_setaffinity(0, {own % 2})
    links = []
    with socket.create_server(("127.0.0.1", base + own)) as server:
        for peer in range(own):
            links.append(_dial(base + peer))
        for _ in range(own + 1, devices):
            links.append(server.accept()[0])
            links[-1].setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    token, into = bytes(nbytes), memoryview(bytearray(nbytes))
    for turn in range(rounds):
        if turn == rounds // 10:
            begin = time.perf_counter()
        for _ in range(exchanges):
            for link in links:
                link.sendall(token)
            for link in links:
                _read(link, into)
    print(json.dumps({"round_s": (time.perf_counter() - begin) / (rounds - rounds // 10)}))


def collect(port, count, nbytes, tokens):
    """A token from each of ``count`` senders, again and again, by blocking reads: CPU seconds of a round."""
    port, count, nbytes, tokens = map(int, (port, count, nbytes, tokens))
    os.sched_setaffinity(0, {0})
    into = memoryview(bytearray(nbytes))
    with socket.create_server(("127.0.0.1", port), backlog=count) as server:
        links = [server.accept()[0] for _ in range(count)]
    for turn in range(tokens):
        if turn == 1:
            begin = time.process_time()
        for link in links:
            _read(link, into)
    print(json.dumps({"cpu_s": (time.process_time() - begin) / (tokens - 1)}))


def spread(port, count, nbytes, tokens):
    """What ``collect`` gets, from one process."""
    os.sched_setaffinity(0, {1})
    links = [_dial(int(port)) for _ in range(int(count))]
    token = bytes(int(nbytes))
    for _ in range(int(tokens)):
        for link in links:
            link.sendall(token)
    for link in links:
        link.close()


def head(path, port, frames):
    """The first of two stages: invoke, and send the output. Seconds per frame, of the second stage (see ``tail``)."""
    os.sched_setaffinity(0, {0})
    model, index, frame = interpreter(path)
    output = model.get_output_details()[0]["index"]
    with _dial(int(port)) as link:
        for _ in range(int(frames)):
            model.set_tensor(index, frame)
            model.invoke()
            link.sendall(memoryview(model.get_tensor(output)).cast("B"))
        link.recv(1)


def tail(path, port, frames):
    """The second of two stages: a thread receives into two buffers, this one sets the input and invokes."""
    os.sched_setaffinity(0, {1})
    frames = int(frames)
    model, index, frame = interpreter(path)
    output = model.get_output_details()[0]["index"]
    free, full = SimpleQueue(), SimpleQueue()
    for _ in range(2):
        free.put(np.empty_like(frame))
    with socket.create_server(("127.0.0.1", int(port))) as server:
        link = server.accept()[0]

    def receive():
        for _ in range(frames):
            buffer = free.get()
            _read(link, memoryview(buffer).cast("B"))
            full.put(buffer)

    threading.Thread(target=receive).start()
    for turn in range(frames):
        if turn == frames // 10:
            begin = time.perf_counter()
        buffer = full.get()
        model.set_tensor(index, buffer)
        free.put(buffer)
        model.invoke()
        model.get_tensor(output)
    print(json.dumps({"frame_s": (time.perf_counter() - begin) / (frames - frames // 10)}))
    link.sendall(b"!")


PROGRAMS = (loop, sender, receiver, handover, gather, collect, spread, head, tail)

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    {each.__name__: each for each in PROGRAMS}[sys.argv[1]](*sys.argv[2:])
