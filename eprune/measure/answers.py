"""What answers a picture with the scores of classes: an application, run by the sequential executor, or a model."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Optional

import numpy as np
from threadpoolctl import threadpool_limits

from eprune.analysis.reach import leaving, reached
from eprune.analysis.routes import routes
from eprune.codegen.lower import lower
from eprune.codegen.program import LocalFifo
from eprune.explore.space import mapping
from eprune.formats.model_files import read_model
from eprune.formats.models.errors import model_error
from eprune.formats.models.parts import Model
from eprune.formats.system import files_in, read_system, write_system
from eprune.measure.engines import plain_engine
from eprune.measure.executor import Executor, Firing
from eprune.measure.stated import stated
from eprune.model.finding import EpruneError, Finding, WrongUsage
from eprune.model.graph import Actor, Graph
from eprune.model.platform import Platform, Unit
from eprune.model.system import System
from eprune.model.token import TokenType
from eprune.passes import fork, fuse, import_, relocate

#: (from, to) platforms of a link.
Way = tuple[str, str]


def class_of(answer: np.ndarray) -> int:
    """The class that an answer names: of several scores the largest one; a single whole number is the class itself."""
    if answer.size == 1 and answer.dtype.kind in "iu":
        return int(answer.reshape(-1)[0])
    return int(answer.argmax())


class ModelAnswers:
    """A model by itself, of one input and one output that holds the scores. Raises EpruneError for other models."""

    def __init__(self, model: Model, interpreter: str, shape: Optional[tuple[int, ...]] = None) -> None:
        if len(model.inputs) != 1:
            raise model_error(model.path, f"has {len(model.inputs)} inputs, and one picture is given at a time")
        tensor = model.tensors[model.inputs[0]]
        shape = shape or (tensor.token.shape if tensor.token else tensor.shape)
        self._interpreter = plain_engine(model, interpreter).load(model.data, {tensor.index: shape})
        self.token = TokenType(str(tensor.dtype), shape)
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._output = self._interpreter.get_output_details()[0]["index"]

    def __call__(self, token: np.ndarray) -> np.ndarray:
        """The scores."""
        self._interpreter.set_tensor(self._input, token)
        self._interpreter.invoke()
        answer: np.ndarray = self._interpreter.get_tensor(self._output)
        return answer


@dataclass
class Frame:
    """What one frame took: seconds from the picture to the answer, and bytes over each link."""

    answer: np.ndarray
    seconds: float
    nbytes: dict[Way, float] = field(default_factory=dict)


class SystemAnswers:
    """An application without its sources and sinks, which takes a picture and gives the answer.

    All of it runs in this process, one actor after the other. What crosses platforms is counted, and the time of a
    frame is that of the schedule: each actor takes what it took here, times its unit's ``slowdown``, and one thing at a
    time runs on each unit and over each link of the platform files. ``answer`` names the sink's input, ``ACTOR.PORT``,
    where it is not the only one that may hold scores. Without ``fused``, each actor is by itself, and ``observe`` is
    told what each has done.

    Raises EpruneError for an application that has no such source or sink.
    """

    def __init__(
        self,
        system: System,
        interpreter: str = "auto",
        answer: Optional[str] = None,
        fused: bool = True,
        observe: Optional[Callable[[Firing], None]] = None,
    ) -> None:
        self._system = fork.apply(system if system.mappings else alone(system)).system
        if fused:
            self._system = fuse.apply(self._system).system
        self._observe = observe
        graph = self._system.graph
        sources, sinks = ends(graph)
        self.sources = [actor.name for actor in sources]
        self.parameters = dict(sources[0].parameters)
        inner = [actor.name for actor in graph.actors if actor not in sources and actor not in sinks]
        (program,) = lower(alone(self._system))
        self._fed = [each for each in program.fifos if each.source.partition(".")[0] in self.sources]
        self.token = _picture(graph, self._fed)
        self.answers = _answers(graph, [actor.name for actor in sinks], self.sources, answer)
        self.labels = labels_of(sinks)
        self._executor = Executor(program, interpreter, only=inner)
        self._fifos = [each for each in program.fifos if each not in self._fed]
        self._stack = ExitStack()

    def __enter__(self) -> SystemAnswers:
        # As programs do: several threads of numpy would wait for each other on a busy machine.
        self._stack.enter_context(threadpool_limits(limits=1))
        self._stack.enter_context(self._executor)
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.close()

    @property
    def system(self) -> System:
        """What is run: the application with an actor for each copy of a token."""
        return self._system

    @property
    def fifos(self) -> list[LocalFifo]:
        """All FIFOs, those from sources first."""
        return [*self._fed, *self._fifos]

    def behaviour(self, node: str) -> Any:
        """That of a node; parameters may be changed between frames."""
        return self._executor.behaviours[node]

    def source(self, fifo: str) -> str:
        """The port ``NODE.PORT`` from which a FIFO comes: slices that are fused are one node."""
        return next(each.source for each in (*self._fed, *self._fifos) if each.name == fifo)

    def frame(
        self, token: np.ndarray, label: Optional[int] = None, watch: Callable[[Firing], None] = lambda firing: None
    ) -> Frame:
        """Run one frame; ``watch`` is told of each firing.

        Raises EpruneError if no answer reaches the sink, RuntimeError for what an actor raises.
        """
        schedule = _Schedule(self._system)
        for fifo in self._fed:
            self._executor.feed(fifo.name, _given(fifo, token, label))
            schedule.send(fifo, fifo.token.nbytes)
        for firing in self._executor.frame():
            watch(firing)
            schedule.fire(firing)
            if self._observe is not None:
                self._observe(firing)
            for fifo in self._fifos:
                if fifo.source.partition(".")[0] == firing.node:
                    schedule.send(fifo, _sent(fifo, firing))
        queues = self._executor.tokens
        found = [(name, queues[name][0]) for name in self.answers if queues[name]]
        if not found:
            message = f"no answer has come for a picture: nothing is in {' or '.join(self.answers)}"
            raise EpruneError(Finding("FILE", self._system.graph.where, message, "is the answer delayed or dropped?"))
        name, answer = found[0]
        frame = Frame(np.array(answer), schedule.arrived[name], dict(schedule.nbytes))
        for fifo in self._fifos:
            if not any(fifo.target.startswith(f"{node.name}.") for node in self._executor.nodes):
                queues[fifo.name].clear()  # the sinks have seen it
        return frame


class _Schedule:
    """When things happen in a frame, if everything takes the time that it took here."""

    def __init__(self, system: System) -> None:
        self.nbytes: dict[Way, float] = {}
        #: FIFO -> over how many a route shares its tokens: each has that part of the bytes
        self._shares = {
            fifo.name: len(route.fifos) for route in routes(system.graph) for fifo in (*route.fifos, *route.answers)
        }
        #: FIFO -> when its tokens are there
        self.arrived: dict[str, float] = {}
        self._units, self._links = system.units, {}
        self._free: dict[Any, float] = {}
        self._done: dict[str, float] = {}
        self._waits: dict[str, float] = {}
        self._homes = system.homes
        self._slower = {(each.name, unit.name): unit.slowdown for each in system.platforms for unit in each.units}
        for platform in system.platforms:
            self._links.update({(platform.name, link.to): link for link in platform.links})

    def fire(self, firing: Firing) -> None:
        """An actor fires when its tokens are there and its unit is free."""
        unit = self._units.get(firing.node, (self._homes.get(firing.node, ""), ""))
        begin = max(self._waits.get(firing.node, 0.0), self._free.get(unit, 0.0))
        end = begin + firing.seconds * self._slower.get(unit, 1)
        self._free[unit] = self._done[firing.node] = end

    def send(self, fifo: LocalFifo, nbytes: Optional[int]) -> None:
        """Tokens of so many bytes go on their way; None: no token."""
        if nbytes is None:
            return
        source, target = (end.partition(".")[0] for end in (fifo.source, fifo.target))
        time = self._done.get(source, 0.0)
        way = self._homes.get(source, ""), self._homes.get(target, "")
        if way[0] != way[1]:
            self.nbytes[way] = self.nbytes.get(way, 0) + nbytes / self._shares.get(fifo.name, 1)
            link = self._links.get(way)
            begin = max(time, self._free.get(way, 0.0))
            self._free[way] = begin + (nbytes / link.bandwidth if link and link.bandwidth else 0.0)
            time = self._free[way] + ((link.latency or 0.0) if link else 0.0)
        self.arrived[fifo.name] = time
        if not fifo.delay:
            self._waits[target] = max(self._waits.get(target, 0.0), time)


@contextmanager
def system_of(path: str) -> Iterator[System]:
    """The model at ``path`` as an application of one actor, as long as the context is open. Raises EpruneError."""
    found = stated(path)
    options = import_.Options(found.model, found.types, 1, file=found.file)
    with on_disk(import_.apply(System(Graph(Path(path).stem)), options).system) as system:
        yield system


@contextmanager
def on_disk(system: System) -> Iterator[System]:
    """The same system from files, as long as the context is open: what passes made is in memory only."""
    if not system.files:
        yield system
        return
    with TemporaryDirectory(prefix="eprune-") as folder:
        written = write_system(relocate.apply(system, relocate.Options(folder)).system, folder)
        platforms = files_in([written.platforms], "platform") if written.platforms else []
        mappings = files_in([written.mappings], "mapping") if written.mappings else []
        yield read_system(written.application, platforms, mappings, allow_outside=True)


def part_of(system: System, name: str) -> System:
    """What an actor is joined to in any way: of an application of several cameras that share nothing, one of these.

    All of it where there is no such actor.
    """
    graph = system.graph
    if graph.actor(name) is None:
        return system
    both = [*graph.fifos, *(replace(fifo, source=fifo.target, target=fifo.source) for fifo in graph.fifos)]
    found = reached(name, leaving(replace(graph, fifos=tuple(both))))
    if len(found) == len(graph.actors):
        return system
    part = replace(
        graph,
        actors=tuple(actor for actor in graph.actors if actor.name in found),
        fifos=tuple(fifo for fifo in graph.fifos if fifo.source.actor in found),
        dpgs=tuple(dpg for dpg in graph.dpgs if dpg.entry in found),
    )
    mappings = tuple(
        replace(each, placements=tuple(placement for placement in each.placements if placement.actor in found))
        for each in system.mappings
    )
    return replace(system, graph=part, mappings=mappings)


def whole_model(system: System) -> Model:
    """The model whose operators the application has all of; of several, the one that multiplies most.

    Raises WrongUsage.
    """
    parts: dict[str, set[int]] = {}
    for actor in system.graph.actors:
        if actor.behaviour is not None and actor.behaviour.operators:
            parts.setdefault(actor.behaviour.path, set()).update(actor.behaviour.operators)
    models = [(read_model(path), operators) for path, operators in parts.items()]
    whole = [model for model, operators in models if operators == {each.index for each in model.operators}]
    if not whole:
        raise WrongUsage("without labels, answers are compared with the whole model's: say which", "--model")
    return max(
        whole, key=lambda model: (sum(model.format.macs(model, each) for each in model.operators), len(model.operators))
    )


def milliseconds(seconds: Sequence[float], share: float) -> float:
    """The time that this share of the frames does not exceed, in milliseconds, from seconds."""
    if share == 0.5:
        return 1e3 * statistics.median(seconds)
    return 1e3 * float(np.quantile(seconds, share, method="higher"))


def alone(system: System) -> System:
    """All actors on one unit of one platform."""
    platform = Platform("here", (Unit("cpu"),))
    homes = {actor.name: platform.name for actor in system.graph.actors}
    return replace(system, platforms=(platform,), mappings=(mapping(system.graph, platform, homes),))


def ends(graph: Graph) -> tuple[list[Actor], list[Actor]]:
    """Sources and sinks, of which there must be some."""
    sources = [actor for actor in graph.actors if not any(not port.control for port in actor.inputs)]
    sinks = [actor for actor in graph.actors if not any(not port.control for port in actor.outputs)]
    for found, what in ((sources, "source, whose place the pictures could take"), (sinks, "sink, for the answer")):
        if not found:
            raise EpruneError(Finding("FILE", graph.where, f"the application has no {what}"))
    return sources, sinks


def _picture(graph: Graph, fed: Sequence[LocalFifo]) -> TokenType:
    """The type of what sources send, but for the class that a picture shows."""
    types = list(dict.fromkeys(fifo.token for fifo in fed if not _is_class(fifo)))
    if len(types) != 1:
        found = ", ".join(map(str, types)) or "nothing"
        message = f"its sources send {found}: pictures are tokens of one type"
        raise EpruneError(Finding("FILE", graph.where, message))
    return types[0]


def _is_class(fifo: LocalFifo) -> bool:
    """Whether a source's FIFO is for the class that is wanted."""
    return fifo.token == TokenType("int32", (1,))


