"""Behaviours that break the rules: rebinding an output is always caught, the rest by ``--check``."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eprune.runtime.fire.checking import Checked
from eprune.runtime.kernel.actor import EndOfStream
from eprune.runtime.kernel.errors import RunError
from eprune.runtime.kernel.outputs import Outputs, Rooms
from tests.kit.programs import run, write_program

DTYPES = ["float16", "float32", "float64", "complex64", "uint8", "int8", "int16", "int32", "int64", "bool"]


def chain(tmp_path, behaviour, shape="(4,)", aligned=False, rate=1):
    folder = tmp_path / "actors"
    folder.mkdir()
    (folder / "rules.py").write_text(RULES)
    return write_program(
        tmp_path,
        "host",
        "actor('A', 'ACTORS:Count', 'cpu', {'n': '20'})",
        f"actor('B', 'actors/rules.py:{behaviour}', 'cpu')",
        "actor('C', 'ACTORS:Total', 'cpu')",
        f"fifo('f', 'A.out', 'B.in', 'int32', {shape}, capacity={2 * rate}, rate={rate})",
        f"fifo('g', 'B.out', 'C.in', 'int32', {shape}, capacity={2 * rate}, rate={rate})",
        aligned=aligned,
    )


RULES = """
from eprune.runtime import Actor


class Rebinds(Actor):
    def fire(self, inputs, outputs):
        outputs["out"] = inputs["in"] + 1


class Updates(Actor):
    def fire(self, inputs, outputs):
        outputs.update(out=inputs["in"] + 1)


class RebindsOne(Actor):
    def fire(self, inputs, outputs):
        outputs["out"][1] = inputs["in"][0] + 1


class Appends(Actor):
    def fire(self, inputs, outputs):
        outputs["out"] += [token + 1 for token in inputs["in"]]


class Removes(Actor):
    def fire(self, inputs, outputs):
        del outputs["out"]
        outputs.setdefault("out", inputs["in"] + 1)


class InPlace(Actor):
    def fire(self, inputs, outputs):
        outputs["out"][...] = inputs["in"]
        outputs["out"] += 1
        outputs["out"] -= 1


class Forgets(Actor):
    def fire(self, inputs, outputs):
        if inputs["in"].flat[0] != 7:
            outputs["out"][...] = inputs["in"]


class Keeps(Actor):
    def fire(self, inputs, outputs):
        outputs["out"][...] = inputs["in"]
        self.last = inputs["in"][1:]
