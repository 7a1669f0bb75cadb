"""States of a deployed system, as programs would report them."""

from __future__ import annotations

from eprune.watch.state import Edge, Node, Reported, Shape, State, observe

#: A camera and a detector on a board, a tracker on a server.
SHAPE = Shape(
    "count",
    {"pi": "ssh://pi@board", "server": "this machine"},
    [Node("Camera", "pi", ["Camera"]), Node("A+B", "pi", ["A", "B"]), Node("Track", "server", ["Track"])],
    [Edge("f1", "Camera", "A+B"), Edge("f2", "A+B", "Track")],
)


def report(platform: str, **more: object) -> dict:
    """What a program says that has run well for a while."""
    pi = platform == "pi"
    nodes = ("Camera", "A+B") if pi else ("Track",)
    local = {"f1": {"kind": "local", "peer": "", "tokens": 310, "capacity": 4, "fill": 1, "discarded": 0}}
    sent = {"kind": "tx", "peer": "server", "tokens": 309, "capacity": 6, "fill": 2, "confirmed": 309, "dropped": 0}
    came = {"kind": "rx", "peer": "pi", "tokens": 309, "capacity": 6, "fill": 0, "discarded": 0}
    peer = "server" if pi else "pi"
    return {
        "time": 1000.0,
        "application": "count",
        "platform": platform,
        "pid": 7,
        "state": "running",
        "since": 990.0,
        "failure": "",
        "firings": dict.fromkeys(nodes, 309),
        "ages": {},
        "fifos": {**local, "f2": sent} if pi else {"f2": came},
        "peers": {peer: {"state": "connected", "since": 990.0, "clock_uncertainty_ms": 0.5}},
        "stalled": {},
        "missing": [],
        "recent": {
            "seconds": 10.0,
            "firings_per_s": dict.fromkeys(nodes, 30.0),
            "busy_ms": dict.fromkeys(nodes, 8.0),
            "tokens_per_s": {"f1": 30.0, "f2": 30.0} if pi else {"f2": 30.0},
            "bytes_per_s": {"f1": 90000.0, "f2": 3000.0} if pi else {"f2": 3000.0},
            "lost": {},
            "ages": {} if pi else {"Track.in": {"tokens": 300, "p50_ms": 21.0, "p99_ms": 34.0}},
        },
        "user_s": 3.0,
        "system_s": 0.5,
        "load": 0.3,
        "machine_load": 0.5,
        "machine_cores": 4,
        "resident_bytes": 50_000_000,
        "machine_memory_bytes": 4_000_000_000,
        "available_bytes": 3_000_000_000,
        "temperature_c": 51.0,
        "unlogged": 0,
        "unreported": 0,
        **more,
    }


def reported(
    platform: str, at: float = 1000.0, health: str = "healthy", why: str = "it is running", **more
) -> Reported:
    """The observation of such a report."""
    return Reported(platform, at, health, why, "3f1c09a2b7d4", 0, report(platform, **more), 0.2)


def well(*more) -> State:
    """The system when all is well, and after more observations."""
    state = State(SHAPE)
    for seen in (reported("pi"), reported("server"), *more):
        state = observe(state, seen)
    return state
