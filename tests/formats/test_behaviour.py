"""What behaviours say of themselves is found without running them; what is wrong is said, not raised."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from eprune.analysis.check import check
from eprune.formats.behaviours import inspect
from eprune.formats.behaviours.model_slice import ModelSlice
from eprune.formats.behaviours.python_class import PythonBehaviour
from eprune.formats.library import find, library_folder
from eprune.formats.python_source import MAX_BYTES
from eprune.model.finding import Location, Severity
from eprune.model.graph import Actor, Direction, Graph, Port
from eprune.model.interface import Interface
from eprune.model.system import System
from eprune.model.token import TokenType, parse_token
from tests.kit import tiny_models

WHERE = Location("app.xml", 7)


def looked_at(actor: Actor) -> tuple[Interface | None, list[str]]:
    interfaces, findings = inspect(Graph("g", (actor,)))
    assert set(interfaces) <= {actor.name}
    return interfaces.get(actor.name), [f"{finding} ({finding.hint})" for finding in findings]


@pytest.fixture
def python(tmp_path: Path):
    """Looks at class C of the given source."""
    path = tmp_path / "c.py"

    def look(source: str | bytes) -> tuple[Interface | None, list[str]]:
        path.write_bytes(source.encode() if isinstance(source, str) else source)
        interface, findings = looked_at(Actor("A", behaviour=PythonBehaviour("c.py", "C", str(path)), where=WHERE))
        if interface is not None:
            interface = replace(interface, lacks={})  # these classes are not complete; see below
        return interface, [finding.replace(str(path), "c.py") for finding in findings]

    return look


# Python classes.


@pytest.mark.parametrize(
    ("body", "lacks"),
    [
        ("def fire(self, inputs, outputs): ...", {}),
        ("fire = other", {}),
        ("if True:\n  def fire(self, inputs, outputs): ...", {}),
        ("def __getattr__(self, name): ...", {}),
        ("pass", {"fire": ""}),
        ("def Fire(self, inputs, outputs): ...", {"fire": "Fire"}),
        ("def fires(self, inputs, outputs): ...\n def initialize(self): ...", {"fire": "fires"}),
        ("def _fire(self, inputs, outputs): ...", {"fire": "_fire"}),
        ("def process(self, inputs, outputs): ...", {"fire": ""}),
    ],
)
@pytest.mark.parametrize("base", ["", "(Actor)"])
def test_a_class_without_fire_lacks_it(tmp_path, body: str, lacks: dict[str, str], base: str) -> None:
    path = tmp_path / "c.py"
    path.write_text(f"from eprune.runtime import Actor\nclass C{base}:\n {body}\n", encoding="utf-8")
    actor = Actor("A", behaviour=PythonBehaviour("c.py", "C", str(path)), where=WHERE)
    interface, findings = looked_at(actor)
    assert interface is not None and interface.lacks == lacks and findings == []
    told = list(check(System(Graph("g", (actor,)), interfaces={"A": interface})))
    assert [finding.rule for finding in told if finding.severity is Severity.ERROR] == ["FILE"] * len(lacks)
    if lacks:
        near = lacks["fire"]
        assert told[0].message == "actor 'A': class C has no method 'fire'"
        assert told[0].hint == (f"is '{near}' meant to be 'fire'?" if near else "write def fire(self, inputs, outputs)")


def test_what_comes_from_elsewhere_may_have_fire(tmp_path) -> None:
    path = tmp_path / "c.py"
    for source in ("from there import Base\nclass C(Base): ...", "@made\nclass C: ...", "class C(metaclass=M): ..."):
        path.write_text(source, encoding="utf-8")
        interface, _ = looked_at(Actor("A", behaviour=PythonBehaviour("c.py", "C", str(path)), where=WHERE))
        assert interface is not None and interface.lacks == {}


def test_a_control_source_lacks_control_and_without_data_outputs_no_fire(tmp_path) -> None:
    path = tmp_path / "c.py"
    path.write_text("class C:\n def controls(self, inputs): ...\n", encoding="utf-8")
    ports = Port("rows", Direction.OUT, TokenType("int32"), control=True), Port("out", Direction.OUT, TokenType("int8"))
    for own, lacks in ((ports[:1], {"control": "controls"}), (ports, {"control": "controls", "fire": ""})):
        interface, _ = looked_at(Actor("A", own, behaviour=PythonBehaviour("c.py", "C", str(path)), where=WHERE))
        assert interface is not None and interface.lacks == lacks


def test_ports_and_parameters_are_read_off_the_class(python) -> None:
    interface, findings = python("""
