"""A C file as a behaviour: what it says of itself is read without compiling it, and compared with the graph."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from eprune.analysis.check import check
from eprune.deploy.build import hashes_of
from eprune.formats.c_source import CSource
from eprune.formats.system import read_system
from eprune.formats.xml.application import write_application
from tests.kit import changed

RELU = """/* ReLU of each element. */
#include "eprune_actor.h"
#include "sizes.h"
/* EPRUNE_INPUT(relu, "in", "int8[9]"); is no statement in a comment,
   and no string is a comment: */
static const char *text = "/* relu_fire( */";
EPRUNE_INPUT(relu, "in", "float32[1,8]");
EPRUNE_PARAMETER(relu, "limit", "6");
EPRUNE_PARAMETER(other, "depth", "6");
void *relu_new(const eprune_context *context, char *error, size_t size) { return context; }
int relu_fire(void *self, const void *const *in, void *const *out) { return EPRUNE_OK; }
void relu_free(void *self) {}
"""
APPLICATION = """<application name="c">
  <actor name="In" class="tensor_source.py:TensorSource"><out name="out" token="float32[1,8]"/></actor>
  <actor name="Relu" c="relu.c:relu">
    <in name="in" token="float32[1,8]"/><out name="out" token="float32[1,8]"/>
  </actor>
  <actor name="Out" class="tensor_sink.py:TensorSink"><in name="in" token="float32[1,8]"/></actor>
  <fifo name="f1" from="In.out" to="Relu.in"/><fifo name="f2" from="Relu.out" to="Out.in"/>
</application>
"""


@pytest.fixture
def found(tmp_path, monkeypatch):
    """Reads the application with changes (old -> new), and gives what the analyzer finds."""
    monkeypatch.chdir(tmp_path)

    def read(application=(), source=()):
        changed.write("app.xml", APPLICATION, application)
        changed.write("relu.c", RELU, source)
        Path("sizes.h").write_text("#define EIGHT 8\n")
        read.system = read_system("app.xml", (), (), check)
        return [str(each) for each in check(read.system)]

    return read


def test_an_actor_in_c_is_sound_and_says_what_it_takes(found):
    assert found() == []
    interface = found.system.interfaces["Relu"]
    assert str(interface.inputs["in"]) == "float32[1,8]"
    assert interface.parameters == {"limit": False}
    assert {each.path: each.access.value for each in found.system.touched if each.by == "Relu"} == {
        "relu.c": "run",
        "sizes.h": "run",
    }


@pytest.mark.parametrize(
    ("application", "source", "finding"),
    [
        ([], [('"float32[1,8]"', '"float32[1,9]"')], r"error\[G2\].*float32\[1,9\]"),
        ([], [('"float32[1,8]"', '"float[1,9]"')], r"relu\.c:7: error\[G2\]: port 'in': "),
        ([], [("relu_free", "relu_fre")], r"app\.xml:3: error\[FILE\]: .*'relu\.c' has no function relu_free"),
        ([("relu.c:relu", "relu.c:rellu")], [], r"error\[FILE\]: .*has no function rellu_new.*"),
        ([("relu.c:relu", "rely.c:relu")], [], r"error\[FILE\]: .*'rely\.c' is not usable: No such file"),
        ([("relu.c:relu", "relu.so:relu")], [], r"error\[FILE\]: .*'relu\.so' is not there"),
        ([("relu.c:relu", "relu.{machine}.so:relu")], [], r"error\[FILE\]: .*is not there"),
        ([('c="relu.c:relu">', 'c="relu.c:relu"><param name="limt" value="1"/>')], [], r"error\[G1\].*limt"),
        ([], [("sizes.h", "../sizes.h")], r"error\[FILE\]: .*'relu\.c' includes \"\.\./sizes\.h\""),
        ([], [('"sizes.h"', "</etc/passwd>")], r"error\[FILE\]: .*'relu\.c' includes </etc/passwd>"),
        ([], [('"sizes.h"', "NAME")], r"error\[FILE\]: .*'relu\.c' includes NAME"),
        ([], [("sizes.h", "size.h")], r"error\[FILE\]: .*includes 'size\.h', which is not there"),
        ([], [('"limit", "6"', '"limit"')], r"EPRUNE_PARAMETER has other arguments than NAME, \"parameter\""),
        (
            [('<in name="in" token="float32[1,8]"/><out', '<in name="in" token="uint8[&lt;=8]"/><out')],
            [],
            r"error\[G2\]: actor 'Relu': port 'in' has tokens of variable size",
        ),
    ],
)
def test_what_is_wrong_is_found_without_a_compiler(found, application, source, finding):
    findings = found(application, source)
    assert any(re.search(finding, each) for each in findings), findings


def test_the_digest_follows_the_contents_of_what_is_included(found):
    def fingerprint():
        return found.system.graph.actors[1].behaviour.identity(hashes_of(found.system))

    found()
    before = fingerprint()
    Path("sizes.h").write_text("#define EIGHT 9\n")
    assert fingerprint() != before


def test_it_is_written_as_it_was_read(found):
    found()
    assert 'c="relu.c:relu"' in write_application(found.system.graph)
    assert found.system.graph.actors[1].behaviour.attributes() == {"c": "relu.c:relu"}


def test_the_actors_of_a_file_and_its_words(tmp_path):
    path = tmp_path / "relu.c"
    path.write_text(RELU)
    source = CSource(str(path))
    assert source.actors == ["relu"]
    assert source.doc == "ReLU of each element."
    assert source.includes == ("sizes.h",)


def test_the_ready_made_ones_are_found_beside_the_python_ones(found):
    findings = found([("relu.c:relu", "resize.c:resize")], [])
    assert findings == []
