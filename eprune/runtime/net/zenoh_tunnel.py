"""The tunnels of links via zenoh: a process beside a program, which carries the bytes of its connections.

A connection that the program dials to a port of this process is one that the tunnel of the peer dials to the peer. What
is read at either end is published as numbered messages, to which the other end subscribes. Zenoh may lose messages:
those that a router holds when it is killed. Where a number is missing, both ends break their connections, and the
programs do what they do about any connection that breaks: under the policy "wait" they connect and send again. There is
no limit of its own here: at most as many tokens are under way as FIFOs have room for.

The first line on standard input is what ``tunnels`` asks for, as JSON. The process ends when standard input does.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import math
import os
import queue
import secrets
import socket
import struct
import sys
import threading
import time
from typing import Any, Callable, Optional

#: Bytes that are read and published at once.
PIECE = 1 << 20
#: The number of a message; what stands in its place where a connection breaks.
NUMBER = struct.Struct(">Q")
BROKEN = 2**64 - 1
#: Seconds that the other tunnel has to connect, and that the last messages have to leave.
PATIENCE, LAST = 5.0, 1.0
#: Seconds that a connection of which one direction has ended may last: the other tunnel may be gone.
HALF = 30.0


class Carried:
    """One connection: what ``local`` says is published by ``put``, and what is received is said to ``local``."""

    def __init__(self, local: socket.socket, put: Callable[[bytes], None], ended: Callable[[Carried], None]) -> None:
        self._local, self._put, self._ended = local, put, ended
        self._received: queue.SimpleQueue[Optional[bytes]] = queue.SimpleQueue()
        self._expected = 0
        self._open = 2  # directions
        self._closed_at = math.inf  # time.monotonic, when the program has closed its end
        self._lock = threading.Lock()
        self.over = threading.Event()

    def begin(self) -> None:
        """Carry both directions from now on."""
        threading.Thread(target=self._read, daemon=True).start()
        threading.Thread(target=self._write, daemon=True).start()

    def take(self, message: bytes) -> None:
        """A message has come. Never waits: others come by the same thread."""
        (number,) = NUMBER.unpack_from(message)
        if number != self._expected:
            self._received.put(None)
            return
        self._expected += 1
        self._received.put(message[NUMBER.size :])

    def _read(self) -> None:
        buffer = bytearray(NUMBER.size + PIECE)
        piece = memoryview(buffer)[NUMBER.size :]
        number = 0
        try:
            while True:
                count = self._local.recv_into(piece)
                NUMBER.pack_into(buffer, 0, number)
                self._put(bytes(buffer[: NUMBER.size + count]))
                number += 1
                if not count:
                    break
        except Exception:  # of the socket, or of the session
            self._break()
            return
        self._closed_at = time.monotonic()
        self._close_one()

    def _write(self) -> None:
        try:
            while True:
                try:
                    data = self._received.get(timeout=HALF)
                except queue.Empty:
                    if time.monotonic() < self._closed_at + HALF:
                        continue
                    data = None
                if data is None:
                    self._break()
                    return
                if not data:
                    break
                self._local.sendall(data)
            self._local.shutdown(socket.SHUT_WR)
        except OSError:
            self._break()
            return
        self._close_one()

    def _close_one(self) -> None:
        with self._lock:
            self._open -= 1
            last = self._open == 0
        if last:
            self._end()

    def _break(self) -> None:
        """Break the connection at both ends."""
        with self._lock:
            self._open = 0
        if not self.over.is_set():
            with contextlib.suppress(Exception):
                self._put(NUMBER.pack(BROKEN))
        self._end()

    def _end(self) -> None:
        if not self.over.is_set():
            self.over.set()
            with contextlib.suppress(OSError):
                self._local.shutdown(socket.SHUT_RDWR)
            self._local.close()
            self._received.put(None)
            self._ended(self)


class Tunnels:
    """All connections of a program, over one session."""

    def __init__(self, wanted: dict[str, Any]) -> None:
        self._prefix = f"eprune/{wanted['application']}"
        self._platform = wanted["platform"]
        self._accepts = wanted["accepts"]
        self._carried: dict[Carried, Any] = {}
        self._session: Any = None
        self._zenoh: Any = None
        self.listeners = {}
        for name, port in wanted["dials"].items():
            listener = socket.create_server(("127.0.0.1", port))
            self.listeners[name] = listener

    def open(self, zenoh: Any, config: Any) -> None:
        """Open the session, however long that takes, and serve."""
        self._zenoh = zenoh
        for name, listener in self.listeners.items():
            threading.Thread(target=self._listen, args=(name, listener), daemon=True).start()
        self._session = zenoh.open(config)
        for name, port in self._accepts.items():
            peer, _, number = name.partition("/")
            key = f"{self._prefix}/{self._platform}/{peer}/{number}"
            self._session.declare_queryable(key, self._answer(key, port))

    def close(self) -> None:
        """Say what is still to be said, and leave."""
        for each in list(self._carried):
            each.over.wait(LAST)
        if self._session is not None:
            self._session.close()

    def _listen(self, name: str, listener: socket.socket) -> None:
        peer, _, number = name.partition("/")
        key = f"{self._prefix}/{peer}/{self._platform}/{number}"
        while True:
            local, _ = listener.accept()
            threading.Thread(target=self._dial, args=(key, local), daemon=True).start()

    def _dial(self, key: str, local: socket.socket) -> None:
        """The program has dialled: have the other tunnel dial its program."""
        name = f"{key}/{secrets.token_hex(8)}"
        answered, carried = False, None
        with contextlib.suppress(Exception):  # there may be no session yet, or no more
            carried = self._carry(local, f"{name}/there", f"{name}/back")
            answered = any(reply.ok is not None for reply in self._session.get(key, payload=name, timeout=PATIENCE))
        if carried is not None and answered:
            carried.begin()
            return
        if carried is not None:
            self._forget(carried)
        local.close()

    def _answer(self, key: str, port: int) -> Callable[[Any], None]:
        def connect(query: Any) -> None:
            with contextlib.suppress(Exception), query:  # whoever has asked tries again
                name = query.payload.to_string() if query.payload is not None else ""
                if not name.startswith(f"{key}/"):
                    return
                local = socket.create_connection(("127.0.0.1", port), PATIENCE)
                local.settimeout(None)
                carried = self._carry(local, f"{name}/back", f"{name}/there")
                carried.begin()
                query.reply(key, "")

        return lambda query: threading.Thread(target=connect, args=(query,), daemon=True).start()

    def _carry(self, local: socket.socket, to: str, frm: str) -> Carried:
        local.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        publisher = self._session.declare_publisher(
            to, congestion_control=self._zenoh.CongestionControl.BLOCK, express=True
        )
        carried = Carried(local, publisher.put, self._forget)
        subscriber = self._session.declare_subscriber(frm, lambda sample: carried.take(sample.payload.to_bytes()))
        self._carried[carried] = publisher, subscriber
        return carried

    def _forget(self, carried: Carried) -> None:
        ends = self._carried.pop(carried, ())
        # Not from the thread that calls: it may be the subscriber's own.
        threading.Thread(target=_undeclare, args=(ends,), daemon=True).start()


def _undeclare(ends: tuple[Any, ...]) -> None:
    with contextlib.suppress(Exception):  # the session may be over
        for end in ends:
            end.undeclare()


def configured(zenoh: Any, places: list[str]) -> Any:
    """The configuration of a session for the places of ``--zenoh``: routers, "discover", or a file of one's own.

    A router that is not there yet, or no more, is tried again and again.
    """
    files = [place for place in places if place.endswith((".json5", ".json"))]
    config = zenoh.Config.from_file(files[0]) if files else zenoh.Config()
    routers = [place for place in places if place not in files and place != "discover"]
    if not files:
        config.insert_json5("mode", json.dumps("client" if routers else "peer"))
        config.insert_json5("scouting/multicast/enabled", json.dumps(not routers))
        config.insert_json5("connect/timeout_ms", "-1")
        config.insert_json5("connect/exit_on_failure", "false")
    if routers:
        config.insert_json5("connect/endpoints", json.dumps(routers))
    return config


def main() -> int:
    """Serve until standard input ends; the first line on stdout has the ports to dial, or what is wrong."""
    wanted = json.loads(sys.stdin.readline())
    try:
        zenoh = importlib.import_module("zenoh")
        config = configured(zenoh, wanted["places"])
        tunnels = Tunnels(wanted)
    except Exception as error:
        print(json.dumps({"problem": f"{type(error).__name__}: {error}"}), flush=True)
        return 1
    print(json.dumps({"ports": {name: each.getsockname()[1] for name, each in tunnels.listeners.items()}}), flush=True)
    lifeline = threading.Thread(target=_wait, args=(tunnels,), daemon=True)
    lifeline.start()
    try:
        tunnels.open(zenoh, config)
    except Exception as error:
        print(json.dumps({"problem": f"{type(error).__name__}: {error}"}), flush=True)
        return 1
    lifeline.join()
    return 0


def _wait(tunnels: Tunnels) -> None:
    """Wait for the end of standard input. The session may still be opening: then nothing is to be said."""
    with contextlib.suppress(OSError, ValueError):
        while sys.stdin.readline():
            pass
    with contextlib.suppress(Exception):
        tunnels.close()
    os._exit(0)
