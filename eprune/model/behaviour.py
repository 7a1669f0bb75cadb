"""What an actor runs. Each kind of behaviour answers for itself, and nothing else asks which kind it is.

A kind is a frozen dataclass derived from ``Behaviour``, in a file of its own in ``formats/behaviours``: how it is
written in XML, which files it is made from, what it says of the actor's ports, how it is declared to the runtime.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Optional, TypeVar, Union

from eprune.model.touched import Access

if TYPE_CHECKING:
    from eprune.model.graph import Actor
    from eprune.model.interface import Interface
    from eprune.model.platform import Unit

T = TypeVar("T")

#: Text, numbers, and lists of them.
Json = Union[str, float, None, list[Any]]


#: Operators of a model, and the output channels that are kept of them, in order.
Kept = tuple[tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True)
class File:
    """A file that a program refers to, found at ``path``; ``suffix`` is what is written behind its name.

    ``beside`` are the paths of the files of its folder that it needs there.
    """

    path: str
    suffix: str = ""
    beside: tuple[str, ...] = ()


@dataclass(frozen=True)
class Place:
    """A file or folder at ``path`` that a parameter names, as ``value``; ``carried``: a bundle takes it along."""

    path: str
    value: str
    carried: bool = False


@dataclass(frozen=True)
class Cut:
    """A part of the model at ``path`` that a program refers to, to be cut from it: ``operators``, in order.

    ``input_tensors`` and ``output_tensors`` are indices of the model's tensors, in the order that the part has them.
    ``kept`` names operators of which the part has some output channels only.
    """

    name: str
    path: str
    operators: tuple[int, ...]
    input_tensors: tuple[int, ...]
    output_tensors: tuple[int, ...]
    kept: tuple[Kept, ...] = ()

    @property
    def file_name(self) -> str:
        """The name of the file that holds the part, in the model's format."""
        return f"{self.name}{'.onnx' if self.path.lower().endswith('.onnx') else '.tflite'}"


@dataclass(frozen=True)
class Declaration:
    """How an actor is declared to the runtime: the method ``call`` of its program, ``source``, and keyword arguments.

    Values of ``options`` are plain data, or again a File or a Cut; those of the dictionary ``paths`` are Places.
    ``compiled`` is the language of a source that is built where it runs, "c" or "opencl"; "" where none is.
    """

    call: str
    source: Union[File, Cut]
    options: tuple[tuple[str, Any], ...] = ()
    compiled: str = ""

    @property
    def files(self) -> tuple[str, ...]:
        """The paths of the files that it refers to."""
        return tuple(each.path for each in self._parts() if isinstance(each, File))

    @property
    def whole(self) -> tuple[str, ...]:
        """The same with those that these need beside them."""
        files = [each for each in self._parts() if isinstance(each, File)]
        return tuple(path for each in files for path in (each.path, *each.beside))

    @property
    def places(self) -> tuple[Place, ...]:
        """What its parameters name."""
        return tuple(self.option("paths", {}).values())

    @property
    def cuts(self) -> tuple[Cut, ...]:
        """The parts of models that it refers to."""
        return tuple(each for each in self._parts() if isinstance(each, Cut))

    def option(self, name: str, default: Any = None) -> Any:
        """The value of an option."""
        return dict(self.options).get(name, default)

    def _parts(self) -> tuple[Any, ...]:
        return (self.source, *(value for _, value in self.options))


class Reader:
    """Reads each file once, however many actors use it."""

    def __init__(self) -> None:
        self._known: dict[tuple[Callable[[str], Any], str], Any] = {}

    def __call__(self, read: Callable[[str], T], path: str) -> T:
        """What ``read(path)`` gives, or has given."""
        if (read, path) not in self._known:
            self._known[read, path] = read(path)
        result: T = self._known[read, path]
        return result


