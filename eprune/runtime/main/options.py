"""The command-line options of a generated program, and their values."""

from __future__ import annotations

import argparse
import difflib
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Optional

from eprune.runtime.fire.tflite import INTERPRETERS
from eprune.runtime.kernel.errors import UsageError
from eprune.runtime.net.tunnels import DISCOVER
from eprune.runtime.tell import health
from eprune.runtime.tell.journal import JSON, TEXT
from eprune.runtime.tell.outlets import is_stream
from eprune.runtime.tell.tap import TOKENS
from eprune.runtime.tell.watch import STALL_AFTER

#: Seconds of silence after which a peer is dead: if it can come back, and if its death ends the run, which an
#: overloaded machine must not cause.
DEAD_AFTER, STOP_AFTER = 2.0, 30.0
#: What one thread fires: the actors of a cluster in a static order, or one actor, as in the papers.
CLUSTER, ACTOR = "cluster", "actor"


def parse(
    description: str, links: bool, faults: bool, carried: bool, arguments: Optional[Sequence[str]]
) -> argparse.Namespace:
    """Parse ``arguments``, None for those of this process. ``faults``: some of the program's links may break;
    ``carried``: some go over zenoh.
    """
    environment = os.environ.get
    parser = argparse.ArgumentParser(description=description)
    add = parser.add_argument
    add(
        "--frames",
        type=_positive,
        metavar="N",
        help="sources stop after N firings, or iterations of a multi-rate graph",
    )
    add(
        "--warm-up",
        type=_count,
        default=0,
        metavar="N",
        help="fire N times more, before what the record counts; if not as many follow, all count",
    )
    add("--set", action="append", default=[], metavar="ACTOR.PARAM=VALUE", help="set an actor's parameter")
    add(
        "--link",
        action="append",
        default=[],
        metavar="PLATFORM=HOST[:PORT]",
        help="address of PLATFORM and first port of the link to it (also EPRUNE_LINK_<PLATFORM>)",
    )
    if carried:
        add(
            "--zenoh",
            action="append",
            type=_place,
            metavar="WHERE",
            help="carry links over zenoh: a router, for example tcp/192.168.1.10:7447, 'discover' to look for peers on "
            "the network, or FILE.json5, zenoh's configuration; without it they are made directly (also EPRUNE_ZENOH)",
        )
    add(
        "--bind",
        default=environment("EPRUNE_BIND", "127.0.0.1"),
        metavar="ADDRESS",
        help="address to listen on (also EPRUNE_BIND; default: %(default)s)",
    )
    add(
        "--keys",
        default=environment("EPRUNE_KEYS"),
        metavar="FOLDER",
        help="folder with this platform's certificate and key and the authority's certificate, for links with TLS "
        "(also EPRUNE_KEYS)",
    )
    add(
        "--insecure",
        action="store_true",
        help="allow unprotected links to other machines",
    )
    add(
        "--timeout",
        type=float,
        default=30.0,
        metavar="S",
        help="seconds that actors have to initialize and peers to connect (default: %(default)g)",
    )
    add(
        "--stall-after",
        type=_seconds,
        default=STALL_AFTER,
        metavar="S",
        help="seconds in one stage after which an actor is reported as stalled, unless the graph states it; 0: never "
        "(default: %(default)g)",
    )
    if links:
        add("--dora", action="store_true", help="run as a node of a dora dataflow, whose edges are the links")
        add(
            "--dead-after",
            type=float,
            metavar="S",
            help="seconds of silence after which a peer is dead, unless the FIFO states it "
            f"(default: {DEAD_AFTER:g}, or {STOP_AFTER:g} if that ends the run)",
        )
    if faults:
        add(
            "--patience",
            type=float,
            default=60.0,
            metavar="S",
            help="seconds that a lost peer is waited for, and told that all has ended here; with the policy 'wait' "
            "the run fails if none of the same build has come by then (default: %(default)g)",
        )
    add(
        "--serve",
        action="store_true",
        help="when all producers have ended, initialize the actors anew and wait for the next stream, until stopped",
    )
    add(
        "--interpreter",
        default=environment("EPRUNE_INTERPRETER", "auto"),
        choices=["auto", *INTERPRETERS],
        help="TFLite interpreter (also EPRUNE_INTERPRETER; default: %(default)s)",
    )
    add(
        "--check",
        action="store_true",
        help="end with an error where a behaviour leaves an output unwritten or keeps a view of a token; slower",
    )
    add("--record", metavar="FILE", help="write the run record (JSON)")
    add("--trace", metavar="FILE", help="write a timeline (Chrome trace format)")
    add("--emulate", action="store_true", help="emulate the speed of the units and links in the platform file")
    add(
        "--emulate-trace",
        metavar="FILE",
        help="emulate, and change links and units as FILE says (CSV: see eprune replay)",
    )
    add(
        "--threads",
        choices=[CLUSTER, ACTOR],
        default=CLUSTER,
        help="fire the actors of a cluster by one thread in a static order, or each actor by a thread of its own "
        "(default: %(default)s)",
    )
    add("--no-pin", action="store_true", help="do not pin threads to cores")
    add("--traceback", action="store_true", help="print the traceback of a failure")
    add(
        "--log-format",
        default=environment("EPRUNE_LOG_FORMAT", TEXT),
        choices=[TEXT, JSON],
        help="format of stderr: text, or one line of JSON per event (also EPRUNE_LOG_FORMAT; default: %(default)s)",
    )
    add(
        "--control",
        metavar="FILE",
        help="listen on this socket for `eprune deploy --live`, which changes to the next generation without a stop",
    )
    add("--succeed", type=int, metavar="N", help=argparse.SUPPRESS)  # the descriptor on which the generation before is
    add("--status", metavar="FILE", help="keep a status report in FILE (JSON); a pipe gets one line per report")
    add(
        health.CHECK_STATUS,
        action=_Check,
        metavar="FILE",
        help="do not run, but look at the status report of a program that does: exit with 0 if it is well, else with 1",
    )
    add(
        health.CHECK_ALIVE,
        action=_Check,
        metavar="FILE",
        help="the same, but exit with 1 only where a new start may help",
    )
    add(
        "--tap",
        action="append",
        default=[],
        metavar="FIFO=FILE",
        help=f"copy the first {TOKENS} tokens of a FIFO that has its producer here into a .npy file",
    )
    add(
        "--metrics",
        default=environment("EPRUNE_METRICS"),
        metavar="[HOST:]PORT",
        help="answer http://HOST:PORT/metrics in Prometheus' text format (also EPRUNE_METRICS; default host: loopback)",
    )
    return parser.parse_args(arguments)


