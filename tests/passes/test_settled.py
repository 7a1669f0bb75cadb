"""What a pass puts beside a slice on an accelerator moves to a unit that takes it."""

from __future__ import annotations

from eprune.analysis.check import check
from eprune.formats.system import read_system
from eprune.passes.base import settled
from tests.kit.programs import ROOT


def test_an_actor_that_an_accelerator_does_not_run_moves_to_the_first_unit_that_does(tmp_path):
    units = '<unit name="npu" delegate="/nowhere.so"/><unit name="cpu0"/><unit name="cpu1"/>'
    (tmp_path / "platform.xml").write_text(f'<platform name="endpoint">{units}</platform>')
    places = {**dict.fromkeys(("Input", "L1", "L2", "L3", "L4-L5"), "npu"), "Sink": "cpu1"}
    maps = "".join(f'<map actor="{actor}" unit="{unit}"/>' for actor, unit in places.items())
    (tmp_path / "mapping.xml").write_text(f'<mapping application="vehicle" platform="endpoint">{maps}</mapping>')
    files = ([str(tmp_path / "platform.xml")], [str(tmp_path / "mapping.xml")])
    system = read_system(str(ROOT / "graphs/vehicle.xml"), *files, check)
    assert [finding.rule for finding in check(system)] == ["M5"]
    made = settled(system)
    assert check(made) == []
    assert made.units == {name: ("endpoint", unit) for name, unit in {**places, "Input": "cpu0"}.items()}
    assert settled(made) is made