from eprune.runtime import Actor

class C(Actor):
    INPUTS = {"in": "float32[1,4]", "gain": "float32"}
    OUTPUTS: dict = {"out": "uint8[2]"}

    def __init__(self, path, factor="2", *, top, size=None):
        pass
""")
    assert findings == []
    assert interface == Interface(
        inputs={"in": TokenType("float32", (1, 4)), "gain": TokenType("float32")},
        outputs={"out": TokenType("uint8", (2,))},
        parameters={"path": True, "factor": False, "top": True, "size": False},
    )


@pytest.mark.parametrize(
    ("body", "waits"),
    [
        ("waits = True", True),
        ("waits: bool = True", True),
        ("waits = sys.platform == 'linux'", True),
        ("waits = False", False),
        ("pass", False),
    ],
)
def test_a_class_says_that_it_waits_for_the_world(python, body: str, waits: bool) -> None:
    interface, findings = python(f"class Camera:\n {body}\nclass C(Camera):\n pass")
    assert findings == []
    assert interface is not None and interface.waits == waits


@pytest.mark.parametrize(
    ("default", "given", "waits"),
    [("", {}, False), ("", {"path": "-"}, True), ("-", {}, True), ("-", {"path": "a"}, False)],
)
def test_who_reads_standard_input_waits_for_it(
    tmp_path: Path, default: str, given: dict[str, str], waits: bool
) -> None:
    path = tmp_path / "c.py"
    path.write_text(f"class C:\n stdin = 'path'\n def __init__(self, path={default!r}): ...\n")
    actor = Actor("A", behaviour=PythonBehaviour("c.py", "C", str(path)), parameters=tuple(given.items()))
    interface, findings = looked_at(actor)
    assert findings == []
    assert interface is not None and interface.waits == waits


def test_nothing_of_the_file_is_run(python, tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    interface, findings = python(f"""
open({str(trap)!r}, "w").close()
raise SystemExit(3)
class C(__import__("os").system("touch {trap}") or object):
    INPUTS = {{"in": str(open({str(trap)!r}, "w"))}}
""")
    assert (interface, findings) == (Interface(parameters=None), [])
    assert not trap.exists()


def test_a_class_inherits_from_one_in_the_same_file(python) -> None:
    interface, _ = python("""
import eprune.runtime
class Base(eprune.runtime.Actor):
    INPUTS = {"in": "int8"}
    OUTPUTS = {"out": "int8"}
    def __init__(self, a): ...
class Middle(Base):
    OUTPUTS = {"out": "int16"}
class C(Middle):
    pass
