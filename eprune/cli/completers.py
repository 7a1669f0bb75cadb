"""What may stand at a place of a command line: words of the command, names from the files that the line names.

The metavar of an option or argument says what it takes (``ACTOR ...``, ``PLATFORM ACTOR``, ``FILE``), and so decides
what completes it: ``COMPLETERS`` is the table. Nothing here runs a command, raises, or prints.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Optional

import click

from eprune.measure.attacks import ATTACKS

#: Item kinds: a whole word; a part of one, after which the person goes on typing; names of files; names of folders.
WORD, PART, FILES, FOLDERS = "word", "part", "files", "folders"


@dataclass(frozen=True)
class Item:
    """One completion of the whole word under the cursor.

    For FILES ``value`` has shell patterns of file names, separated by blanks, "*" for all; folders always count. FILES
    and FOLDERS are completed by the shell itself, after the last "=" of the word where ``after_equals``.
    """

    kind: str
    value: str = ""
    help: str = ""
    after_equals: bool = False


@dataclass
class Line:
    """A command line up to the cursor: the values that each parameter has so far, and the word being typed.

    ``param`` is the parameter that takes this word, None where it can only be an option or a subcommand; ``place``
    counts its values before this one, for options that take several. ``word`` is what is typed of it; ``prefix`` the
    part of the word that belongs to the option (``--format=``).
    """

    command: click.Command
    values: dict[str, list[str]] = field(default_factory=dict)
    param: Optional[click.Parameter] = None
    place: int = 0
    word: str = ""
    prefix: str = ""

    def given(self, *names: str) -> list[str]:
        """All values of these parameters."""
        return [value for name in names for value in self.values.get(name, ())]


Completer = Callable[[Line], Iterable[Item]]


def parse(root: click.Command, words: Sequence[str], word: str) -> Line:
    """Follow ``words`` from the program's command to where ``word`` stands. After an unknown command nothing fits."""
    context = click.Context(root, info_name="eprune", resilient_parsing=True, **root.context_settings)
    command, rest = root, list(words)
    while isinstance(command, click.Group):
        names = [name for name in rest if not name.startswith("-")]
        if not names:
            break
        found = command.get_command(context, names[0])
        default = getattr(command, "default", None)
        if found is None and default is not None:
            found = command.get_command(context, default)
            rest = [names[0], *rest]  # which is no subcommand, but an argument of one
        if found is None:
            return Line(click.Command(None))
        rest = rest[rest.index(names[0]) + 1 :]
        command, context = found, click.Context(found, parent=context, resilient_parsing=True)
    spread = getattr(command, "spread", list)
    return _walk(Line(command), spread([*rest, word]))


def _walk(line: Line, words: list[str]) -> Line:
    """Give each word to its parameter; the last one is the one being typed."""
    options = {
        name: param
        for param in line.command.params
        if isinstance(param, click.Option)
        for name in (*param.opts, *param.secondary_opts)
    }
    arguments = [param for param in line.command.params if isinstance(param, click.Argument)]
    only_arguments = False
    position = 0
    index = 0
    last = len(words) - 1
    while index <= last:
        word = words[index]
        if word == "--" and index < last:
            only_arguments = True
        elif word.startswith("-") and word != "-" and not only_arguments:
            name, equals, value = word.partition("=")
            option = options.get(name)
            if index == last and not equals:
                line.word = word
                return line
            if option is not None and (option.is_flag or option.count):
                line.values.setdefault(option.name or "", []).append(name)
            elif option is not None:
                taken = [value] if equals else words[index + 1 : index + 1 + option.nargs]
                index += 0 if equals else len(taken)
                if index >= last and (equals or len(taken) <= option.nargs):
                    return _typing(line, option, taken, f"{name}=" if equals else "")
                line.values.setdefault(option.name or "", []).extend(taken)
        else:
            argument = arguments[min(position, len(arguments) - 1)] if arguments else None
            if argument is not None and position >= len(arguments) and argument.nargs != -1:
                argument = None
            if index == last:
                line.word = word
                return _typing(line, argument, [word]) if argument is not None else line
            if argument is not None:
                line.values.setdefault(argument.name or "", []).append(word)
            position += 1
        index += 1
    return line