def _given(fifo: LocalFifo, token: np.ndarray, label: Optional[int]) -> np.ndarray:
    return np.array([0 if label is None else label], np.int32) if _is_class(fifo) else token


def _answers(graph: Graph, sinks: Sequence[str], sources: Sequence[str], wanted: Optional[str]) -> list[str]:
    """The FIFOs of which one brings the answer: those of the input that is named, or all that may hold scores."""
    into = [fifo for fifo in graph.fifos if fifo.target.actor in sinks and fifo.source.actor not in sources]
    tokens = {ref: port.token for ref, port in graph.ports() if not port.control}
    data = [fifo for fifo in into if fifo.target in tokens]
    if wanted is not None:
        found = [fifo.name for fifo in data if str(fifo.target) == wanted]
        if not found:
            known = ", ".join(str(fifo.target) for fifo in data)
            raise WrongUsage(f"{wanted!r} is no input of a sink; there are {known}", "--answer")
        return found
    scores = [fifo for fifo in data if _may_be_scores(tokens[fifo.target])]
    # What tells of the answer beside it, a table of what is missing, say, does not come from the model itself.
    slices = {actor.name for actor in graph.actors if actor.is_slice}
    direct = [fifo for fifo in scores if fifo.source.actor in slices]
    if len({tokens[fifo.target] for fifo in scores}) > 1 and direct:
        scores = direct
    # An early and a late answer are of one type, and only one of them comes.
    if len({tokens[fifo.target] for fifo in scores}) != 1:
        names = ", ".join(f"{fifo.target} ({tokens[fifo.target]})" for fifo in data) or "nothing"
        message = f"it is not clear which input of a sink is the answer: {names}"
        raise EpruneError(Finding("FILE", graph.where, message, "name it with --answer ACTOR.PORT"))
    return [fifo.name for fifo in scores]


def _may_be_scores(token: TokenType) -> bool:
    size = int(np.prod(token.shape, dtype=int))
    return size > 1 or token.dtype.startswith(("int", "uint"))


def labels_of(sinks: Sequence[Actor]) -> str:
    """What a sink's parameter says of the names of classes."""
    return next((dict(actor.parameters)["labels"] for actor in sinks if dict(actor.parameters).get("labels")), "")


def _sent(fifo: LocalFifo, firing: Firing) -> Optional[int]:
    """The bytes of the tokens that a firing has put into a FIFO; None if it has put none."""
    if fifo.control:
        return fifo.token.nbytes if firing.chose else None
    sent = firing.outputs.get(fifo.source.partition(".")[2])
    tokens = [] if sent is None else sent if fifo.rate > 1 else [sent]
    used = [each[: each.used].nbytes if fifo.token.variable else fifo.token.nbytes for each in tokens]
    return sum(used) if used else None