"""


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("behaviour", ["Rebinds", "Updates", "Removes"])
def test_an_output_that_is_replaced_is_named_with_what_to_write(tmp_path, behaviour, aligned):
    code, _, err = run(chain(tmp_path, behaviour, aligned=aligned))
    assert code == 1
    assert "rules.py:" in err  # the very line
    assert "actor 'B' failed in fire" in err
    assert 'write outputs["out"][...] = value' in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("behaviour", ["RebindsOne", "Appends"])
def test_one_of_several_tokens_that_is_replaced_is_named_too(tmp_path, behaviour):
    code, _, err = run(chain(tmp_path, behaviour, shape="()", rate=2))
    assert code == 1
    assert "write list[i][...] = value" in err


def test_writing_in_place_is_fine(tmp_path):
    assert run(chain(tmp_path, "InPlace")) == (0, "20 tokens, sum 190\n", "")


def test_an_output_that_is_left_unwritten_once_is_found(tmp_path):
    program = chain(tmp_path, "Forgets")
    assert run(program)[0] == 0
    code, _, err = run(program, "--check")
    assert code == 1
    assert err == (
        "host: error: actor 'B' left 4 of 4 elements of its output 'out' unwritten, the first of them [0]: "
        "fire must write every element\n"
    )


def test_a_view_that_is_kept_is_found(tmp_path):
    program = chain(tmp_path, "Keeps")
    assert run(program)[0] == 0
    code, _, err = run(program, "--check")
    assert code == 1
    assert "actor 'B' keeps a view of its input 'in' after fire" in err
    assert 'inputs["in"].copy()' in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("rate", [1, 2])
def test_checked_behaviours_compute_the_same(tmp_path, rate):
    program = write_program(
        tmp_path,
        "host",
        "actor('A', 'ACTORS:Count', 'cpu', {'n': '200'})",
        "actor('B', 'ACTORS:Add', 'cpu')" if rate == 1 else "actor('B', 'ACTORS:Negate', 'cpu')",
        "actor('C', 'ACTORS:Show', 'cpu')",
        f"fifo('f', 'A.out', 'B.in', 'int32', (3,), capacity=4, rate={rate})",
        f"fifo('g', 'B.out', 'C.in', 'int32', (3,), capacity=4, rate={rate})",
    )
    plain = run(program)
    assert plain[0] == 0
    assert run(program, "--check") == plain


def fire_checked(fire, inputs, outputs, times=1):
    checked = Checked("B", fire, fire)
    for _ in range(times):
        checked.fire(inputs, outputs)
    return outputs


@given(st.sampled_from(DTYPES), st.lists(st.integers(1, 5), max_size=3), st.integers(0, 2**32))
def test_whatever_is_written_arrives_and_is_not_taken_for_rubbish(dtype, shape, seed):
    random = np.random.default_rng(seed)

    def value():
        return np.frombuffer(random.bytes(int(np.prod(shape)) * np.dtype(dtype).itemsize), dtype).reshape(shape)

    def fire(inputs, outputs):
        outputs["out"][...] = inputs["in"]

    checked = Checked("B", fire, fire)
    for _ in range(20):
        token = value() if dtype != "bool" else value().view(np.uint8) % 2 == 1
        room = np.zeros(shape, dtype)
        checked.fire({"in": token}, {"out": room})
        assert room.tobytes() == token.tobytes()


@given(st.sampled_from(DTYPES), st.data())
def test_a_single_element_that_is_never_written_is_found(dtype, data):
    size = data.draw(st.integers(1, 50))
    hole = data.draw(st.integers(0, size - 1))

    def fire(inputs, outputs):
        outputs["out"][:hole] = 1
        outputs["out"][hole + 1 :] = 1

    with pytest.raises(RunError, match=rf"left 1 of {size} elements of its output 'out' unwritten.*\[{hole}\]"):
        fire_checked(fire, {}, {"out": np.zeros(size, dtype)}, times=20)


@given(st.sampled_from(DTYPES))
def test_inputs_are_rubbish_after_the_firing(dtype):
    seen = []

    def fire(inputs, outputs):
        seen.append(inputs["in"])

    with pytest.raises(RunError, match="keeps a view"):
        fire_checked(fire, {"in": np.ones(100, dtype)}, {})
    assert seen[0].tobytes() != np.ones(100, dtype).tobytes()
    if np.dtype(dtype).kind in "fc":
        assert np.isnan(seen[0]).all()


@pytest.mark.parametrize(
    "keep", [lambda view: view[::2].T, lambda view: view.reshape(-1), memoryview, lambda view: {"view": [view.flat]}]
)
def test_views_of_views_are_found(keep):
    kept = []

    def fire(inputs, outputs):
        kept.append(keep(inputs["in"]))

    with pytest.raises(RunError, match="keeps a view of its input 'in'"):
        fire_checked(fire, {"in": np.ones((4, 4), "f4")}, {})


def test_an_output_that_is_kept_is_found():
    kept = []

    def fire(inputs, outputs):
        outputs["out"][...] = 1
        kept.append(outputs["out"])

    with pytest.raises(RunError, match="keeps a view of its output 'out'"):
        fire_checked(fire, {}, {"out": np.zeros(3)})


def test_copies_garbage_and_the_dictionaries_themselves_are_no_views():
    kept = []

    def fire(inputs, outputs):
        outputs["out"][...] = inputs["in"]
        cycle = [inputs["in"]]
        cycle.append(cycle)
        kept.append((inputs["in"].copy(), inputs["in"] + 1, inputs, outputs, inputs["in"].shape))

    fire_checked(fire, {"in": np.ones(9)}, {"out": np.zeros(9)}, times=3)


def test_a_view_may_be_kept_from_control_to_fire_and_no_longer():
    kept = []
    checked = Checked("B", lambda inputs, outputs: kept.clear(), lambda inputs: kept.append(inputs["in"]) or 1)
    for _ in range(2):
        assert checked.control({"in": np.ones(3)}) == 1
        checked.fire({"in": np.ones(3)}, {})
    checked.control({"in": np.ones(3)})
    with pytest.raises(RunError, match="keeps a view of its input 'in'"):
        checked.control({"in": np.ones(3)})


def test_inputs_stay_read_only_and_the_end_passes():
    def writes(inputs, outputs):
        inputs["in"][...] = 1

    def ends(inputs, outputs):
        raise EndOfStream

    with pytest.raises(ValueError, match="read-only"):
        fire_checked(writes, {"in": np.zeros(3)}, {})
    with pytest.raises(EndOfStream):
        fire_checked(ends, {"in": np.zeros(3)}, {"out": np.zeros(3)})


def test_outputs_are_a_dictionary_that_only_refuses_other_values():
    room = np.zeros(2)
    outputs = Outputs({"a": room, "b": Rooms([room, room])})
    outputs["a"] += 1
    outputs["a"] = room
    outputs.update(a=room)
    outputs["b"][1] -= 1
    assert room.tolist() == [0, 0]
    for wrong in (
        lambda: outputs.__setitem__("a", 1),
        lambda: outputs.__setitem__("c", room),
        lambda: outputs.update({"a": room.copy()}),
        lambda: outputs.__ior__({"a": room.copy()}),
        lambda: outputs["b"].__setitem__(0, room.copy()),
        lambda: outputs["b"].__setitem__(slice(None), [room]),
        lambda: outputs["b"].append(room),
        lambda: outputs["b"].__iadd__([room]),
        lambda: outputs["b"].insert(0, room),
        lambda: outputs["b"].reverse(),
        lambda: outputs["b"].pop(),
        lambda: outputs.pop("a"),
        lambda: outputs.__delitem__("a"),
        lambda: outputs.setdefault("c", room),
        lambda: outputs.clear(),
    ):
        with pytest.raises(TypeError, match="value"):
            wrong()
    assert sorted(outputs) == ["a", "b"]
    assert [each is room for each in outputs["b"]] == [True, True]
