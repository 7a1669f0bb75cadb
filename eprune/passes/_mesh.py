"""The graph of a model whose layers are dealt to devices: what the pass ``partition`` makes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import PurePath
from typing import Optional

from eprune.formats.behaviours.model_slice import ModelSlice
from eprune.formats.behaviours.python_class import PythonBehaviour
from eprune.formats.models.cuts import label
from eprune.formats.models.flow import OperatorFlow
from eprune.formats.models.parts import Model
from eprune.formats.tflite.channels import narrow, ranges, zero_point
from eprune.formats.tflite.dealing import Piece
from eprune.model.graph import Actor, Direction, FaultPolicy, Fifo, Port, PortRef
from eprune.model.mapping import Mapping as PlatformMapping
from eprune.model.mapping import Placement
from eprune.model.platform import Link, Platform, Unit
from eprune.model.system import System
from eprune.model.token import TokenType

EXCHANGE = PythonBehaviour("exchange.py", "Exchange")
FORK = PythonBehaviour("fork.py", "Fork")
SELECT = PythonBehaviour("select_channels.py", "SelectChannels")
SINK = PythonBehaviour("tensor_sink.py", "TensorSink")
_UNIT = "cpu"
#: whether a device's result is the designated one
_FLAG = TokenType("uint8", (1,))
#: Room for parts and frames, in tokens, and how long one waits for room, as a part of the time-out. Where a device
#: hangs, the others wait for its parts, and meanwhile for room at each other: long enough to drop nothing there, but
#: not so long that room for the one that hangs is waited for longer than others wait for what would come next.
_CAPACITY, _ROOM = 4, 0.8
#: How much longer each exchange waits than the one before, as a part of the first one's time-out.
_LATER = 1 / 8


@dataclass(frozen=True)
class Settings:
    """``timeout`` of a part, in seconds; with a ``floor`` it adapts. With a ``clock``, per second, there is a source on
    every device.

    ``sums`` is the file of the model of which the last device has its parts of dealt layers; "": the same as others.
    ``designated``: only the first device that lives gives its result.
    """

    devices: int
    timeout: float
    clock: Optional[float]
    port: int
    sums: str = ""
    floor: Optional[float] = None
    designated: bool = False


class Mesh:
    """The graph on all devices, in the making."""

    def __init__(
        self,
        system: System,
        model: Model,
        file: str,
        flow: OperatorFlow,
        found: Sequence[Piece],
        settings: Settings,
    ) -> None:
        self.before, self.model, self.file, self.flow = system, model, file, flow
        self.pieces, self.settings = found, settings
        self.names = [f"device{number}" for number in range(1, settings.devices + 1)]
        self.actors: dict[str, Actor] = {}
        self.fifos: list[Fifo] = []
        self.homes: dict[str, int] = {}
        self.stated: dict[PortRef, Port] = {}  # ports of copied actors, as the application states them
        self.labels = _labels(model, found)
        self.parts: dict[int, list[tuple[int, ...]]] = {}
        self.writer = {tensor: place for place, piece in enumerate(found) for tensor in piece.writes}
        self.exchanged = sorted(
            (tensor for piece in found if piece.parts for tensor in piece.writes),
            key=lambda tensor: (len(found[self.writer[tensor]].after), tensor),
        )
        dealt = [piece.parts for piece in found if piece.parts]
        several = any(len({*chain(*parts)}) < sum(map(len, parts)) for parts in dealt)
        self.overlap = several and not settings.sums
        self.inputs, self.outputs, self.between = self._ends()
        self.readers = self._readers()

    def system(self) -> System:
        """The system."""
        devices = range(len(self.names))
        for device in devices:
            self._others(device)
        for device in devices:
            for piece in range(len(self.pieces)):
                self._piece(piece, device)
            for tensor in self.exchanged:
                self._exchange(tensor, device)
        for device in devices:
            self._join(device)
        graph = self.before.graph
        actors = sorted(self.actors.values(), key=lambda actor: self.homes[actor.name])
        made = replace(graph, name=f"{graph.name}-{len(self.names)}", actors=tuple(actors), fifos=tuple(self.fifos))
        platforms, mappings = self._deploy(made.name)
        return replace(self.before, graph=made, platforms=platforms, mappings=mappings, interfaces={}, problems=())

    def sent(self, device: int) -> int:
        """Bytes that a device sends per frame."""
        tokens = {PortRef(a.name, p.name): p.token for a in self.actors.values() for p in a.ports}
        return sum(
            tokens[fifo.source].nbytes
            for fifo in self.fifos
            if self.homes[fifo.source.actor] == device != self.homes[fifo.target.actor]
        )

    def _ends(self) -> tuple[dict[int, PortRef], list[tuple[int, PortRef]], list[Fifo]]:
        """Where the model's inputs come from, where its results go to, and the FIFOs between other actors."""
        graph = self.before.graph
        actors = {actor.name: actor for actor in graph.actors}
        slices = {a.name for a in graph.actors if a.is_slice}
        inputs: dict[int, PortRef] = {}
        outputs, between = [], []
        for fifo in graph.fifos:
            inner = [fifo.source.actor in slices, fifo.target.actor in slices]
            if all(inner):
                if fifo.delay:
                    raise ValueError(f"FIFO '{fifo.name}' feeds a result back, which is not partitioned")
                continue
            if fifo.delay or fifo.policy is not FaultPolicy.STOP:
                raise ValueError(f"FIFO '{fifo.name}' has a delay or a policy; partition gives its own")
            if not any(inner):
                between.append(fifo)
                continue
            name, port = (fifo.target.actor, fifo.target.port) if inner[1] else (fifo.source.actor, fifo.source.port)
            one = actors[name].port(port)
            tensor = None if one is None else tensor_of(self.before, actors[name], one)
            if tensor is None:
                raise ValueError(f"port {name}.{port} does not say which tensor it carries: read the system from files")
            if inner[1]:
                if inputs.setdefault(tensor, fifo.source) != fifo.source and not self._same(
                    inputs[tensor], fifo.source
                ):
                    raise ValueError(f"input {tensor} of the model comes from two places")
            else:
                outputs.append((tensor, fifo.target))
        return inputs, outputs, between

    def _same(self, one: PortRef, other: PortRef) -> bool:
        """Whether two ports carry the same."""
        actor = self.before.graph.actor(one.actor)
        ports = [None if actor is None else actor.port(ref.port) for ref in (one, other)]
        tensors = {None if port is None else port.tensor for port in ports}
        return one.actor == other.actor and len(tensors) == 1 and None not in tensors

    def _readers(self) -> dict[int, list[int]]:
        """Tensor -> the pieces that read it."""
        found: dict[int, list[int]] = {}
        for place, piece in enumerate(self.pieces):
            for tensor in piece.reads:
                found.setdefault(tensor, []).append(place)
        return found

    def _others(self, device: int) -> None:
        """Copies of the actors that are no slices: those that lead to the model on one device, the others on all."""
        graph = self.before.graph
        slices = {a.name for a in graph.actors if a.is_slice}
        arcs = [(fifo.source.actor, fifo.target.actor) for fifo in graph.fifos]
        back = [(target, source) for source, target in arcs]
        leading = _reached(back, slices, {ref.actor for ref in self.inputs.values()})
        following = {ref.actor for _, ref in self.outputs}
        both = leading & _reached(arcs, slices, following)
        if both:
            raise ValueError(f"actor '{min(both)}' is before the model and behind it; partition is for one way")
        sources = [actor.name for actor in graph.actors if actor.name in leading and not actor.inputs]
        if len(sources) > 1 and not self.settings.clock:
            several = f"{', '.join(sources[:-1])} and {sources[-1]}"
            raise ValueError(f"{several} number their tokens each by itself; state --clock, which numbers them alike")
        for actor in graph.actors:
            if actor.name in slices or (actor.name in leading and device and not self.settings.clock):
                continue
            copy = replace(actor, name=self._at(actor.name, device), parameters=self._parameters(actor, device))
            if self.settings.clock and not actor.inputs:
                copy = replace(copy, clock=self.settings.clock)
            self.stated.update({PortRef(copy.name, port.name): port for port in actor.ports})
            self._add(replace(copy, ports=()), device)  # they are added with their FIFOs

    def _parameters(self, actor: Actor, device: int) -> tuple[tuple[str, str], ...]:
        """The parameters; a file that is written has the device in its name."""
        paths = self.before.interfaces[actor.name].paths if actor.name in self.before.interfaces else {}
        made = []
        for name, value in actor.parameters:
            if paths.get(name) == "write" and value not in ("", "-"):
                path = PurePath(value)
                value = str(path.with_name(f"{path.stem}-{self.names[device]}{path.suffix}"))
            made.append((name, value))
        return tuple(made)

    def _piece(self, place: int, device: int) -> None:
        piece = self.pieces[place]
        channels = piece.parts[device] if piece.parts else ()
        coded = bool(piece.parts and self.settings.sums) and device == self.settings.devices - 1
        behaviour = ModelSlice.holding(self.settings.sums if coded else self.file, piece.operators, channels)
        self._add(Actor(self._at(self.labels[place], device), behaviour=behaviour), device)

    def _exchange(self, tensor: int, device: int) -> None:
        brought = {
            "own" if d == device else self.names[d]: self._sent(tensor, d, device) for d in range(len(self.names))
        }
        parts = {port: part for port, part in brought.items() if part}
        text = " ".join(f"{port}={ranges(part)}" for port, part in sorted(parts.items(), key=lambda p: p[0] != "own"))
        parameters = {"layer": self.labels[self.writer[tensor]], "devices": ",".join(self.names), "parts": text}
        row = self.exchanged.index(tensor)
        parameters["row"] = str(row)
        parameters["zero"] = str(zero_point(self.model, tensor))
        if row == len(self.exchanged) - 1:
            parameters["device"] = self.names[device]
        if self.settings.sums:
            parameters["coded"] = "own" if device == len(self.names) - 1 else self.names[-1]
        name = self._at(f"exchange_{tensor}", device)
        self._add(Actor(name, behaviour=EXCHANGE, parameters=tuple(parameters.items())), device)

    def _parts(self, tensor: int) -> list[tuple[int, ...]]:
        """The channels of a tensor on each device."""
        if tensor not in self.parts:
            piece = self.pieces[self.writer[tensor]]
            found = (narrow(self.model, piece.operators, part) for part in piece.parts)
            self.parts[tensor] = [
                next(each.tensors[tensor] for each in narrowed.values() if tensor in each.tensors) for narrowed in found
            ]
        return self.parts[tensor]

    def _join(self, device: int) -> None:
        """The FIFOs into a device's actors."""
        for place, piece in enumerate(self.pieces):
            for tensor in piece.reads:
                self._bring(tensor, PortRef(self._at(self.labels[place], device), f"in_{tensor}"), device, tensor)
        for row, tensor in enumerate(self.exchanged):
            self._gather(row, tensor, device)
        for tensor, ref in self.outputs:
            self._bring(tensor, PortRef(self._at(ref.actor, device), ref.port), device, None)
        for fifo in self.between:
            self._between(fifo, device)
        if self.exchanged:
            self._table_to_sinks(device)

    def _bring(self, tensor: int, target: PortRef, device: int, named: Optional[int]) -> None:
        """A whole tensor to a reader."""
        token = self.flow.types[tensor]
        if tensor not in self.writer:
            self._connect(self._input(tensor, device), target, token, tensor, named)
        elif tensor in self.exchanged:
            self._connect(self._at(f"exchange_{tensor}", device), target, token, tensor, named)
        else:
            self._connect(self._at(self.labels[self.writer[tensor]], device), target, token, tensor, named)

    def _input(self, tensor: int, device: int) -> str:
        """The actor that gives an input of the model on a device: a fork of what comes from the source."""
        name = self._at(f"input_{tensor}", device)
        if name not in self.actors:
            home = device if self.settings.clock else 0
            if tensor not in self.inputs:
                raise ValueError(f"input {tensor} of the model comes from nowhere")
            ref = self.inputs[tensor]
            token = self.flow.types[tensor]
            self._add(Actor(name, behaviour=FORK), device)
            if device == home:
                source = PortRef(self._at(ref.actor, home), ref.port)
                self._link(source, PortRef(name, "in"), token, tensor, tensor)
            else:
                self._connect(self._input(tensor, home), PortRef(name, "in"), token, tensor, tensor)
        return name

    def _gather(self, row: int, tensor: int, device: int) -> None:
        """The parts of a tensor, and the tables, to a device's exchange."""
        exchange = self._at(f"exchange_{tensor}", device)
        writer = self.labels[self.writer[tensor]]
        for peer, name in enumerate(self.names):
            part, sent = self._parts(tensor)[peer], self._sent(tensor, peer, device)
            if sent:
                target = PortRef(exchange, "own" if peer == device else name)
                source = self._at(writer, peer)
                if sent != part:
                    source = self._selection(tensor, peer, device)
                self._connect(source, target, self._narrow(tensor, sent), tensor if sent == part else None, None)
        if row == 0:
            return
        # Where channels have copies, the exchange chooses by what the tables say of each.
        told = row == len(self.exchanged) - 1 or self.overlap
        before = f"exchange_{self.exchanged[row - 1]}"
        for peer in range(len(self.names)) if told else (device,):
            if not self._sent(tensor, peer, device):
                continue
            port = "seen" if peer == device else f"seen_{self.names[peer]}"
            self._connect(self._at(before, peer), PortRef(exchange, port), self._table, None, None, "table")

    def _narrow(self, tensor: int, part: Sequence[int]) -> TokenType:
        whole = self.flow.types[tensor]
        return replace(whole, shape=(*whole.shape[:-1], len(part)))

    def _sent(self, tensor: int, peer: int, device: int) -> tuple[int, ...]:
        """What a device gets of a peer's part: the channels that it does not have itself."""
        parts = self._parts(tensor)
        if peer == device or self.settings.sums:
            return parts[peer]
        own = set(parts[device])
        return tuple(channel for channel in parts[peer] if channel not in own)

    def _selection(self, tensor: int, peer: int, device: int) -> str:
        """The actor on a peer that takes from its part what devices need; this device becomes one of them."""
        name = self._at(f"select_{tensor}", peer)
        part = self._parts(tensor)[peer]
        if name not in self.actors:
            self._add(Actor(name, behaviour=SELECT, parameters=(("channels", ""),)), peer)
            writer = self._at(self.labels[self.writer[tensor]], peer)
            self._connect(writer, PortRef(name, "in"), self._narrow(tensor, part), tensor, None)
        place = {channel: number for number, channel in enumerate(part)}
        chosen = ranges([place[channel] for channel in self._sent(tensor, peer, device)])
        out = _free("out", {port.name for port in self.actors[name].ports})
        known = dict(self.actors[name].parameters)["channels"]
        parameters = (("channels", f"{known} {out}={chosen}".strip()),)
        self.actors[name] = replace(self.actors[name], parameters=parameters)
        return name

    @property
    def _table(self) -> TokenType:
        return TokenType("uint8", (len(self.exchanged), len(self.names)))

    def _table_to_sinks(self, device: int) -> None:
        """The table of what was missing, to the sinks that can show it; where there is none, to one of its own."""
        last = self._at(f"exchange_{self.exchanged[-1]}", device)
        shown = [("layers", ",".join(self.labels[self.writer[t]] for t in self.exchanged))]
        shown.append(("devices", ",".join(self.names)))
        sinks = [
            actor
            for actor in self.actors.values()
            if self.homes[actor.name] == device
            and isinstance(actor.behaviour, PythonBehaviour)
            and (actor.behaviour.file.rpartition("/")[2], actor.behaviour.class_name)
            == ("tensor_sink.py", "TensorSink")
            and actor.port("missing") is None
        ]
        if not sinks:
            sinks = [Actor(self._at("Missing", device), behaviour=PythonBehaviour("tensor_sink.py", "TensorSink"))]
            self._add(sinks[0], device)
        if self.settings.designated:
            shown.append(("only", "designated"))
        for sink in sinks:
            self.actors[sink.name] = replace(sink, parameters=(*sink.parameters, *shown))
            self._connect(last, PortRef(sink.name, "missing"), self._table, None, None, "table")
            self._connect(last, PortRef(sink.name, "designated"), _FLAG, None, None, "designated")

    def _between(self, fifo: Fifo, device: int) -> None:
        """A FIFO between two actors that are no slices."""
        target = PortRef(self._at(fifo.target.actor, device), fifo.target.port)
        if target.actor not in self.actors:
            return
        own = self._at(fifo.source.actor, device)
        name = own if own in self.actors else self._at(fifo.source.actor, 0)
        port = self.stated[PortRef(name, fifo.source.port)]
        source = fifo.source.port if self.homes[name] == device else f"{fifo.source.port}_{self.names[device]}"
        self._link(PortRef(name, source), target, port.token, port.tensor, None)

    def _connect(
        self,
        source: str,
        target: PortRef,
        token: TokenType,
        tensor: Optional[int],
        named: Optional[int],
        kind: str = "out",
    ) -> None:
        """A FIFO from a port of its own of ``source``."""
        stem = kind if tensor is None or kind != "out" else f"out_{tensor}"
        name = _free(stem, {port.name for port in self.actors[source].ports})
        self._link(PortRef(source, name), target, token, tensor, named)

    def _link(
        self,
        source: PortRef,
        target: PortRef,
        token: TokenType,
        tensor: Optional[int],
        named: Optional[int],
    ) -> None:
        homes = self.homes[source.actor], self.homes[target.actor]
        crosses = homes[0] != homes[1]
        optional = crosses and self.actors[target.actor].behaviour == EXCHANGE
        out = self.stated.get(source, Port(source.port, Direction.OUT, token))
        out = replace(out, token=token, tensor=tensor)
        into = self.stated.get(target, Port(target.port, Direction.IN, token, required=not optional, tensor=named))
        into = replace(into, token=token)
        self._port(source.actor, out)
        self._port(target.actor, into)
        name = f"f{len(self.fifos)}"
        fifo = Fifo(name, source, target)
        if crosses:
            group = "-".join(self.names[home] for home in sorted(homes)) if optional else None
            later = self._later(target.actor) if optional else 1.0
            timeout, floor = self.settings.timeout * later, self.settings.floor
            fifo = replace(fifo, policy=FaultPolicy.DROP, timeout=timeout, group=group)
            if optional and floor is not None:
                fifo = replace(fifo, timeout_floor=floor * later)
            fifo = replace(fifo, capacity=_CAPACITY, room_timeout=timeout * _ROOM)
        self.fifos.append(fifo)

    def _later(self, exchange: str) -> float:
        """How much longer an exchange waits for a part: those before it may have waited themselves."""
        row = int(dict(self.actors[exchange].parameters)["row"])
        return 1 + (row + 1) * _LATER

    def _port(self, actor: str, port: Port) -> None:
        self.actors[actor] = replace(self.actors[actor], ports=(*self.actors[actor].ports, port))

    def _add(self, actor: Actor, device: int) -> None:
        self.actors[actor.name] = actor
        self.homes[actor.name] = device

    def _at(self, name: str, device: int) -> str:
        return f"{name}-{device + 1}"

    def _deploy(self, application: str) -> tuple[tuple[Platform, ...], tuple[PlatformMapping, ...]]:
        count = len(self.names)
        pairs = [(a, b) for a in range(count) for b in range(a + 1, count)]
        ports = {pair: self.settings.port + place for place, pair in enumerate(pairs)}
        platforms = []
        mappings = []
        for device, name in enumerate(self.names):
            links = tuple(
                Link(self.names[peer], port=ports[min(device, peer), max(device, peer)], shared=True)
                for peer in range(count)
                if peer != device
            )
            platforms.append(Platform(name, (Unit(_UNIT),), links))
            placements = [
                Placement(actor, unit=_UNIT) if home == device else Placement(actor, platform=self.names[home])
                for actor, home in sorted(self.homes.items(), key=lambda each: each[1])
            ]
            mappings.append(PlatformMapping(application, name, tuple(placements)))
        return tuple(platforms), tuple(mappings)


def _free(stem: str, taken: set[str]) -> str:
    """A name for a port that none has yet."""
    return next(each for each in _numbered(stem) if each not in taken)


def _numbered(stem: str) -> Iterator[str]:
    yield stem
    number = 2
    while True:
        yield f"{stem}_{number}"
        number += 1


def _labels(model: Model, found: Sequence[Piece]) -> list[str]:
    """A name for each piece: its first operator's."""
    return [label(model.operators[piece.operators[0]]) for piece in found]


def _reached(arcs: Iterable[tuple[str, str]], slices: set[str], known: set[str]) -> set[str]:
    """The actors that are no slices, and that the arcs lead to from the known ones, these included."""
    after: dict[str, set[str]] = {}
    for source, target in arcs:
        after.setdefault(source, set()).add(target)
    reached, waiting = set(known), list(known)
    while waiting:
        fresh = after.get(waiting.pop(), set()) - reached - slices
        reached |= fresh
        waiting += fresh
    return reached


def tensor_of(system: System, actor: Actor, port: Port) -> Optional[int]:
    """The model's tensor that a port of a slice carries; None where that is not known."""
    known = system.interfaces[actor.name].tensors.get(port.name) if actor.name in system.interfaces else None
    return port.tensor if known is None else known
