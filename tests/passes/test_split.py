"""The pass that puts an application on several platforms."""

from __future__ import annotations

import pytest

from eprune.analysis.check import check
from eprune.formats.system import read_system
from eprune.passes import split
from tests.kit.programs import ROOT


@pytest.fixture
def vehicle():
    return read_system(str(ROOT / "graphs/vehicle.xml"))


def test_each_platform_gets_its_actors_and_links_to_the_others(vehicle):
    result = split.apply(vehicle, split.Options(("pi", "edge=10.0.0.2", "cloud"), ("Input", "L2")))
    homes = {"Input": "pi", "L1": "edge", "L2": "edge", "L3": "cloud", "L4-L5": "cloud", "Sink": "cloud"}
    assert result.system.homes == homes
    links = {(each.name, link.to): link for each in result.system.platforms for link in each.links}
    assert {pair: link.address for pair, link in links.items()} == {
        ("pi", "edge"): "10.0.0.2",
        ("pi", "cloud"): "127.0.0.1",
        ("edge", "pi"): "127.0.0.1",
        ("edge", "cloud"): "127.0.0.1",
        ("cloud", "pi"): "127.0.0.1",
        ("cloud", "edge"): "10.0.0.2",
    }
    assert all(links[a, b].port == links[b, a].port for a, b in links), "both ends state the same"
    assert not [each for each in check(result.system) if each.severity.value == "error"]
    assert result.report.lines[1] == "edge: L1, L2"


def test_one_platform(vehicle):
    result = split.apply(vehicle, split.Options(("pi",), ()))
    assert set(result.system.homes.values()) == {"pi"}
    assert not result.system.platforms[0].links


@pytest.mark.parametrize(
    ("over", "after", "message"),
    [
        (("a", "b"), (), "2 platforms take 1 cuts, not 0"),
        (("a", "a"), ("L1",), "need different names: a, a"),
        (("a b", "c"), ("L1",), "'a b' cannot be the name of a platform"),
        (("a", "b"), ("L9",), "there is no actor 'L9'"),
        (("a", "b"), ("Sink",), "does not leave any to one"),
        (("a", "b", "c"), ("L2", "L1"), "does not leave any to one"),
        (("a", "b", "c"), ("L2", "L2"), "does not leave any to one"),
    ],
)
def test_what_cannot_be(vehicle, over, after, message):
    with pytest.raises(ValueError, match=message):
        split.apply(vehicle, split.Options(over, after))
