"""Rule M5: what runs on a unit is what its engine, its delegate or its OpenCL device can run."""

from __future__ import annotations

import pytest

from eprune.analysis.check import check
from eprune.formats.system import read_system

APPLICATION = """<application name="scaled">
  <actor name="In" class="tensor_source.py:TensorSource"><out name="out" token="float32[4]"/></actor>
  <actor name="Scale" opencl="scale.cl:scale">
    <in name="in" token="float32[4]"/><out name="out" token="float32[4]"/>
  </actor>
  <actor name="Out" class="tensor_sink.py:TensorSink"><in name="in" token="float32[4]"/></actor>
  <fifo name="f1" from="In.out" to="Scale.in"/><fifo name="f2" from="Scale.out" to="Out.in"/>
</application>
"""
KERNEL = "__kernel void scale(__global const float *in, __global float *out) {}"
PLATFORM = """<platform name="p">
  <unit name="cpu"/>
  <unit name="gpu" {}/>
</platform>
"""


@pytest.fixture
def found(tmp_path, monkeypatch):
    """The findings for a unit ``gpu`` with these attributes, and actors on these units."""
    monkeypatch.chdir(tmp_path)

    def find(attributes='opencl="0:0"', units=("cpu", "gpu", "cpu")):
        (tmp_path / "app.xml").write_text(APPLICATION)
        (tmp_path / "scale.cl").write_text(KERNEL)
        (tmp_path / "p.xml").write_text(PLATFORM.format(attributes))
        places = "".join(f'\n<map actor="{name}" unit="{unit}"/>' for name, unit in zip(("In", "Scale", "Out"), units))
        (tmp_path / "m.xml").write_text(f'<mapping application="scaled" platform="p">{places}</mapping>')
        return [f"{each} ({each.hint})" for each in check(read_system("app.xml", ["p.xml"], ["m.xml"]))]

    return find


def test_actors_in_opencl_are_on_a_unit_with_a_device(found):
    assert found() == []
    assert found(units=("cpu", "cpu", "cpu")) == [
        "m.xml:3: error[M5]: actor 'Scale' cannot run on unit 'cpu': it has no OpenCL device (write unit=\"gpu\")"
    ]
    (finding,) = found(attributes='core="1"')
    assert "'Scale' cannot run on unit 'gpu': it has no OpenCL device (add a unit that takes it" in finding


def test_nothing_else_is_on_one(found):
    assert found(units=("gpu", "gpu", "cpu")) == [
        "m.xml:2: error[M5]: actor 'In' cannot run on unit 'gpu': "
        'an OpenCL device runs actors in OpenCL only (write unit="cpu")'
    ]


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ('delegate="libx.so"', "has a delegate, for slices of models, but its OpenCL device runs kernels only"),
        ('engine="openvino"', "has an engine, for slices of models, but"),
        ('threads="2"', "has threads, for slices of models, but"),
        ('options="memory=fast"', "an OpenCL device is not told memory=fast (its options are memory=shared, mapped"),
        ('options="cache=1"', "an OpenCL device is not told cache=1"),
    ],
)
def test_a_device_stands_alone_and_knows_its_options(found, attributes, message):
    (finding,) = found(f'opencl="0:0" {attributes}')
    assert finding.startswith("p.xml:3: error[M5]: platform 'p': unit 'gpu'") and message in finding


def test_its_options_are_taken(found):
    assert found('opencl="NVIDIA:0" options="memory=copied build=-DN=4"') == []


def test_other_units_are_judged_as_before(found):
    where = ("cpu", "gpu", "cpu")
    assert any("has options, but no delegate that takes them" in each for each in found('options="a=1"', where))
    both = found('delegate="libx.so" engine="openvino"', where)
    assert any("has a delegate, which is TFLite's, but the engine openvino" in each for each in both)
