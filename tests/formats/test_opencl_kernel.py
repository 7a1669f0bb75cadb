"""A kernel as a behaviour: its argument list is read without compiling it, and compared with the graph."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from eprune.analysis.check import check
from eprune.deploy.build import hashes_of
from eprune.formats.cl_source import ClSource, KernelArgument
from eprune.formats.system import read_system
from eprune.formats.xml.application import write_application
from tests.kit import changed

SCALE = """/* Each element times a factor, in groups. */
#include "sizes.h"
// __kernel void scale(__global char *nothing) is no kernel in a comment
__kernel void other(void) {}
__kernel __attribute__((reqd_work_group_size(4, 1, 1)))
void scale(__global const float *restrict in_0, __global const float *in_1,
           __global float *out,
           __global const float *table, const float factor,
           const uchar count, const int mode, __local float4 *shared) {
    out[get_global_id(0)] = factor * in_0[get_global_id(0)];
}
"""
APPLICATION = """<application name="cl">
  <actor name="In" class="tensor_source.py:TensorSource"><out name="out" token="float32[1,8]" rate="2"/></actor>
  <actor name="Scale" type="DA" opencl="scale.cl:scale" size="width,2" local="4,1">
    <param name="factor" value="0.5"/><param name="count" value="255"/><param name="table" value="table.npy"/>
    <param name="shared" value="4"/><param name="width" value="8"/>
    <in name="mode" token="int32" control="true"/>
    <in name="in" token="float32[1,8]" rate="2"/><out name="out" token="float32[1,8]"/>
  </actor>
  <actor name="Out" class="tensor_sink.py:TensorSink"><in name="in" token="float32[1,8]"/></actor>
  <fifo name="f1" from="In.out" to="Scale.in"/><fifo name="f2" from="Scale.out" to="Out.in"/>
