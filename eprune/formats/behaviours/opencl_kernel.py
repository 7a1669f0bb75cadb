"""A kernel in OpenCL C as a behaviour: ``opencl="scale.cl:scale"``. Its arguments are the actor's ports and parameters.

What it says of itself is found without compiling it, on any machine.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import ClassVar, Union

from eprune.formats.behaviours.c_function import read_source, refuse_ports, tensors_of
from eprune.formats.behaviours.model_slice import file_finding
from eprune.formats.behaviours.python_class import needs_of, parameters_of
from eprune.formats.c_source import included
from eprune.formats.cl_source import ClSource, KernelArgument
from eprune.model.behaviour import Behaviour, Declaration, File, Json, Reader
from eprune.model.finding import EpruneError, Finding, Location
from eprune.model.graph import Actor, Port
from eprune.model.interface import Interface
from eprune.model.platform import Unit
from eprune.model.touched import Access

#: How an argument is given to the runtime: what it is, of which name, and the number of a port's token, the dtype of a
#: value or of a file's elements, or the bytes of an element of local memory.
Bound = tuple[str, str, Union[str, int]]

_SIZES = "[A-Za-z0-9_]{1,100}(,[A-Za-z0-9_]{1,100}){0,2}"


@dataclass(frozen=True)
class OpenClKernel(Behaviour):
    """A kernel ``name`` of an OpenCL file.

    ``size`` is the global work size in one to three dimensions, each a number or the name of a parameter; (): the
    number of elements of the first output's token. ``local`` is that of a work-group; (): the device chooses.
    """

    attribute: ClassVar[str] = "opencl"
    schema: ClassVar[str] = (
        '<attribute name="opencl"><ref name="kernel"/></attribute>'
        '<optional><attribute name="size"><ref name="work-size"/></attribute></optional>'
        '<optional><attribute name="local"><ref name="work-size"/></attribute></optional>'
    )
    schema_types: ClassVar[str] = (
        '<define name="kernel">'
        "<a:documentation>an OpenCL file and the name of a kernel in it, for example scale.cl:scale</a:documentation>"
        r'<data type="string"><param name="pattern">[^:\s]([^:]{0,250}[^:\s])?\.cl:[A-Za-z_][A-Za-z0-9_]{0,99}'
        "</param></data></define>"
        '<define name="work-size">'
        "<a:documentation>one to three dimensions, numbers or names of parameters, for example 48,48,32"
        "</a:documentation>"
        f'<data type="string"><param name="pattern">{_SIZES}</param></data></define>'
    )

    file: str
    name: str
    path: str = field(default="", compare=False)
    size: tuple[str, ...] = ()
    local: tuple[str, ...] = ()

    @classmethod
    def read(cls, attributes: Mapping[str, str], locate: Callable[[str, bool], str]) -> OpenClKernel:
        """The file, in the graph's folder or in the library of actors, the name, and the sizes."""
        file, _, name = attributes["opencl"].rpartition(":")
        size, local = (tuple(filter(None, attributes.get(each, "").split(","))) for each in ("size", "local"))
        return cls(file, name, locate(file, True), size, local)

    def attributes(self) -> dict[str, str]:
        """``opencl``, and the sizes where they are stated."""
        sizes = {"size": ",".join(self.size), "local": ",".join(self.local)}
        return {"opencl": self.label, **{name: text for name, text in sizes.items() if text}}

    @property
    def label(self) -> str:
        """``scale.cl:scale``."""
        return f"{self.file}:{self.name}"

    @property
    def title(self) -> str:
        """``scale``."""
        return self.name

    @property
    def owner(self) -> str:
        """``kernel scale``."""
        return f"kernel {self.name}"

    def named(self) -> dict[str, Access]:
        """The OpenCL file; it is run."""
        return {self.path: Access.RUN}

    def files(self) -> dict[str, tuple[str, ...]]:
        """The OpenCL file with what it includes."""
        return {self.path: (self.path, *included(self.path))}

    def identity(self, hashes: Mapping[str, str]) -> Json:
        """The kernel, by the contents of its files, and its work sizes."""
        return ["opencl", hashes.get(self.path, self.file), self.name, list(self.size), list(self.local)]

    def renamed(self, name: Callable[[str], str]) -> OpenClKernel:
        """The kernel in a file of another name."""
        return replace(self, file=name(self.file))

    def misplaced(self, unit: Unit) -> str:
        """It runs on an OpenCL device."""
        return "" if unit.opencl is not None else "it has no OpenCL device"

    @property
    def takes_parameters(self) -> bool:
        """By the kernel's arguments."""
        return True

    def interface(self, actor: Actor, reader: Reader) -> Interface:
        """What the kernel's arguments say: each is a port or a parameter, and each port is an argument."""
        refuse_ports(actor, "OpenCL")
        source = read_source(actor, self, reader, ClSource, "")
        if self.name not in source.kernels:
            close = get_close_matches(self.name, source.kernels, 1)
            hint = f"did you mean {close[0]!r}?" if close else f"kernels there: {', '.join(source.kernels) or 'none'}"
            raise EpruneError(file_finding(actor, self.file, f"has no kernel {self.name!r}", hint))
        arguments = source.arguments(self.name)
        findings = [*self._unbound(actor, source, arguments), *self._mistyped(actor, arguments)]
        findings = findings or [*self._wrong_values(actor, arguments), *self._wrong_sizes(actor)]
        if findings:
            raise EpruneError(*findings)
        bound = [_bound(actor, argument) for argument in arguments]
        taken = [name for kind, name, _ in bound if kind in ("value", "file", "local")]
        taken += [each for each in (*self.size, *self.local) if not each.isdigit()]
        return Interface(
            parameters=dict.fromkeys(taken, True),
            tensors=tensors_of(actor),
            paths={name: "part" for kind, name, _ in bound if kind == "file"},
        )

    def _unbound(self, actor: Actor, source: ClSource, arguments: list[KernelArgument]) -> Iterator[Finding]:
        """Arguments that are neither a port nor a parameter, and ports that are no argument."""
        parameters = dict(actor.parameters)
        known = [*_tokens(actor), *parameters, *(port.name for port in actor.inputs if port.control)]
        for argument in arguments:
            if argument.name not in known:
                close = get_close_matches(argument.name, known, 1)
                hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(known) or 'none'}"
                what = "neither a port nor a parameter" if argument.space != "local" else "no parameter"
                message = f"actor {actor.name!r} has {what} {argument.name!r}, an argument of the {self.owner}"
                yield Finding("G2", self._at(argument), message, hint)
        named = [argument.name for argument in arguments]
        for name, (port, _) in _tokens(actor).items():
            if name not in named:
                message = f"actor {actor.name!r}: the {self.owner} has no argument {name!r} for port {port.name!r}"
                hint = f"it begins at {Location(self.path, source.line(self.name))}, with {', '.join(named) or 'none'}"
                yield Finding("G2", port.where, message, hint)

    def _mistyped(self, actor: Actor, arguments: list[KernelArgument]) -> Iterator[Finding]:
        """Arguments that are something else than the port or the parameter of their name."""
        tokens, control = _tokens(actor), [port.name for port in actor.inputs if port.control]
        for argument in arguments:
            port = tokens[argument.name][0] if argument.name in tokens else None
            name, wanted = argument.name, ""
            if port is not None:
                const = "const " if port in actor.inputs else ""
                if argument.space not in ("global", "constant") or argument.constant != bool(const):
                    wanted = f"a pointer to {const}__global memory: {const}tokens of port {port.name!r} are there"
                elif not argument.holds(port.token.dtype):
                    wanted = f"a pointer to {port.token.dtype}, of which the tokens of port {port.name!r} are"
            elif name in control:
                wanted = "an int: the value of the control token" * ((argument.space, argument.dtype) != ("", "int32"))
            elif argument.space == "global" and not argument.constant:
                wanted = "constant: a parameter is a file that is read, and no output has that name"
            if wanted:
                message = f"argument {name!r} of the {self.owner} must be {wanted}"
                yield Finding("G2", self._at(argument), message, f"actor {actor.name!r} is at {actor.where}")

    def _wrong_values(self, actor: Actor, arguments: list[KernelArgument]) -> Iterator[Finding]:
        """Parameters that are not the number that an argument is, or no number of elements."""
        given = dict(actor.parameters)
        for argument in arguments:
            if argument.name in given and argument.space in ("", "local"):
                dtype = argument.dtype if argument.space == "" else "size"
                wanted = _wanted(given[argument.name], dtype)
                if wanted:
                    message = f"actor {actor.name!r}: {argument.name}={given[argument.name]!r} is not {wanted}"
                    hint = f"an argument of the {self.owner}, at {self._at(argument)}"
                    yield Finding("G2", actor.where, message, hint)

    def _wrong_sizes(self, actor: Actor) -> Iterator[Finding]:
        """Work sizes that are no sizes, or do not fit each other."""
        given: dict[str, str] = dict(actor.parameters)
        found: dict[str, list[int]] = {}
        for attribute, sizes in (("size", self.size), ("local", self.local)):
            for each in sizes:
                if not each.isdigit() and each not in given:
                    message = f"actor {actor.name!r}: {attribute}: there is no parameter {each!r}"
                    yield Finding("G1", actor.where, message, f'add <param name="{each}" value="..."/>')
                    return
                text = each if each.isdigit() else given[each]
                wanted = _wanted(text, "size")
                if wanted:
                    message = f"actor {actor.name!r}: {attribute}: {each}{'' if text == each else f'={text!r}'}"
                    yield Finding("G2", actor.where, f"{message} is not {wanted}", "write for example 48,48,32")
                    return
                found.setdefault(attribute, []).append(int(text))
        whole = found.get("size") or [work_items(actor)]
        local = found.get("local")
        if local and (len(local) != len(whole) or any(items % group for items, group in zip(whole, local))):
            message = (
                f"actor {actor.name!r}: work-groups of {_times(local)} do not divide the work size {_times(whole)}"
            )
            yield Finding("G2", actor.where, message, "as many dimensions, each a multiple; or leave local out")

    def _at(self, argument: KernelArgument) -> Location:
        return Location(self.path, argument.line)

    def declare(self, actor: Actor, interface: Interface) -> Declaration:
        """``program.opencl_actor(NAME, "FILE:NAME", ...)``."""
        beside = tuple(included(self.path))
        arguments = ClSource(self.path).arguments(self.name)
        options = {
            "arguments": tuple(_bound(actor, argument) for argument in arguments),
            "size": _numbers(self.size) or (work_items(actor),),
            "local": _numbers(self.local),
            "headers": tuple(Path(each).name for each in beside),
            **parameters_of(actor, interface),
            **needs_of(actor),
        }
        return Declaration(
            "opencl_actor", File(self.path, f":{self.name}", beside), tuple(options.items()), compiled="opencl"
        )


