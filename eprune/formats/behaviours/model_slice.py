"""A slice of a model as a behaviour: ``model="vehicle.tflite" operators="0-1"``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, Optional

from eprune.model.behaviour import Behaviour, Cut, Declaration, Json, Kept, Reader
from eprune.model.finding import EpruneError, Finding
from eprune.model.graph import Actor, Direction, Port
from eprune.model.interface import Interface
from eprune.model.platform import Engine, Unit
from eprune.model.token import TokenType

if TYPE_CHECKING:
    from eprune.formats.models.parts import Left, Model, Tensor


#: More operators than any model has: what a file claims is not spelled out beyond.
_MOST = 1_000_000


@dataclass(frozen=True)
class ModelSlice(Behaviour):
    """Operators of a model: ``first`` to ``last``, both included, or only ``parts`` of these: ranges again."""

    attribute: ClassVar[str] = "model"
    schema: ClassVar[str] = (
        '<attribute name="model"><ref name="file"/></attribute>'
        '<attribute name="operators"><ref name="operators"/></attribute>'
        '<optional><attribute name="channels"><ref name="channels"/></attribute></optional>'
    )
    schema_types: ClassVar[str] = (
        '<define name="channels">'
        "<a:documentation>output channels to keep, for example 0,4,8-12: indices and ranges, both ends included, in the"
        " order in which the result has them</a:documentation>"
        '<data type="string"><param name="pattern">'
        r"[0-9]{1,9}(\-[0-9]{1,9})?(,[0-9]{1,9}(\-[0-9]{1,9})?){0,99999}"
        "</param></data></define>"
    )

    file: str
    first: int
    last: int
    path: str = field(default="", compare=False)
    parts: tuple[tuple[int, int], ...] = ()
    channel_ranges: tuple[tuple[int, int], ...] = ()

    @classmethod
    def read(cls, attributes: Mapping[str, str], locate: Callable[[str, bool], str]) -> ModelSlice:
        """The slice that ``model`` and ``operators`` state."""
        file = attributes["model"]
        ends = _read_ranges(attributes["operators"])
        channels = _read_ranges(attributes["channels"]) if "channels" in attributes else ()
        return cls(file, ends[0][0], ends[-1][1], locate(file, False), ends if len(ends) > 1 else (), channels)

    @classmethod
    def holding(cls, file: str, operators: Sequence[int], channels: Sequence[int] = ()) -> ModelSlice:
        """The slice of these operators, which are in rising order; with ``channels``, of these output channels only."""
        parts = _ranges(operators)
        one = parts if len(parts) > 1 else ()
        return cls(file, operators[0], operators[-1], parts=one, channel_ranges=_ranges(channels))

    def attributes(self) -> dict[str, str]:
        """``model``, ``operators`` and ``channels``."""
        stated = {"model": self.file, "operators": self.span}
        return {**stated, "channels": _written(self.channel_ranges)} if self.channel_ranges else stated

    @property
    def span(self) -> str:
        """``3-5``; ``3`` for one operator; ``3-5,8`` for several ranges."""
        return _written(self.parts or ((self.first, self.last),))

    @property
    def channels(self) -> tuple[int, ...]:
        """The output channels that are kept, in order; () for all of them."""
        if sum(last - first + 1 for first, last in self.channel_ranges) not in range(1, _MOST):
            return ()
        return tuple(index for first, last in self.channel_ranges for index in range(first, last + 1))

    @property
    def kept(self) -> tuple[Kept, ...]:
        """Operators of which only some channels are kept, and which: what ``slice_model`` takes."""
        return ((tuple(self.operators), self.channels),) if self.channels else ()

    @property
    def operators(self) -> Sequence[int]:
        """The operators' indices."""
        if sum(last - first + 1 for first, last in self.parts) in range(1, _MOST):
            return tuple(index for first, last in self.parts for index in range(first, last + 1))
        return range(self.first, self.last + 1)

    @property
    def label(self) -> str:
        """``vehicle.tflite 0-1``, ``vehicle.tflite 0-1 channels 0-15``."""
        return f"{self.file} {self.span}{self._of_channels}"

    @property
    def title(self) -> str:
        """``operators 0-1``, ``operators 0-1 channels 0-15``."""
        return f"operator{'s' * (self.first != self.last)} {self.span}{self._of_channels}"

    @property
    def _of_channels(self) -> str:
        return f" channels {_written(self.channel_ranges)}" if self.channel_ranges else ""

    @property
    def owner(self) -> str:
        """``model``."""
        return "model"

    def identity(self, hashes: Mapping[str, str]) -> Json:
        """The operators, their channels, and the contents of the model."""
        stated: list[Json] = ["model", hashes.get(self.path, self.file), self.first, self.last, *map(list, self.parts)]
        return [*stated, "channels", *map(list, self.channel_ranges)] if self.channel_ranges else stated

    def renamed(self, name: Callable[[str], str]) -> ModelSlice:
        """The slice of a model whose file has another name."""
        return replace(self, file=name(self.file))

    def misplaced(self, unit: Unit) -> str:
        """Engines read models of their formats, an OpenCL device none."""
        from eprune.formats.model_files import format_of

        if unit.opencl is not None:
            return super().misplaced(unit)
        if unit.engine is None and unit.delegate is None:
            return ""
        form = format_of(self.file)
        engine = Engine.TFLITE.value if unit.engine is None else unit.engine.value  # delegates are TFLite's
        return "" if engine in form.engines else f"{engine} reads no {form.suffix} models"

    @property
    def needs_all_inputs(self) -> bool:
        """An interpreter runs on all inputs."""
        return True

    def interface(self, actor: Actor, reader: Reader) -> Interface:
        """What the model says of the tensors at the slice's edge."""
        return _slice_interface(actor, self, self._read(actor, reader))

    def called(self, actor: Actor, reader: Reader) -> Interface:
        """What a class that calls the slice gets; the actor's ports are the class's affair."""
        from eprune.formats.models.boundary import boundary

        model = self._read(actor, reader)
        _check_range(actor, self, model)
        found = _narrowed(actor, self, model)
        return Interface(weight_bytes=_weight_bytes(model, self, found), called=boundary(model, self.operators))

    def _read(self, actor: Actor, reader: Reader) -> Model:
        model, problem = reader(_read_model, self.path or self.file)
        if model is None:
            raise EpruneError(file_finding(actor, self.file, problem))
        return model

    def together(self, others: Sequence[Behaviour]) -> FusedSlices:
        """The operators of all, for one interpreter."""
        operators = sorted({operator for each in (self, *others) for operator in each.operators})
        kept = tuple(one for each in (self, *others) if isinstance(each, ModelSlice) for one in each.kept)
        return FusedSlices(self.file, operators[0], operators[-1], self.path, chosen=tuple(operators), dealt=kept)

    def declare(self, actor: Actor, interface: Interface) -> Declaration:
        """``program.segment(NAME, "MODEL", ...)``; a tensor that several ports carry has one position."""
        positions: dict[Direction, dict[int, int]] = {Direction.IN: {}, Direction.OUT: {}}
        ports: dict[Direction, dict[str, int]] = {Direction.IN: {}, Direction.OUT: {}}
        for port in actor.ports:
            if not port.control:
                tensors = positions[port.direction]
                tensor = interface.tensors[port.name]
                ports[port.direction][port.name] = tensors.setdefault(tensor, len(tensors))
        edges = (tuple(positions[Direction.IN]), tuple(positions[Direction.OUT]))
        cut = Cut(actor.name, self.path, tuple(self.operators), *edges, kept=self.kept)
        options = {"actors": actor.members, "inputs": ports[Direction.IN], "outputs": ports[Direction.OUT]}
        return Declaration("segment", cut, tuple(options.items()))