</application>
"""


@pytest.fixture
def found(tmp_path, monkeypatch):
    """Reads the application with changes (old -> new), and gives what the analyzer finds, less that it has no DPG."""
    monkeypatch.chdir(tmp_path)

    def read(application=(), source=()):
        changed.write("app.xml", APPLICATION, application)
        changed.write("scale.cl", SCALE, source)
        Path("sizes.h").write_text("#define EIGHT 8\n")
        read.system = read_system("app.xml", (), (), check)
        Path("table.npy").write_bytes(b"any")
        wanted = [each for each in check(read.system) if each.rule in ("G2", "FILE") or "parameter" in each.message]
        return [f"{each}\n    {each.hint}" for each in wanted]

    return read


def test_a_kernel_is_sound_and_says_what_it_takes(found):
    assert found() == []
    interface = found.system.interfaces["Scale"]
    assert interface.parameters == dict.fromkeys(["table", "factor", "count", "shared", "width"], True)
    assert interface.paths == {"table": "part"}
    actor = found.system.graph.actors[1]
    assert actor.behaviour.declare(actor, interface).option("arguments") == (
        ("in", "in", 0),
        ("in", "in", 1),
        ("out", "out", 0),
        ("file", "table", "float32"),
        ("value", "factor", "float32"),
        ("value", "count", "uint8"),
        ("mode", "mode", "int32"),
        ("local", "shared", 16),
    )
    assert {each.path: each.access.value for each in found.system.touched if each.by == "Scale"} == {
        "scale.cl": "run",
        "sizes.h": "run",
    }


@pytest.mark.parametrize(
    ("application", "source", "finding"),
    [
        ([("scale.cl:scale", "scale.cl:scala")], [], r"has no kernel 'scala'.*\n.*did you mean 'scale'"),
        ([("scale.cl:scale", "scabe.cl:scale")], [], r"error\[FILE\]: .*'scabe\.cl' is not usable: No such file"),
        ([], [("float *out", "float *outt")], r"scale\.cl:7: error\[G2\]: .*neither a port nor a parameter 'outt', an"),
        ([], [("float *out", "float *outt")], r"app\.xml:7: error\[G2\]: .*the kernel scale has no argument 'out' for"),
        ([], [("*in_1,", "*in_2,")], r"scale\.cl:6: error\[G2\]: .*neither a port nor a parameter 'in_2'"),
        ([], [("shared)", "shade)")], r"scale\.cl:9: error\[G2\]: .*has no parameter 'shade'.*\n.*mean 'shared'"),
        (
            [],
            [("__global float *out", "__global const float *out")],
            r"scale\.cl:7: .*'out' .* must be a pointer to __",
        ),
        ([], [("const float *restrict", "float *restrict")], r"scale\.cl:6: .*'in_0' .* must be a pointer to const"),
        ([], [("__global float *out", "float out")], r"scale\.cl:7: error\[G2\]: argument 'out' .* must be a pointer"),
        ([], [("__global float *out", "__global int *out")], r"scale\.cl:7: .*must be a pointer to float32, of which"),
        ([], [("const int mode", "const uint mode")], r"scale\.cl:9: .*'mode' .* must be an int: the value of the"),
        ([], [("const float *table", "float *table")], r"scale\.cl:8: .*'table' .* must be constant: a parameter is a"),
        (
            [],
            [("float *out", "size_t *out")],
            r"scale\.cl:7: error\[FILE\]: argument '__global size_t \*out' of the kernel scale is of a type",
        ),
        ([], [("uchar count", "float4 count")], r"scale\.cl:9: error\[FILE\]: argument 'const float4 count' of"),
        ([], [("float *out", "float **out")], r"scale\.cl:7: error\[FILE\]: argument '__global float \*\*out' of"),
        (
            [],
            [("__kernel void other(void) {}", "#if A\nkernel void scale(int a) {}\n#endif")],
            r"scale\.cl:8: error\[FILE\]: the kernel scale is there once more, with other arguments than in line 5",
        ),
        ([], [("sizes.h", "size.h")], r"error\[FILE\]: .*includes 'size\.h', which is not there"),
        ([], [('"sizes.h"', "<math.h>")], r"error\[FILE\]: .*'scale\.cl' includes <math\.h>"),
        ([], [('"sizes.h"', '"../sizes.h"')], r"error\[FILE\]: .*'scale\.cl' includes \"\.\./sizes\.h\""),
        ([('"0.5"', '"half"')], [], r"app\.xml:3: error\[G2\]: actor 'Scale': factor='half' is not a number$"),
        ([('"255"', '"256"')], [], r"count='256' is not a number from 0 to 255"),
        ([('"255"', '"2.5"')], [], r"count='2\.5' is not a whole number"),
        ([('"4"/>', '"0"/>')], [], r"shared='0' is not a number from 1"),
        (
            [('value="8"', 'value="eight"')],
            [],
            r"error\[G2\]: actor 'Scale': size: width='eight' is not a whole number",
        ),
        ([("width,2", "high,2")], [], r"error\[G1\]: actor 'Scale': size: there is no parameter 'high'"),
        ([("width,2", "width,0")], [], r"error\[G2\]: actor 'Scale': size: 0 is not a number from 1"),
        ([("4,1", "3,1")], [], r"error\[G2\]: .*work-groups of 3 x 1 do not divide the work size 8 x 2"),
        ([("4,1", "4")], [], r"error\[G2\]: .*work-groups of 4 do not divide the work size 8 x 2"),
        ([(' size="width,2" local="4,1"', ' local="3"')], [], r"work-groups of 3 do not divide the work size 8"),
        ([('name="width"', 'name="wide"'), ("width,2", "8,2")], [], r"error\[G1\].*takes no parameter 'wide'"),
        ([('<in name="mode" token="int32"', '<out name="mode" token="int32"')], [], r"OpenCL cannot choose for others"),
        ([('<out name="out" token="float32[1,8]"/>', '<out name="out" token="uint8[&lt;=8]"/>')], [], r"variable size"),
    ],
)
def test_what_is_wrong_is_found_without_a_device(found, application, source, finding):
    findings = found(application, source)
    assert any(re.search(finding, each, re.M) for each in findings), findings


def test_all_that_is_wrong_with_the_arguments_is_said_at_once(found):
    findings = found([], [("*in_1", "*in_3"), ("const uchar count", "const uchar coumt")])
    assert len([each for each in findings if "error[G2]" in each]) == 3


@pytest.mark.parametrize("change", [("sizes.h", ""), ("scale.cl", "\n")])
def test_the_digest_follows_contents_and_work_sizes(found, change):
    def fingerprint():
        return found.system.graph.actors[1].behaviour.identity(hashes_of(found.system))

    found()
    before = fingerprint()
    name, text = change
    Path(name).write_text((SCALE if name == "scale.cl" else "") + text)
    assert fingerprint() != before
    found([("4,1", "2,1")])
    assert fingerprint() != before


def test_it_is_written_as_it_was_read(found):
    found()
    behaviour = found.system.graph.actors[1].behaviour
    assert behaviour.attributes() == {"opencl": "scale.cl:scale", "size": "width,2", "local": "4,1"}
    text = write_application(found.system.graph)
    assert 'opencl="scale.cl:scale" size="width,2" local="4,1"' in text


def test_without_a_size_it_is_that_of_the_first_output(found):
    found([(' size="width,2" local="4,1"', ""), ('<param name="width" value="8"/>', "")])
    actor = found.system.graph.actors[1]
    assert actor.behaviour.declare(actor, found.system.interfaces["Scale"]).option("size") == (8,)


@pytest.mark.parametrize(
    ("text", "argument"),
    [
        ("__global const float4 *x", KernelArgument("x", 1, "float32", 4, "global", True)),
        ("const global\nunsigned short x[]", KernelArgument("x", 1, "uint16", 1, "global", True)),
        ("__constant double *restrict x", KernelArgument("x", 1, "float64", 1, "constant", True)),
        ("global half *const x", KernelArgument("x", 1, "float16", 1, "global", False)),
        ("local unsigned *x", KernelArgument("x", 1, "uint32", 1, "local", False)),
        ("const unsigned long x", KernelArgument("x", 1, "uint64", 1, "", True)),
        ("signed char x", KernelArgument("x", 1, "int8", 1, "", False)),
    ],
)
def test_arguments_are_read(tmp_path, text, argument):
    path = tmp_path / "f.cl"
    path.write_text(f"kernel void f({text}, /* a, b */ int y) {{}}")
    first, second = ClSource(str(path)).arguments("f")
    assert (first, second.name) == (argument, "y")


@pytest.mark.parametrize(
    ("dtype", "width", "token", "fits"),
    [
        ("float32", 1, "float32", True),
        ("float32", 4, "float32", True),
        ("float32", 2, "complex64", True),
        ("float32", 1, "complex64", False),
        ("float64", 4, "complex128", True),
        ("uint8", 1, "bool", True),
        ("int8", 1, "uint8", False),
    ],
)
def test_which_tokens_a_pointer_reads(dtype, width, token, fits):
    assert KernelArgument("x", 1, dtype, width, "global").holds(token) is fits


def test_the_kernels_of_a_file_and_its_words(tmp_path):
    path = tmp_path / "scale.cl"
    path.write_text(SCALE)
    source = ClSource(str(path))
    assert source.kernels == ["other", "scale"]
    assert [source.line(each) for each in source.kernels] == [4, 6]
    assert source.arguments("other") == []
    assert source.doc == "Each element times a factor, in groups."
    assert source.includes == ("sizes.h",)