""")
    assert interface == Interface({"in": TokenType("int8")}, {"out": TokenType("int16")}, {"a": True})


def test_a_class_inherits_from_one_in_a_file_beside_it(python, tmp_path: Path) -> None:
    (tmp_path / "base.py").write_text(
        'class Base(Actor):\n INPUTS = {"in": "int8"}\n def __init__(self, a, b=1): ...\n'
    )
    interface, _ = python("from base import Base\nclass C(Base): pass")
    assert interface == Interface({"in": TokenType("int8")}, {}, {"a": True, "b": False})


@pytest.mark.parametrize(
    ("source", "parameters"),
    [
        ("class C(Actor): pass", {}),
        ("class C: pass", {}),
        ("class C(Actor):\n def __init__(self, a, **rest): ...", None),
        ("class C(Elsewhere): pass", None),
        ("class C(Elsewhere):\n def __init__(self, a): ...", {"a": True}),
        ("@dataclass\nclass C(Actor):\n a: str", None),
        ("class C(Actor, metaclass=M): pass", None),
        ("class C(C): pass", {}),
        ("class D(C): pass\nclass C(D): pass", {}),
        ("if True:\n class C(Actor):\n  def __init__(self, x): ...", {"x": True}),
        ("try:\n import a\nexcept ImportError:\n class C(Actor):\n  def __init__(self, x): ...", {"x": True}),
        ("from elsewhere import C", None),
        ("from elsewhere import D as C", None),
        ("from elsewhere import *", None),
        ("C = make()", None),
    ],
)
def test_parameters_are_known_unknown_or_none(python, source: str, parameters: dict[str, bool] | None) -> None:
    interface, findings = python(source)
    assert findings == []
    assert interface.parameters == parameters


def test_declarations_that_are_computed_are_not_known(python) -> None:
    interface, findings = python('SIZE = 4\nclass C:\n INPUTS = {"in": f"float32[{SIZE}]"}\n OUTPUTS = make()')
    assert findings == []
    assert (interface.inputs, interface.outputs) == ({}, {})


@pytest.mark.parametrize(
    ("declaration", "message"),
    [
        ('{"in": "float23[4]"}', "C.INPUTS: unknown dtype 'float23'; known are"),
        ('{"in": 4}', "C.INPUTS must map port names to token types"),
        ('["in"]', "C.INPUTS must map port names to token types"),
    ],
)
def test_a_declaration_that_is_wrong_is_found_in_its_file(python, declaration: str, message: str) -> None:
    interface, (finding,) = python(f"\nclass C:\n INPUTS = {declaration}\n")
    assert interface is None
    assert finding.startswith(f"c.py:3: error[G2]: {message}")
    assert finding.endswith('(write for example INPUTS = {"in": "float32[1,4]"})')


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("class D: ...", "'c.py' has no class 'C' (classes there: D)"),
        ("class CC: ...", "'c.py' has no class 'C' (did you mean 'CC'?)"),
        ("", "'c.py' has no class 'C' (classes there: none)"),
        ("x = 1\nclass C(:", "'c.py' is not usable: not valid Python: invalid syntax (c.py:2) ()"),
        (b"class C: pass\n\xff", "'c.py' is not usable: not valid Python: "),
        (b"# coding: klingon\nclass C: pass", "'c.py' is not usable: not valid Python: "),
        (b"class C: pass\0", "'c.py' is not usable: not valid Python: "),
        ("x = " + "(" * 5000 + ")" * 5000, "'c.py' is not usable: not valid Python: "),
        ("x = " + "-" * 50_000 + "1", "'c.py' is not usable: not valid Python: "),
        ("#" * (MAX_BYTES + 1), "'c.py' is not usable: the file has 1048577 bytes; the limit is 1048576 (c.py)"),
    ],
)
def test_a_file_that_does_not_hold_the_class_is_one_finding(python, source: str | bytes, message: str) -> None:
    interface, findings = python(source)
    assert interface is None
    assert len(findings) == 1
    assert findings[0].startswith(f"app.xml:7: error[FILE]: actor 'A': {message}")


def test_doubtful_style_is_no_concern_of_ours(python) -> None:
    interface, findings = python(r"class C:" "\n" r' x = "\d" is 1')
    assert (interface, findings) == (Interface(parameters={}), [])


def test_each_actor_is_looked_at_by_itself_in_file_order(tmp_path: Path) -> None:
    (tmp_path / "c.py").write_text("class C: ...")
    names = ["C", "D", "C", "E"]
    actors = tuple(
        Actor(f"a{n}", behaviour=PythonBehaviour("c.py", name, str(tmp_path / "c.py")), where=Location("app.xml", n))
        for n, name in enumerate(names)
    )
    interfaces, findings = inspect(Graph("g", (*actors, Actor("none"))))
    assert list(interfaces) == ["a0", "a2"]
    assert [finding.where.line for finding in findings] == [1, 3]


def test_a_missing_file_is_a_finding_that_names_the_nearest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "image_source.py").touch()
    monkeypatch.setattr("eprune.formats.library.library_folder", lambda: str(tmp_path))
    path = find("graphs", "image_sorce.py", True)
    interface, findings = looked_at(
        Actor("A", behaviour=PythonBehaviour("image_sorce.py", "C", path), where=WHERE),
    )
    assert interface is None
    assert findings == [
        "app.xml:7: error[FILE]: actor 'A': 'image_sorce.py' is not usable: there is no such file "
        "(graphs/image_sorce.py) (did you mean 'image_source.py', which ships with eprune?)"
    ]


def test_the_library_is_part_of_the_package_once_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "eprune"
    package.mkdir()
    monkeypatch.setattr("eprune.__file__", str(package / "__init__.py"))
    assert library_folder() == str(tmp_path / "actors")
    (package / "actors").mkdir()
    assert library_folder() == str(package / "actors")


def test_the_classes_that_ship_with_eprune_can_all_be_read() -> None:
    for path in sorted(Path(library_folder()).glob("*.py")):
        for statement in ast.parse(path.read_bytes()).body:
            if isinstance(statement, ast.ClassDef):
                behaviour = PythonBehaviour(path.name, statement.name, str(path))
                interface, findings = looked_at(Actor("A", behaviour=behaviour, where=WHERE))
                assert (interface is not None, findings) == (True, [])


# Slices of models. The chain is 0 CONV_2D, 1 MAX_POOL_2D, 2 FULLY_CONNECTED, 3 SOFTMAX.


def port(name: str, direction: Direction, tensor: int | None = None, control: bool = False) -> Port:
    return Port(name, direction, parse_token("int8"), tensor=tensor, control=control)


def model_slice(
    path: Path, model: bytes, first: int, last: int, inputs: Iterable[Port], outputs: Iterable[Port]
) -> tuple[Interface | None, list[str]]:
    path.write_bytes(model)
    behaviour = ModelSlice("m.tflite", first, last, str(path))
    interface, findings = looked_at(Actor("A", (*inputs, *outputs), behaviour=behaviour, where=WHERE))
    return interface, [finding.replace(str(path), "m.tflite") for finding in findings]


@pytest.fixture
def chain(tmp_path: Path):
    """Looks at a slice of the chain with ports of the given tensors."""

    def look(first: int, last: int, inputs: list[int | None], outputs: list[int | None], control: bool = False):
        ins = [port(f"i{n}", Direction.IN, tensor) for n, tensor in enumerate(inputs)]
        ins += [port("control", Direction.IN, control=True)] * control
        outs = [port(f"o{n}", Direction.OUT, tensor) for n, tensor in enumerate(outputs)]
        return model_slice(tmp_path / "m.tflite", tiny_models.conv_pool_dense(), first, last, ins, outs)

    return look


@pytest.fixture
def branches(tmp_path: Path):
    """Looks at a slice of the model with branches: 0 CONV, 1 CONV, 2 ADD (of 0 and 1), 3 SPLIT, 4 MUL."""

    def look(first: int, last: int, inputs: list[int | None], outputs: list[int | None]):
        ins = [port(f"i{n}", Direction.IN, tensor) for n, tensor in enumerate(inputs)]
        outs = [port(f"o{n}", Direction.OUT, tensor) for n, tensor in enumerate(outputs)]
        return model_slice(tmp_path / "m.tflite", tiny_models.residual_split(), first, last, ins, outs)

    return look


def test_a_slices_ports_get_its_boundarys_tensors_in_order(chain) -> None:
    interface, findings = chain(0, 1, [None], [None], control=True)
    assert findings == []
    assert interface == Interface(
        inputs={"i0": TokenType("float32", (1, 8, 8, 3))},
        outputs={"o0": TokenType("float32", (1, 4, 4, 4))},
        tensors={"i0": 0, "o0": 4},
        weight_bytes=4 * (4 * 3 * 3 * 3 + 4),
        copies=True,
    )


def test_a_slice_takes_one_token_a_firing(tmp_path: Path) -> None:
    ports = [[replace(port(name, way), lrl=0, url=2)] for name, way in (("i0", Direction.IN), ("o0", Direction.OUT))]
    interface, findings = model_slice(tmp_path / "m.tflite", tiny_models.conv_pool_dense(), 0, 1, *ports)
    assert interface is None
    (finding,) = findings
    assert "port 'i0' has a rate of up to 2, but a model takes and gives one token per firing" in finding


def test_ports_may_name_their_tensors(branches) -> None:
    interface, findings = branches(3, 3, [8], [10, 9])
    assert findings == []
    assert interface.tensors == {"i0": 8, "o0": 10, "o1": 9}
    assert branches(3, 3, [None], [10, None])[0].tensors == {"i0": 8, "o0": 10, "o1": 9}


def test_an_output_may_go_to_two_ports_or_to_none(branches) -> None:
    assert branches(3, 3, [None], [10, 10, 9])[0].tensors == {"i0": 8, "o0": 10, "o1": 10, "o2": 9}
    assert branches(3, 3, [None], [9])[0].tensors == {"i0": 8, "o0": 9}


@pytest.mark.parametrize(
    ("first", "last", "inputs", "outputs", "message"),
    [
        (0, 1, [], [None], "it has 0 input ports, its operators 1 input (the slice's inputs are tensor 0: float32[1,8"),
        (0, 1, [None, None], [None], "it has 2 input ports, its operators 1 input (the slice's inputs are tensor 0: "),
        (0, 1, [0, 0], [None], "it has 2 input ports, its operators 1 input ("),
        (0, 1, [None], [], "it has 1 input"),
        (
            0,
            1,
            [4],
            [None],
            "port 'i0' names tensor 4, which is not an input of its operators (the slice's inputs are",
        ),
        (0, 1, [None], [1], "port 'o0' names tensor 1, which is not an output of its operators (the slice's outputs"),
        (0, 1, [None], [999], "port 'o0' names tensor 999, which is not an output of its operators ("),
        (
            2,
            1,
            [None],
            [None],
            "operators 2-1 are not a range of operators of 'm.tflite' (the model has ",
        ),
        (
            3,
            4,
            [None],
            [None],
            "operators 3-4 are not a range of operators of 'm.tflite' (the model has ",
        ),
        (10**9, 10**9, [None], [None], "operators 1000000000-1000000000 are not a range of operators of 'm.tflite' ("),
    ],
)
def test_what_does_not_fit_the_model_is_g2(chain, first, last, inputs, outputs, message: str) -> None:
    interface, findings = chain(first, last, inputs, outputs)
    assert interface is None
    assert len(findings) == 1
    if not outputs:
        message = "it has 0 output ports, its operators 1 output (the slice's outputs are tensor 4: float32[1,4,4,4])"
    assert findings[0].startswith(f"app.xml:7: error[G2]: actor 'A': {message}")


def test_the_way_to_give_two_ports_one_tensor_is_told(branches) -> None:
    _, (finding,) = branches(3, 3, [None], [None, None, None])
    assert finding == (
        "app.xml:7: error[G2]: actor 'A': it has 3 output ports, its operators 2 outputs (the slice's outputs are "
        'tensor 10: float32[1,4,4,2]; tensor 9: float32[1,4,4,2]; ports that carry the same one name it: tensor="N")'
    )


def test_operators_that_share_state_stay_together(tmp_path: Path) -> None:
    from eprune.formats.model_files import parse_model
    from eprune.formats.tflite.model import bonds

    model = tiny_models.counter()
    together = bonds(parse_model(model))[0]
    ports = [port("i", Direction.IN)], [port("o", Direction.OUT)]
    interface, (finding,) = model_slice(tmp_path / "m.tflite", model, together[0], together[0], *ports)
    assert interface is None
    assert finding.startswith(f"app.xml:7: error[G2]: actor 'A': operators {', '.join(map(str, together))} share state")


@pytest.mark.parametrize("text", ["3,6-7", "0-1,3,5-6", "4"])
def test_a_slice_may_be_several_ranges(text: str) -> None:
    behaviour = ModelSlice.read({"model": "m.tflite", "operators": text}, lambda file, own: file)
    assert behaviour.attributes()["operators"] == behaviour.span == text
    assert ModelSlice.holding("m.tflite", list(behaviour.operators)) == behaviour


@pytest.mark.parametrize("text", ["3,1", "1-2,2", "2-1,3", "0,99", "0-999999999,1-999999999"])
def test_ranges_that_do_not_rise_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "m.tflite").write_bytes(tiny_models.conv_pool_dense())
    path = str(tmp_path / "m.tflite")
    behaviour = ModelSlice.read({"model": "m.tflite", "operators": text}, lambda file, own: path)
    _, (finding,) = looked_at(Actor("A", (port("i", Direction.IN),), behaviour=behaviour, where=WHERE))
    message = f"actor 'A': operators {text} are not rising ranges of operators of 'm.tflite' (the model has operators 0"
    assert finding.startswith(f"app.xml:7: error[G2]: {message}")


def test_a_shape_that_the_model_leaves_open_is_what_the_graph_says(tmp_path: Path) -> None:
    written = Port("o", Direction.OUT, TokenType("float32", (1, 2048)))
    ports = [port("i", Direction.IN)], [written]
    interface, findings = model_slice(tmp_path / "m.tflite", tiny_models.open_batch(), 0, 5, *ports)
    assert findings == []
    assert interface.outputs == {"o": written.token}


def test_an_open_shape_does_not_excuse_another_dtype(tmp_path: Path) -> None:
    ports = [port("i", Direction.IN)], [Port("o", Direction.OUT, TokenType("int8", (1, 2048)))]
    interface, (finding,) = model_slice(tmp_path / "m.tflite", tiny_models.open_batch(), 0, 5, *ports)
    assert interface is None
    assert finding.startswith("app.xml:7: error[G2]: actor 'A': port 'o': tensor ")
    assert " is not int8" in finding


def test_ports_of_a_class_may_say_that_they_carry_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("class A:\n    pass\n")
    path = str(tmp_path / "a.py")
    ports = tuple(Port(name, Direction.OUT, TokenType("int8"), tensor=7) for name in "xy")
    actor = Actor("A", ports, behaviour=PythonBehaviour(path, "A", path))
    interfaces, findings = inspect(Graph("g", (actor,)))
    assert findings == []
    assert interfaces["A"].tensors == {"x": 7, "y": 7}


def test_a_range_that_is_none_says_what_there_is(chain) -> None:
    assert chain(3, 4, [None], [None])[1][0].endswith("(the model has operators 0 to 3)")


@pytest.mark.parametrize("data", [b"", b"\x1c\0\0\0TFL3", b"hello, I am no model"])
def test_a_corrupt_model_is_a_finding(tmp_path: Path, data: bytes) -> None:
    interface, (finding,) = model_slice(tmp_path / "m.tflite", data, 0, 0, [], [])
    assert interface is None
    assert finding.startswith("app.xml:7: error[FILE]: actor 'A': 'm.tflite' is not usable: ")


def test_a_missing_model_is_a_finding() -> None:
    interface, (finding,) = looked_at(Actor("A", behaviour=ModelSlice("gone.tflite", 0, 0, "gone.tflite"), where=WHERE))
    assert interface is None
    assert finding.startswith("app.xml:7: error[FILE]: actor 'A': 'gone.tflite' is not usable: ")


def test_numpy_and_model_readers_are_loaded_for_models_only() -> None:
    program = """