def zenoh_places(options: argparse.Namespace) -> list[str]:
    """Where links over zenoh lead; []: they are made directly. Raises UsageError."""
    given: Optional[list[str]] = getattr(options, "zenoh", None)
    try:
        return given or [_place(word) for word in os.environ.get("EPRUNE_ZENOH", "").split()]
    except argparse.ArgumentTypeError as error:
        raise UsageError(f"EPRUNE_ZENOH: {error}") from None


class _Check(argparse.Action):
    """Answers a question about a status report, and ends."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: object, values: object, option: object = "") -> None:
        parser.exit(health.check(str(option), str(values)))


def check_writable(*paths: Optional[str]) -> None:
    """Check at the start that results can be written, not after hours. Raises UsageError."""
    for path in paths:
        if path and not is_stream(path) and not os.access(Path(os.path.realpath(path)).parent, os.W_OK):
            raise UsageError(f"{path}: the folder is missing or not writable")


def addresses(given: Sequence[str], peers: Sequence[str]) -> dict[str, tuple[str, int]]:
    """Peer -> address and first port (0: not given), from the environment and the options. Raises UsageError."""
    texts = {peer: os.environ.get(f"EPRUNE_LINK_{_variable(peer)}", "") for peer in peers}
    for text in given:
        peer, _, where = text.partition("=")
        if peer not in texts or not where:
            known = _nearest(peer, peers) if peers else "this program has no links"
            raise UsageError(f"--link {text}: expected PLATFORM=HOST[:PORT]; {known}")
        texts[peer] = where
    return {peer: _address(where) for peer, where in texts.items() if where}


def parameters(given: Sequence[str], declared: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
    """Actor -> parameters, those of the graph overridden by the options. Raises UsageError."""
    result = {actor: dict(values) for actor, values in declared.items()}
    for text in given:
        target, equals, value = text.partition("=")
        actor, dot, name = target.partition(".")
        if not (equals and dot and name):
            raise UsageError(f"--set {text}: expected ACTOR.PARAM=VALUE")
        if actor not in result:
            raise UsageError(
                f"--set {text}: this program has no actor {actor!r} with parameters; {_nearest(actor, result)}"
            )
        result[actor][name] = value
    return result


def script(platform: str) -> str:
    """The script beside a platform's program that opens its SSH tunnels."""
    return f"{platform}.ssh.sh"


def unsafe(name: str, host: str, peer: str, security: str, platform: str) -> str:
    """Why a link must not use this address, and the remedies."""
    way_out = 'write security="tls" or security="ssh" for this link into both platform files'
    if security == "ssh":
        way_out = f"SSH tunnels end on loopback, and {script(platform)} --ssh {peer}=HOST opens one"
    return (
        f"{name}: {host or 'every address'} is not loopback, and nothing protects the tokens there: {way_out}, "
        "or add --insecure if you trust everybody on the network"
    )


def _variable(platform: str) -> str:
    return platform.upper().replace("-", "_")


def _place(text: str) -> str:
    """Where zenoh is."""
    protocol, slash, rest = text.partition("/")
    if text == DISCOVER or text.endswith((".json5", ".json")) or (slash and protocol.isidentifier() and rest):
        return text
    known = "an endpoint such as tcp/192.168.1.10:7447, nor discover, nor FILE.json5"
    raise argparse.ArgumentTypeError(f"{text!r} is neither {known}")


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is not a number of firings")
    return value


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds")
    return value


def _address(text: str) -> tuple[str, int]:
    """Host and port (0: not given) of ``HOST[:PORT]``; an IPv6 host with a port is written ``[HOST]:PORT``."""
    host_text, colon, port_text = text.rpartition(":")
    if not colon or text.endswith("]") or (":" in host_text and not host_text.startswith("[")):
        host_text, port_text = text, "0"
    if not port_text.isdigit() or not 0 <= int(port_text) <= 65535:
        raise UsageError(f"{text!r}: the port is not a number from 1 to 65535")
    return host_text.strip("[]"), int(port_text)


def _nearest(name: str, known: Iterable[str]) -> str:
    folded = {each.lower(): each for each in known}
    close = difflib.get_close_matches(name.lower(), folded, 1)
    return f"did you mean {folded[close[0]]!r}?" if close else f"known: {', '.join(known)}"