def work_items(actor: Actor) -> int:
    """The work size where none is stated: the elements of a token of the first output, or else input, for data."""
    ports = [port for port in (*actor.outputs, *actor.inputs) if not port.control]
    return math.prod(ports[0].token.shape) if ports else 1


def _tokens(actor: Actor) -> dict[str, tuple[Port, int]]:
    """Name of an argument -> the port whose token it is, and which of a firing's: ``in``, or ``in_0``, ``in_1``."""
    return {
        port.name if port.url == 1 else f"{port.name}_{number}": (port, number)
        for port in actor.ports
        if not port.control
        for number in range(port.url)
    }


def _bound(actor: Actor, argument: KernelArgument) -> Bound:
    """What an argument is, for the runtime."""
    tokens = _tokens(actor)
    if argument.name in tokens:
        port, number = tokens[argument.name]
        return port.direction.value, port.name, number
    if any(port.control and port.name == argument.name for port in actor.inputs):
        return "mode", argument.name, argument.dtype
    if argument.space == "local":
        return "local", argument.name, int("".join(filter(str.isdigit, argument.dtype))) // 8 * argument.width
    return "file" if argument.space else "value", argument.name, argument.dtype


def _numbers(sizes: tuple[str, ...]) -> tuple[Union[int, str], ...]:
    return tuple(int(each) if each.isdigit() else each for each in sizes)


def _wanted(text: str, dtype: str) -> str:
    """What a parameter of a dtype, or a "size", has to be, if its text is not that; "" if it is."""
    if dtype.startswith("float"):
        try:
            float(text)
        except ValueError:
            return "a number"
        return ""
    bits = int("".join(filter(str.isdigit, dtype)) or 32)
    least, most = (0, 2**bits - 1) if dtype.startswith("u") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    least = 1 if dtype == "size" else least
    try:
        return "" if least <= int(text) <= most else f"a number from {least} to {most}"
    except ValueError:
        return "a whole number"


def _times(sizes: list[int]) -> str:
    return " x ".join(map(str, sizes))