import sys
from eprune.formats.behaviours import inspect
from eprune.model.graph import Actor, Graph
from eprune.formats.behaviours.python_class import PythonBehaviour
inspect(Graph("g", (Actor("A", behaviour=PythonBehaviour("gone.py", "C")),)))
raise SystemExit(", ".join({"numpy", "flatbuffers", "ai_edge_litert"} & set(sys.modules)))
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert run.stderr.strip() == ""


def test_a_slice_that_a_class_calls_is_looked_at_too(python, tmp_path: Path) -> None:
    (tmp_path / "m.tflite").write_bytes(tiny_models.conv_pool_dense())
    (tmp_path / "c.py").write_text("class C: pass")

    def look(first: int, last: int, file: str = "m.tflite") -> tuple[Interface | None, list[str]]:
        model = ModelSlice(file, first, last, str(tmp_path / file))
        return looked_at(Actor("A", behaviour=PythonBehaviour("c.py", "C", str(tmp_path / "c.py"), model)))

    interface, findings = look(0, 1)
    assert findings == [] and interface is not None
    inputs, outputs = interface.called or ((), ())
    assert len(inputs) == len(outputs) == 1 and interface.weight_bytes > 0 and not interface.tensors
    assert "operators 2-9 are not a range of operators of 'm.tflite'" in look(2, 9)[1][0]
    assert "'gone.tflite' is not usable" in look(0, 1, "gone.tflite")[1][0]