def _typing(line: Line, param: click.Parameter, taken: list[str], prefix: str = "") -> Line:
    """The last of these values of ``param`` is being typed."""
    line.param, line.place, line.word, line.prefix = param, len(taken) - 1, taken[-1], prefix
    line.values.setdefault(param.name or "", []).extend(taken[:-1])
    return line


def complete(root: click.Command, words: Sequence[str], word: str) -> list[Item]:
    """The completions of ``word``, which stands after ``words``. Files are offered where nothing else fits."""
    line = parse(root, words, word)
    items = list(_items(line))
    texts = [
        Item(item.kind, line.prefix + item.value, item.help)
        for item in items
        if item.kind in (WORD, PART) and item.value.startswith(line.word)
    ]
    shell = [
        Item(item.kind, item.value, item.help, item.after_equals or bool(line.prefix))
        for item in items
        if item.kind in (FILES, FOLDERS)
    ]
    return texts or shell


def _items(line: Line) -> Iterable[Item]:
    if line.param is None:
        return _names(line)
    if isinstance(line.param.type, click.Choice):
        return [Item(WORD, str(choice)) for choice in line.param.type.choices]
    if line.param.type.name == "objective":
        return _objectives(line)
    if isinstance(line.param.type, (click.types.IntParamType, click.types.FloatParamType)):
        return []
    completer = COMPLETERS.get(line.param.metavar or "")
    return completer(line) if completer is not None else _alternatives(line)


def _names(line: Line) -> Iterator[Item]:
    """Options, if the word begins like one, else subcommands."""
    if line.word.startswith("-"):
        for param in line.command.params:
            if isinstance(param, click.Option) and (param.multiple or not line.values.get(param.name or "")):
                for name in (*param.opts, *param.secondary_opts):
                    yield Item(WORD, name, _first_sentence(param.help or ""))
        yield Item(WORD, "--help", "Show what the command does, and its options.")
    elif isinstance(line.command, click.Group):
        context = click.Context(line.command, info_name="eprune", resilient_parsing=True)
        for name in line.command.list_commands(context):
            found = line.command.get_command(context, name) if name.startswith(line.word) else None
            if found is not None:
                yield Item(WORD, name, found.get_short_help_str(limit=80))
        if getattr(line.command, "default", None) is not None:
            yield Item(FILES, "*.xml")  # an argument of the subcommand that may be left out


def _first_sentence(text: str) -> str:
    return text.partition(". ")[0].rstrip(".")


def _alternatives(line: Line) -> Iterator[Item]:
    """The words of a metavar such as ``every|some|M``; capitals stand for something else."""
    for each in (line.param.metavar or "").split("|") if line.param is not None else ():
        if each.islower():
            yield Item(WORD, each)


# Names from the files on the line.


def _applications(line: Line) -> list[str]:
    """Applications, also those in folders of systems."""
    given = map(Path, line.given("application"))
    return [str(path / "application.xml" if path.is_dir() else path) for path in given]


def _actors(line: Line) -> Iterator[tuple[str, str]]:
    """(actor, its class or model) of the application, or of the exploration, that the line names."""
    from eprune.formats.outline import outline

    for path in line.given("application", "folder"):
        for actor in outline(path).actors:
            yield actor.name, actor.behaviour


def _actor_words(line: Line) -> Iterator[Item]:
    from eprune.formats.outline import outline

    if line.param is not None and line.param.name == "essential":
        sinks = [actor for path in _applications(line) for actor in outline(path).actors if actor.sink]
        yield from (Item(WORD, actor.name, actor.behaviour) for actor in sinks)
        return
    for name, behaviour in _actors(line):
        yield Item(WORD, name, behaviour)


