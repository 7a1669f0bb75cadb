"""Cache, exits, offloading and coded cuts around each other: one application, in whatever order it was made."""

from __future__ import annotations

from itertools import permutations

import pytest

from eprune import face
from eprune.analysis.check import check
from eprune.passes import cache, exits, offload
from eprune.passes._places import places
from eprune.passes.compress import Coding
from tests.kit import composed
from tests.kit.composed import Makes, Reference
from tests.kit.programs import ROOT

#: The passes from the outside in, and from the inside out: what comes out is the same.
INWARD = ("cache", "exits", "compress", "offload")
OUTWARD = ("compress", "offload", "exits", "cache")
ALL = [
    pytest.param(
        order, marks=() if order in (INWARD, OUTWARD) or len(order) == 2 else pytest.mark.long, id=" ".join(order)
    )
    for count in (2, 3, 4)
    for order in permutations(composed.PASSES, count)
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return composed.base(tmp_path_factory.mktemp("network"))


@pytest.fixture(scope="module")
def makes(whole):
    return Makes(whole)


def made(makes, passes, folder):
    system = makes.whole
    for each in passes:
        system = getattr(makes, each)(system)
        assert [str(finding) for finding in check(system)] == [], (each, passes)
    return composed.stored(system, folder)


def same(found, wanted):
    return [one.tobytes() for one in found] == [other.tobytes() for other in wanted]


@pytest.mark.parametrize("passes", ALL)
def test_each_order_answers_bit_by_bit_as_plain_python_does(makes, passes, tmp_path):
    reference = Reference(makes, passes)
    wanted = [reference(frame) for frame in composed.frames()]
    found, chosen = composed.answers(made(makes, passes, tmp_path / "app"), tmp_path / "answers", len(wanted))
    assert same(found, wanted)
    rows = [row == cache.KNOWN.index(1) for row in chosen.get("Cache", [])]
    assert rows == reference.hits
    assert [row == exits.EARLY.index(1) for row in chosen.get("Exit", [])] == reference.early
    if "cache" in passes:
        assert 0 < sum(reference.hits) < len(wanted)
    if "exits" in passes:
        assert 0 < sum(reference.early) < len(reference.early)


def test_cuts_that_offloading_codes_itself_are_right_within_an_exit_and_a_cache(makes, tmp_path):
    codings = {number: offload.Coded(Coding("lossless"), 100.0) for number in (1, 2, 3)}
    options = offload.Options("device", ("server",), behind=makes.names[composed.EXIT], codings=codings)
    system = makes.cache(makes.exits(offload.apply(makes.whole, options).system))
    assert [str(finding) for finding in check(system)] == []
    system = composed.stored(system, tmp_path / "app")
    reference = Reference(makes, ("exits", "cache"))
    wanted = [reference(frame) for frame in composed.frames()]
    for cut in (1, 3):
        fixed = composed.setting(system, "Decide", fixed=str(cut))
        assert same(composed.answers(fixed, tmp_path / "answers", len(wanted))[0], wanted)


def test_audits_of_an_exit_within_a_cache_are_answered_in_full(whole, tmp_path):
    makes = Makes(whole, audit=0.5)
    for passes in (("exits", "cache"), ("cache", "exits")):
        reference = Reference(makes, passes)
        wanted = [reference(frame) for frame in composed.frames()]
        system = made(makes, passes, tmp_path / passes[0])
        found, chosen = composed.answers(system, tmp_path / f"{passes[0]}-answers", len(wanted))
        assert same(found, wanted)
        assert 0 < chosen["Exit"].count(exits.EARLY.index(1)) == sum(reference.early)
        assert chosen["Exit"].count(2) > 0


def test_each_of_the_four_changes_answers(makes):
    """Else the test above would compare nothing: the cache, the exit and rounding all do."""
    plain, *others = (
        [Reference(makes, passes)(frame) for frame in composed.frames()]
        if "cache" not in passes
        else list(map(Reference(makes, passes), composed.frames()))
        for passes in ((), ("cache",), ("exits",), ("compress",))
    )
    for other in others:
        assert not same(other, plain)


def test_wherever_a_frame_is_cut_the_answers_are_the_same(makes, tmp_path):
    reference = Reference(makes, OUTWARD)
    wanted = [reference(frame) for frame in composed.frames()]
    system = made(makes, OUTWARD, tmp_path / "app")
    for cut in range(6):
        fixed = composed.setting(system, "Decide", fixed=str(cut))
        assert same(composed.answers(fixed, tmp_path / "answers", len(wanted))[0], wanted), cut


@pytest.mark.parametrize(
    ("passes", "cut"),
    [
        (OUTWARD, 2),
        *(pytest.param(passes, cut, marks=pytest.mark.long) for passes in (INWARD, OUTWARD) for cut in (0, 1, 4)),
        pytest.param(("offload", "compress", "exits", "cache"), 0, marks=pytest.mark.long),
    ],
)
def test_over_two_platforms_too_and_what_hits_or_leaves_sends_nothing(makes, passes, cut, tmp_path):
    reference = Reference(makes, passes)
    wanted = [reference(frame) for frame in composed.frames()]
    system = composed.setting(made(makes, passes, tmp_path / "app"), "Decide", fixed=str(cut))
    sink = composed.end(system, "outputs")
    found = face.run(system, settings={f"{sink}.path": str(tmp_path / "answers")})
    assert same(composed.written(tmp_path / "answers"), wanted)
    # Of a frame that is sent comes back its answer, five floats behind 8 bytes; of others nothing at all.
    assert found.links["server", "device"].bytes == 28 * reference.early.count(False)


def test_what_cannot_be_around_each_other_is_refused_in_one_sentence(makes):
    whole = offload.apply(makes.whole, offload.Options("device", ("server",))).system
    assert places(whole.graph) == []
    for each in ("cache", "exits"):
        with pytest.raises(ValueError, match="no place"):
            getattr(makes, each)(whole)
    retrying = offload.Options("device", ("server",), behind=makes.names[composed.EXIT], retry="1s")
    assert places(offload.apply(makes.whole, retrying).system.graph) == []
    left = makes.exits(makes.whole)
    for options in ({"retry": "1s"}, {"made": ("an exit",)}):
        with pytest.raises(ValueError, match="is in a branch of 'Exits'"):
            offload.apply(left, offload.Options("device", ("server",), **options))
    skipping = face.load(
        str(ROOT / "graphs/vehicle_skipping.xml"), [str(ROOT / f"graphs/{name}.xml") for name in ("endpoint", "server")]
    )
    with pytest.raises(ValueError, match=r"within the network.*--behind"):
        offload.apply(skipping, offload.Options("endpoint", ("server",), behind=skipping.graph.actors[1].name))