@dataclass(frozen=True)
class FusedSlices(ModelSlice):
    """Slices of one model that one interpreter runs: the operators of all, which need not be a range."""

    attribute: ClassVar[str] = ""  # no file states one: the pass ``fuse`` makes it

    chosen: tuple[int, ...] = ()
    dealt: tuple[Kept, ...] = ()

    @property
    def operators(self) -> Sequence[int]:
        """The operators' indices."""
        return self.chosen

    @property
    def kept(self) -> tuple[Kept, ...]:
        """Operators of which only some channels are kept, and which."""
        return self.dealt


def _read_ranges(text: str) -> tuple[tuple[int, int], ...]:
    parts = [part.partition("-") for part in text.split(",")]
    return tuple((int(first), int(last or first)) for first, _, last in parts)


def _ranges(indices: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Indices in their order, successive ones as one range."""
    breaks = [place for place in range(1, len(indices)) if indices[place] != indices[place - 1] + 1]
    ends = zip([0, *breaks], [*breaks, len(indices)]) if indices else ()
    return tuple((indices[a], indices[b - 1]) for a, b in ends)


def _written(parts: Sequence[tuple[int, int]]) -> str:
    return ",".join(f"{first}" if first == last else f"{first}-{last}" for first, last in parts)


def file_finding(actor: Actor, file: str, problem: str, hint: str = "") -> Finding:
    """FILE: what is wrong with a file that an actor names."""
    return Finding("FILE", actor.where, f"actor {actor.name!r}: {file!r} {problem}", hint)


def problem_of(error: EpruneError) -> str:
    """The first finding of an error, in a few words."""
    finding = error.findings[0]
    return f"{finding.message} ({finding.where})"


def _read_model(path: str) -> tuple[Optional[Model], str]:
    from eprune.formats.model_files import read_model

    try:
        return read_model(path), ""
    except EpruneError as error:
        return None, f"is not usable: {problem_of(error)}"


def _refusal(actor: Actor, message: str, hint: str = "") -> EpruneError:
    return EpruneError(Finding("G2", actor.where, f"actor {actor.name!r}: {message}", hint))


def _check_range(actor: Actor, behaviour: ModelSlice, model: Model) -> None:
    """Raises EpruneError (G2) unless the operators are a range of the model's, and none shares state with another."""
    count = len(model.operators)
    ends = [end for part in behaviour.parts or ((behaviour.first, behaviour.last),) for end in part]
    rising = all(first <= last for first, last in zip(ends, ends[1:]))
    apart = all(last < first for last, first in zip(ends[1::2], ends[2::2]))
    if not (rising and apart and ends[-1] < count):
        span = behaviour.span if behaviour.parts else f"{behaviour.first}-{behaviour.last}"
        kind = "rising ranges" if behaviour.parts else "a range"
        message = f"operators {span} are not {kind} of operators of {behaviour.file!r}"
        hint = f"the model has operators 0 to {count - 1}" if count else "the model has no operators"
        raise _refusal(actor, message, hint)
    for bond in model.bonds:
        inside = [index for index in bond if index in behaviour.operators]
        if inside and len(inside) < len(bond):
            message = f"operators {', '.join(map(str, bond))} share state and cannot be in different slices"
            raise _refusal(actor, message, "put them into one")
    if any(first > last for first, last in behaviour.channel_ranges) or bool(behaviour.channels) != bool(
        behaviour.channel_ranges
    ):
        message = f"channels {_written(behaviour.channel_ranges)} are not indices and ranges of channels"
        raise _refusal(actor, message, 'write them as in channels="0,4,8-12"')


def _narrowed(actor: Actor, behaviour: ModelSlice, model: Model) -> Left:
    """What the slice's channels leave of its operators. Raises EpruneError (G2) where they cannot be kept alone."""
    try:
        return model.format.narrowed(model, behaviour.operators, behaviour.kept)
    except EpruneError as error:
        raise _refusal(actor, f"{behaviour.label}: {error.findings[0].message}", error.findings[0].hint) from None


def _weight_bytes(model: Model, behaviour: ModelSlice, left: Left) -> int:
    from eprune.formats.models.boundary import weight_bytes

    return weight_bytes(model, behaviour.operators) - left.saved


def _slice_interface(actor: Actor, behaviour: ModelSlice, model: Model) -> Interface:
    from eprune.formats.models.boundary import boundary

    _check_range(actor, behaviour, model)
    left = _narrowed(actor, behaviour, model)
    for port in actor.ports:
        if port.url > 1:
            message = (
                f"port {port.name!r} has a rate of up to {port.url}, but a model takes and gives one token per firing"
            )
            raise _refusal(actor, message, 'write rate="1", or rate="0..1"')
    inputs, outputs = boundary(model, behaviour.operators)
    tensors: dict[str, int] = {}
    sides = (("input", actor.inputs, inputs), ("output", actor.outputs, outputs))
    for side, ports, edge in sides:
        stated = {i: _narrow_token(model.tensors[i].token, i, left) for i in edge}
        expected = "; ".join(f"tensor {i}: {stated[i] or model.tensors[i].type}" for i in edge) or "none"
        problem, hint = _match(side, tuple(port for port in ports if not port.control), edge, tensors)
        if problem:
            raise _refusal(actor, problem, f"the slice's {side}s are {expected}{hint}")
    types: dict[str, TokenType] = {}
    for port in actor.ports:
        if port.name in tensors:
            tensor = tensors[port.name]
            whole = _token(actor, port, model.tensors[tensor])
            types[port.name] = _narrow_token(whole, tensor, left) or whole
    return Interface(
        inputs={port.name: token for port in actor.inputs if (token := types.get(port.name))},
        outputs={port.name: token for port in actor.outputs if (token := types.get(port.name))},
        tensors=tensors,
        weight_bytes=_weight_bytes(model, behaviour, left),
        copies=True,
        channels={port: left.channels[tensor] for port, tensor in tensors.items() if tensor in left.channels},
        axes={port: left.axis[tensor] for port, tensor in tensors.items() if tensor in left.axis},
    )


def _narrow_token(token: Optional[TokenType], tensor: int, left: Left) -> Optional[TokenType]:
    """A token type of a tensor of which perhaps only some channels are left."""
    if token is None or tensor not in left.channels or not token.shape:
        return token
    shape = list(token.shape)
    shape[left.axis.get(tensor, -1)] = len(left.channels[tensor])
    return replace(token, shape=tuple(shape))


def _token(actor: Actor, port: Port, tensor: Tensor) -> TokenType:
    """A port's type: the model's, or the graph's where the model leaves the shape to the interpreter."""
    name = f"port {port.name!r}: tensor {tensor.index} ({tensor.type}, {tensor.name!r})"
    if tensor.dtype is None:
        raise _refusal(actor, f"{name} has no fixed size in bytes")
    if tensor.token is None and tensor.dtype != port.token.dtype:
        raise _refusal(actor, f"{name} is not {port.token.dtype}")
    return tensor.token or port.token


def _match(side: str, ports: tuple[Port, ...], edge: tuple[int, ...], tensors: dict[str, int]) -> tuple[str, str]:
    """Give each port its tensor of the slice's edge, into ``tensors``; else say why not, and how to go on.

    Ports that name a tensor get that one, the others the remaining tensors in order, one each. Every input must be
    given, once. An output may go to several ports, as a FIFO has one reader, or be left out, if all ports name theirs.
    """
    named = {port.name: port.tensor for port in ports if port.tensor is not None}
    for name, tensor in named.items():
        if tensor not in edge:
            return f"port {name!r} names tensor {tensor}, which is not an {side} of its operators", ""
    rest = [tensor for tensor in edge if tensor not in named.values()]
    others = [port for port in ports if port.tensor is None]
    twice = side == "input" and len(set(named.values())) < len(named)
    unused = len(rest) != len(others) and (side == "input" or others or not ports)
    if twice or unused:
        shared = side == "output" and len(ports) > len(edge)
        hint = '; ports that carry the same one name it: tensor="N"' if shared else ""
        return f"it has {_count(ports, side + ' port')}, its operators {_count(edge, side)}", hint
    tensors.update(named)
    tensors.update((port.name, tensor) for port, tensor in zip(others, rest))
    return "", ""


def _count(things: Sequence[object], name: str) -> str:
    return f"{len(things)} {name}{'s' * (len(things) != 1)}"