def _private(line: Line) -> Iterator[Item]:
    """An actor, or the beginning of a bound."""
    actors = list(_actor_words(line))
    yield from actors
    if actors:
        yield Item(PART, "ssim=", "what reveals more than that, as --privacy says")


def _platform_names(line: Line) -> list[str]:
    from eprune.formats.outline import outline, outlines

    names = [found.platforms[0] for found in outlines(line.given("platforms"), "platform")]
    names += [name for path in line.given("folder") for name in outline(path).platforms]
    return list(dict.fromkeys(filter(None, names)))


def _platform_words(line: Line) -> Iterator[Item]:
    taken = line.given(line.param.name or "") if line.param is not None and line.param.nargs == 1 else ()
    yield from (Item(WORD, name) for name in _platform_names(line) if name not in taken)


def _platform_and_actor(line: Line) -> Iterable[Item]:
    return _platform_words(line) if line.place == 0 else _actor_words(line)


def _certified(line: Line) -> Iterator[Item]:
    """Platforms that have a certificate in the folder, and those of platform files at hand."""
    from eprune.formats.outline import outlines

    for folder in line.given("folder"):
        yield from (Item(WORD, path.stem) for path in sorted(Path(folder).glob("*.crt")))
    for found in outlines([".", "platforms"], "platform"):
        yield Item(WORD, found.platforms[0])


def _settings(line: Line) -> Iterator[Item]:
    """``ACTOR.``, then ``ACTOR.PARAM=``, then a value, which may be a file."""
    from eprune.formats.outline import outline

    target, equals, _ = line.word.partition("=")
    if equals:
        yield Item(FILES, "*", after_equals=True)
        return
    name, dot, _ = target.partition(".")
    for path in _applications(line):
        found = outline(path)
        if not dot:
            yield from (Item(PART, f"{actor.name}.", actor.behaviour) for actor in found.actors if _takes(path, actor))
        elif (actor := found.actor(name)) is not None:
            yield from (Item(PART, f"{name}.{param}=", text) for param, text in _takes(path, actor).items())


def _takes(application: str, actor: object) -> dict[str, str]:
    """Parameter -> its default, of an actor's class; and what its element sets."""
    from eprune.formats.library import find, find_class
    from eprune.formats.outline import OutlinedActor
    from eprune.formats.touching import readable

    assert isinstance(actor, OutlinedActor)
    taken = dict.fromkeys(actor.parameters, "")
    folder = str(Path(application).parent)
    if ":" in actor.behaviour and readable(application, find(folder, actor.behaviour.rpartition(":")[0], library=True)):
        found = find_class(actor.behaviour, folder)
        if found is not None and found.parameters:
            taken.update((each.name, f"default {each.default}" if each.default else "") for each in found.parameters)
    return taken


def _times(line: Line) -> Iterator[Item]:
    """``ACTOR=``, or a JSON file."""
    if "=" not in line.word:
        yield from (Item(PART, f"{name}=", behaviour) for name, behaviour in _actors(line))
        yield Item(FILES, "*.json")


def _actor_times(line: Line) -> Iterator[Item]:
    return (item for item in _times(line) if item.kind == PART)


def _capacities(line: Line) -> Iterator[Item]:
    from eprune.formats.outline import outline

    if "=" not in line.word:
        yield from (Item(PART, f"{fifo}=") for path in _applications(line) for fifo in outline(path).fifos)


def _fifos(line: Line) -> Iterator[Item]:
    from eprune.formats.outline import outline

    yield from (Item(WORD, fifo) for path in _applications(line) for fifo in outline(path).fifos)


def _recordings(line: Line) -> Iterator[Item]:
    """``FIFO=``, then a file."""
    if "=" in line.word:
        yield Item(FILES, "*.npy", after_equals=True)
    else:
        yield from _capacities(line)