class Behaviour:
    """What an actor runs: ``file`` as written in the graph, ``path`` where it was found.

    A subclass is a kind, a frozen dataclass. ``attribute`` is the XML attribute of an actor that states it; ``beside``
    are attributes of other kinds that it takes as well. ``schema`` is what RELAX NG allows on an actor of this kind;
    ``schema_types`` are definitions that this needs and application.rng lacks.
    """

    #: XML attribute -> kind
    kinds: ClassVar[dict[str, type[Behaviour]]] = {}
    attribute: ClassVar[str] = ""
    beside: ClassVar[tuple[str, ...]] = ()
    schema: ClassVar[str] = ""
    schema_types: ClassVar[str] = ""

    file: str
    path: str

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if cls.attribute:
            Behaviour.kinds[cls.attribute] = cls

    @staticmethod
    def of(attributes: Mapping[str, str], locate: Callable[[str, bool], str]) -> Optional[Behaviour]:
        """The behaviour that an actor's XML attributes state; None if they state none.

        ``locate`` maps the name of a file to its path; with True the library of actors is searched, too. Raises
        ValueError if the attributes state two behaviours.
        """
        stated = [kind for name, kind in Behaviour.kinds.items() if name in attributes]
        taken = {name for kind in stated for name in kind.beside}
        kinds = [kind for kind in stated if kind.attribute not in taken]
        if len(kinds) > 1:
            raise ValueError(f"has two behaviours: {' and '.join(sorted(kind.attribute for kind in kinds))}")
        return kinds[0].read(attributes, locate) if kinds else None

    @classmethod
    def read(cls, attributes: Mapping[str, str], locate: Callable[[str, bool], str]) -> Behaviour:
        """The behaviour of this kind that the attributes state."""
        raise NotImplementedError

    def attributes(self) -> dict[str, str]:
        """The XML attributes that state it."""
        raise NotImplementedError

    @property
    def label(self) -> str:
        """What people call it in full: the file, and what of it."""
        raise NotImplementedError

    @property
    def title(self) -> str:
        """What a drawing says of it, where there is little room."""
        return self.label

    @property
    def owner(self) -> str:
        """Who declares the ports, for messages: ``class Tracker``, ``model``."""
        raise NotImplementedError

    def named(self) -> dict[str, Access]:
        """The paths of the files that the graph names, and what is done to each. Nothing is read for this."""
        return {self.path: Access.READ}

    def files(self) -> dict[str, tuple[str, ...]]:
        """Path of each file that it is made from -> the paths whose contents make it what it is, itself included."""
        return {self.path: (self.path,)}

    def identity(self, hashes: Mapping[str, str]) -> Json:
        """What platforms must agree on; ``hashes`` maps paths to hashes of contents."""
        raise NotImplementedError

    def renamed(self, name: Callable[[str], str]) -> Behaviour:
        """The behaviour with the names of its files as ``name`` gives them."""
        raise NotImplementedError

    def interface(self, actor: Actor, reader: Reader) -> Interface:
        """What its files say of the actor's ports and parameters. Raises EpruneError (FILE, G2)."""
        raise NotImplementedError

    def declare(self, actor: Actor, interface: Interface) -> Declaration:
        """How an actor with this behaviour is declared to the runtime."""
        raise NotImplementedError

    def misplaced(self, unit: Unit) -> str:
        """Why it cannot run on a unit, "" if it can: a delegate runs slices of models only, a device kernels."""
        if unit.opencl is not None:
            return "an OpenCL device runs actors in OpenCL only"
        return "a delegate runs slices of models only" if unit.delegate is not None else ""

    @property
    def operators(self) -> Sequence[int]:
        """The operators of a model, if it is a slice of one and nothing else: such slices can be fused."""
        return ()

    def together(self, others: Sequence[Behaviour]) -> Behaviour:
        """What slices of one model are together: asked only of those that have ``operators``."""
        raise NotImplementedError

    @property
    def takes_parameters(self) -> bool:
        """Whether it has parameters."""
        return False

    @property
    def needs_all_inputs(self) -> bool:
        """Whether it can do nothing without a token at each of its data inputs."""
        return False
