"""K(m,n) of real processes: cameras, each joined to the sink of each server, and what is done to them."""

import json
import signal
import time

from eprune.deploy.ports import free_base_port
from tests.kit import stamps
from tests.kit.programs import rest, start, write_program
from tests.kit.waiting import freeze

#: seconds that a token may take, and that a producer waits for room
TIMEOUT, ROOM = 0.3, 0.06
#: seconds that a pause may last beyond the time-outs on its path
MARGIN = 0.1


class Cameras:
    """Platforms camera1, ... with an actor C each, and server1, ... with S each, whose inputs are in1, ...

    ``parameters``: platform -> parameters of its actor. ``clock``: that of the scene, by which the cameras number their
    frames and the sinks match them; without, they match by arrival. A camera and a sink in a process of their own,
    with which nothing is done, show what this machine does to everybody.
    """

    def __init__(self, folder, servers, cameras, parameters, policy="drop", clock=None):
        self.folder, self.policy, self.servers, self.cameras = folder, policy, servers, cameras
        self.inputs = tuple(f"in{camera}" for camera in range(1, cameras + 1))
        self.outputs = tuple(f"out{server}" for server in range(1, servers + 1))
        self.port = free_base_port(servers * cameras)
        self.programs, self.running = {}, {}
        for server in range(1, servers + 1):
            name = f"server{server}"
            values = {"file": str(self.file(server)), **parameters.get(name, {})}
            groups = () if clock else tuple((port,) for port in self.inputs)
            actor = f"actor('S', 'ACTORS:Stamps', 'cpu', {values}, optional={self.inputs}, groups={groups})"
            fifos = [self._rx(camera, server) for camera in range(1, cameras + 1)]
            self.programs[name] = write_program(folder, name, actor, *fifos, aligned=True)
        for camera in range(1, cameras + 1):
            name = f"camera{camera}"
            actor = f"actor('C', 'ACTORS:Paced', 'cpu', {parameters.get(name, {})}, clock={clock})"
            fifos = [self._tx(camera, server) for server in range(1, servers + 1)]
            self.programs[name] = write_program(folder, name, actor, *fifos, aligned=True)
        self.programs["calm"] = write_program(
            folder,
            "calm",
            "actor('C', 'ACTORS:Paced', 'cpu')",
            f"actor('S', 'ACTORS:Stamps', 'cpu', {{'file': '{self.folder / 'calm'}'}})",
            "fifo('f', 'C.out', 'S.in', 'float64', (2,), capacity=2)",
        )
        for name in self.programs:
            self.start(name)

    def file(self, server=1):
        """Where the sink of a server writes."""
        return self.folder / f"server{server}.txt"

    def seen(self, server=1):
        """What that sink has fired on."""
        return stamps.read(self.file(server))

    def calm(self):
        """What a sink has fired on that nothing happens to."""
        return stamps.read(self.folder / "calm")

    def start(self, name):
        """Start a platform."""
        self.running[name] = start(self.programs[name], "--record", str(self.folder / f"{name}.json"))

    def freeze(self, name):
        """Freeze a platform."""
        freeze(self.running[name].pid)

    def go_on(self, name):
        """Let it go on."""
        self.running[name].send_signal(signal.SIGCONT)

    def kill(self, name):
        """Kill a platform."""
        self.running[name].kill()
        rest(self.running.pop(name))

    def settle(self, seconds, firings=20):
        """Wait for more than so many firings of all together, then for so long: when that began and ended."""
        for server in range(1, self.servers + 1):
            stamps.wait_for(self.file(server), lambda seen: sum(self._whole(firing) for firing in seen) > firings)
        begin = time.monotonic()
        time.sleep(seconds)
        return begin, time.monotonic()

    def stop(self):
        """Interrupt all."""
        for process in self.running.values():
            process.send_signal(signal.SIGTERM)
        for name, process in self.running.items():
            code, _, err = rest(process)
            assert code == 130, f"{name}: {err}"

    def record(self, name):
        """The run record of a platform that has ended."""
        return json.loads((self.folder / f"{name}.json").read_text())

    def _whole(self, firing):
        return len(firing.tokens) == self.cameras

    def _tx(self, camera, server):
        return f"tx('f{camera}-{server}', 'C.out{server}', to='server{server}', {self._fifo(camera, server)})".replace(
            "port=", "address='127.0.0.1', port="
        )

    def _rx(self, camera, server):
        return f"rx('f{camera}-{server}', 'S.in{camera}', frm='camera{camera}', {self._fifo(camera, server)})"

    def _fifo(self, camera, server):
        port = self.port + (camera - 1) * self.servers + server - 1
        kind = f"dtype='float64', shape=(2,), capacity={3 if self.policy == 'newest' else 2}, port={port}"
        return f"{kind}, policy='{self.policy}', timeout={TIMEOUT}, room_timeout={ROOM}"