def _kinds(line: Line) -> Iterator[Item]:
    """Kinds of alarms, one after the other; then a command."""
    from eprune.watch.alarms import KINDS

    if line.place == 0:
        before = line.word[: line.word.rfind(",") + 1]
        yield from (Item(WORD, before + kind) for kind in KINDS if kind not in before.split(","))


def _controls(line: Line) -> Iterator[Item]:
    """``DPG=``, then the values of its table, one after the other."""
    from eprune.formats.outline import outline

    name, equals, _ = line.word.partition("=")
    for path in _applications(line):
        for dpg, values in outline(path).dpgs.items():
            if not equals:
                yield Item(PART, f"{dpg}=", f"one of {', '.join(values)} for each firing")
            elif dpg == name:
                before = line.word[: max(line.word.rfind(","), line.word.find("=")) + 1]
                yield from (Item(PART, before + value) for value in values)


def _objectives(line: Line) -> Iterator[Item]:
    """The names, or ``NAME=`` of a weight that follows another one."""
    from eprune.explore.cost import OBJECTIVES

    before = line.word[: line.word.rfind(",") + 1]
    named = {part.partition("=")[0] for part in before.split(",")}
    for name, (_, what) in OBJECTIVES.items():
        if name not in named:
            yield Item(PART, f"{before}{name}=", what) if before else Item(WORD, name, what)


def _points(line: Line) -> Iterator[Item]:
    from eprune.formats.outline import outline

    for path in line.given("folder"):
        yield from (Item(WORD, name, cut) for name, cut in outline(path).points.items())


def _speeds(line: Line) -> Iterator[Item]:
    if "=" not in line.word:
        yield from (Item(PART, f"{name}=") for name in _platform_names(line))


def _devices(line: Line) -> Iterator[Item]:
    """``NAME=`` of each platform but the server, or the beginning of a URL."""
    name, equals, _ = line.word.partition("=")
    yield Item(PART, f"{name}=ssh://" if equals else "ssh://", "user@host")
    if not equals:
        yield from (Item(PART, f"{name}=") for name in _platform_names(line)[:-1])


def _operators(line: Line) -> Iterator[Item]:
    """The operators of the model, by name."""
    from eprune.formats.model_files import read_model
    from eprune.formats.models.cuts import label
    from eprune.model.finding import EpruneError

    for path in line.given("model"):
        try:
            model = read_model(path)
        except EpruneError:
            continue
        yield from (Item(WORD, label(operator), f"operator {operator.index}") for operator in model.operators)


def _splits(line: Line) -> Iterator[Item]:
    """``best``, or ``after_`` and an operator of the model."""
    yield Item(WORD, "best", "the cut that is predicted to be best")
    yield from (Item(WORD, f"after_{item.value}", item.help) for item in _operators(line))


def _signatures(line: Line) -> Iterator[Item]:
    """The signatures of the model."""
    from eprune.formats.model_files import read_model
    from eprune.model.finding import EpruneError

    for path in line.given("model"):
        try:
            signatures = read_model(path).signatures
        except EpruneError:
            continue
        yield from (Item(WORD, each.key, f"graph {each.graph}") for each in signatures)


def _rules(line: Line) -> Iterator[Item]:
    from eprune.analysis.rules import RULES

    return (Item(WORD, name, rule.meaning) for name, rule in RULES.items())


def _classes(line: Line) -> Iterator[Item]:
    """The actors of the library, or a file."""
    from eprune.formats.library import library_classes

    yield from (Item(WORD, each.name, each.summary) for each in library_classes())
    yield Item(FILES, "*.py *.c *.cl *.tflite *.onnx *.xml")


def _files(patterns: str) -> Completer:
    return lambda line: [Item(FILES, patterns)]


def _folders(line: Line) -> list[Item]:
    return [Item(FOLDERS)]


def _nothing(line: Line) -> list[Item]:
    return []


#: metavar -> what completes it. Choices, objectives and numbers are known by their type instead, and ``every|some|M``
#: by its own words.
COMPLETERS: dict[str, Completer] = {
    "APP.xml": _files("*.xml"),
    "APP.xml|FOLDER ...": _files("*.xml"),
    "SYSTEM|APP.xml": _files("*.xml"),
    "APP.xml|MODEL": _files("*.xml *.tflite *.onnx"),
    "DATA": _files("*"),
    "PLATFORM.xml ...": _files("*.xml"),
    "MAPPING.xml ...": _files("*.xml"),
    "MODEL": _files("*.tflite *.onnx"),
    "LARGE": _files("*.tflite *.onnx"),
    "FILE.png|FILE.html": _files("*.png *.html"),
    "MODEL|SDF3.xml": _files("*.tflite *.onnx *.xml *.pi"),
    "PLAN.json": _files("*.json"),
    "FILE.json": _files("*.json"),
    "DIR|FILE": _files("*"),
    "DIR|FILE.npy": _files("*.npy"),
    "FILE": _files("*"),
    "FILE...": _files("*"),
    "PATH": _files("*"),
    "[NAME=]PATH ...": _files("*"),
    "DIR": _folders,
    "FOLDER": _folders,
    "ACTOR": _actor_words,
    "ACTOR ...": _actor_words,
    "ACTOR|ssim=S": _private,
    "PLATFORM": _platform_words,
    "PLATFORM ACTOR": _platform_and_actor,
    "[PLATFORM]...": _certified,
    "ACTOR.PARAM=VALUE": _settings,
    "ACTOR.PARAM=VALUES": _settings,
    "ACTOR=TIME|FILE ...": _times,
    "ACTOR=TIME": _actor_times,
    "FIFO": _fifos,
    "FIFO=N": _capacities,
    "FIFO=FILE": _recordings,
    "PLATFORM=[HOST:]PORT": _nothing,
    "KINDS COMMAND": _kinds,
    "DPG=V,V,...": _controls,
    "DPG=V:P,...": _nothing,
    "K": _points,
    "PLATFORM=F": _speeds,
    "[NAME=]URL": _devices,
    "OPERATOR ...": _operators,
    "after_OPERATOR|best|N ...": _splits,
    "[RULE]": _rules,
    "[CLASS|FILE]": _classes,
    "ATTACK": lambda line: [Item(WORD, name) for name in ATTACKS],
    # What only the person knows.
    "NAME": _nothing,
    "NAMES": _files("*"),
    "SHARE": _nothing,
    "FRAMES": _nothing,
    "SCORES": _nothing,
    "ACTOR.PORT": _nothing,
    "NAME=B,L": _nothing,
    "NAME[=ADDRESS] ...": _nothing,
    "NUMBERS": _nothing,
    "HZ": _nothing,
    "OUT:IN ...": _nothing,
    "SIGNATURE": _signatures,
    "INPUT=1,1280 ...": _nothing,
    "LIST": _nothing,
    "WHAT=VALUE": _nothing,
    "rate=R,latency=T": _nothing,
    "TRACE.csv": _files("*.csv"),
    "TRACE ...": _files("*.trace.json"),
    "S": _nothing,
    "N/s": _nothing,
    "MS": _nothing,
    "N": _nothing,
    "ADDRESS": _nothing,
    "TEXT": _nothing,
    "WAY": _nothing,
    "PACKAGE": _nothing,
    "PREFIX": _nothing,
    "WHERE": _nothing,
    "DAYS": _nothing,
    "METRIC": _nothing,
    "METRIC=VALUE": _nothing,
    "QUALITY,COST": _nothing,
    "SIZE": _nothing,
    "RATE": _nothing,
    "TIME": _nothing,
    "TIME[..TIME]": _nothing,
    "BLOCK": _nothing,
}
