"""A device with early exits and a server; a device, an edge and a cloud: the same answers wherever frames are cut."""

from __future__ import annotations

import shutil
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eprune import face
from eprune.analysis.check import check
from eprune.codegen.lower import lower
from eprune.explore.space import mapping
from eprune.formats.system import write_system
from eprune.measure.executor import Executor
from eprune.measure.plans.offload import planned
from eprune.measure.stated import stated
from eprune.model.graph import Graph
from eprune.model.platform import Link, Platform, Unit
from eprune.model.system import System
from eprune.passes import compress, fuse, import_, offload, relocate
from eprune.passes._places import places
from eprune.passes.compress import Coding
from tests.kit import tiny_models
from tests.kit.exits import exit_behind
from tests.kit.programs import ROOT

FRAMES = 5
PORTS = {("device", "edge"): 5300, ("edge", "cloud"): 5310, ("device", "cloud"): 5320}


def platforms():
    """A device, an edge and a cloud, each joined to the others."""
    names = ("device", "edge", "cloud")
    for name in names:
        links = tuple(
            Link(other, "127.0.0.1", PORTS.get((name, other)) or PORTS[other, name]) for other in names if other != name
        )
        yield Platform(name, (Unit("cpu"),), links)


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """Two convolutions and what follows, six slices, and random frames."""
    folder = tmp_path_factory.mktemp("network")
    (folder / "net.tflite").write_bytes(tiny_models.two_convolutions())
    np.save(folder / "frames.npy", np.random.default_rng(3).normal(size=(FRAMES, 8, 8, 3)).astype(np.float32))
    found = stated(str(folder / "net.tflite"))
    made = import_.apply(System(Graph("net")), import_.Options(found.model, found.types, "operator", file=found.file))
    written = write_system(relocate.apply(made.system, relocate.Options(str(folder))).system, str(folder))
    system = replace(face.load(written.application, allow_outside=True), platforms=tuple(platforms()))
    source = next(actor.name for actor in system.graph.actors if not actor.inputs)
    system = setting(system, source, path=str(folder / "frames.npy"))
    homes = dict.fromkeys((each.name for each in system.graph.actors), "device")
    return replace(system, mappings=tuple(mapping(system.graph, each, homes) for each in system.platforms[:1]))


def setting(system, name, **parameters):
    """The system with these parameters of an actor."""
    actors = tuple(
        replace(each, parameters=tuple({**dict(each.parameters), **parameters}.items())) if each.name == name else each
        for each in system.graph.actors
    )
    return replace(system, graph=replace(system.graph, actors=actors))


def sink_of(system):
    return next(actor.name for actor in system.graph.actors if not actor.outputs)


def tensors(folder):
    """What a sink has written, as bytes of each frame."""
    (file,) = folder.glob("*.npy")
    return [each.tobytes() for each in np.load(file)]


def answers(system, path):
    """The answers that come out if all actors run one after the other in this process."""
    platform = Platform("near", (Unit("cpu"),))
    homes = dict.fromkeys((each.name for each in system.graph.actors), "near")
    placed = replace(system, platforms=(platform,), mappings=(mapping(system.graph, platform, homes),))
    (program,) = lower(fuse.apply(setting(placed, sink_of(system), path=str(path))).system)
    with Executor(program) as executor:
        assert len(list(executor.run(FRAMES))) == FRAMES
    return tensors(path)


@pytest.fixture(scope="module")
def whole(network, tmp_path_factory):
    return answers(network, tmp_path_factory.mktemp("whole") / "answers")


@pytest.fixture(scope="module")
def heads(network):
    """Each actor behind which there can be an exit -> one at which none leaves."""
    return {
        place.fifo.source.actor: exit_behind(network, place.fifo.source.actor, 2.0) for place in places(network.graph)
    }


def applied(system, folder, **options):
    """What the pass makes, written and read again; it breaks no rule, and nothing is to be said of it."""
    given = {"server": ("cloud",), **options}
    result = offload.apply(system, offload.Options("device", **given))
    written = write_system(relocate.apply(result.system, relocate.Options(str(folder))).system, str(folder))
    made = face.load(written.application, written.platforms, written.mappings, allow_outside=True)
    assert [str(finding) for finding in check(made)] == []
    return made, result.report.figures["blocks"]


def test_with_exits_too_answers_are_the_same_wherever_a_frame_is_cut(network, whole, tmp_path):
    names = [place.fifo.source.actor for place in places(network.graph)]
    assert len(names) >= 4
    for at in (names[:1], names[-1:], [names[0], names[2]], names):
        exits = tuple(exit_behind(network, name, 2.0) for name in at)
        system, blocks = applied(network, tmp_path / "-".join(at), made=exits)
        assert len(system.graph.dpgs) == len(at) + 3
        for cut in range(len(blocks) + 1):
            assert answers(setting(system, "Decide", fixed=str(cut)), tmp_path / "answers") == whole, (at, cut)


def test_a_frame_that_an_exit_is_sure_of_gets_its_answer_and_no_other_does(network, whole, tmp_path):
    first, second = (place.fifo.source.actor for place in places(network.graph)[:2])
    heads = exit_behind(network, first, 0.0), exit_behind(network, second, 2.0)
    both, blocks = applied(network, tmp_path / "both", made=heads, frames=1)
    both = setting(both, "Decide", fixed=str(len(blocks) - 1))
    early = answers(both, tmp_path / "early")
    assert not set(early) & set(whole)
    # Each frame leaves where its head is sure, by the largest score.
    sure = sorted(float(np.frombuffer(each, np.float32).max()) for each in early)
    log = tmp_path / "log.csv"
    some = setting(both, "Exit1", threshold=str((sure[1] + sure[2]) / 2))
    some = setting(some, "Decide", log=str(log))
    found = answers(some, tmp_path / "some")
    left = [one == other for one, other in zip(found, early)]
    assert sum(left) == FRAMES - 2
    assert [one for one, gone in zip(found, left) if not gone] == [one for one, gone in zip(whole, left) if not gone]
    # What is under way at the end is not in the log.
    rows = [row.split(",") for row in log.read_text().splitlines()[1:]]
    assert [row[3] == "1" for row in rows] == left[: len(rows)]
    assert [row[1] for row in rows] == ["1" if gone else str(len(blocks) - 1) for gone in left[: len(rows)]]


def test_three_platforms_give_the_same_answers_at_every_pair_of_cuts(network, whole, tmp_path):
    system, blocks = applied(network, tmp_path / "three", server=("edge", "cloud"))
    exits = (exit_behind(network, blocks[1][-1], 2.0),)
    nested, _ = applied(network, tmp_path / "nested", server=("edge", "cloud"), made=exits)
    count = len(blocks)
    # The edge cannot cut before the block at which a frame comes in: it sends it on at once.
    pairs = [(0, 0), (2, 1), (count, count), *combinations(range(count + 1), 2)]
    for one, other in pairs:
        for made in (system, nested):
            chosen = setting(setting(made, "Decide", fixed=str(one)), "Decide-edge", fixed=str(other))
            assert answers(chosen, tmp_path / "answers") == whole, (one, other)


PLACES = st.sets(st.integers(0, 4))


@given(
    cuts=PLACES, exits=PLACES, coded=PLACES, three=st.booleans(), frames=st.integers(1, 5),
    retry=st.sampled_from(["", "1s"]),
)  # fmt: skip
@settings(max_examples=25, deadline=None)
def test_whatever_is_cut_and_left_is_sound(network, heads, cuts, exits, coded, three, frames, retry):
    """Any blocks, with exits behind any of them: no rule is broken, and a server is inside of who sends to it."""
    names = list(heads)
    at = [names[place] for place in sorted(exits) if place < len(names)]
    chosen = tuple(names[place] for place in sorted(cuts | exits) if place < len(names))
    server = ("edge", "cloud") if three else ("cloud",)
    options = offload.Options(
        *("device", server),
        cut=chosen,
        frames=frames,
        made=tuple(heads[name] for name in at),
        retry=retry,
        again=offload.Again.EXIT if retry and at else offload.Again.WHOLE,
    )
    blocks = offload.apply(network, options).report.figures["blocks"]
    exact = codings_of(network, blocks, "lossless")
    options = replace(options, codings={number: exact[number] for number in coded if number in exact})
    used = tuple(platform for platform in network.platforms if platform.name in ("device", *server))
    made = offload.apply(replace(network, platforms=used), options).system
    assert [str(finding) for finding in check(made)] == []
    assert {dpg.name for dpg in made.graph.dpgs if dpg.inside} >= {"Rest"}


@pytest.mark.parametrize(
    ("server", "cuts", "sent"),
    [
        (("cloud",), (6,), set()),
        (("cloud",), (2,), {("device", "cloud")}),
        (("edge", "cloud"), (1, 3), {("device", "edge"), ("edge", "cloud")}),
    ],
)
def test_platforms_run_and_what_is_idle_sends_nothing(network, whole, tmp_path, server, cuts, sent):
    exits = (exit_behind(network, places(network.graph)[0].fifo.source.actor, 2.0),)
    system, _ = applied(network, tmp_path / "made", server=server, made=exits)
    given_ = {"Decide.fixed": cuts[0], f"{sink_of(system)}.path": str(tmp_path / "answers")}
    if len(cuts) > 1:
        given_["Decide-edge.fixed"] = cuts[1]
    run = face.run(system, frames=FRAMES, settings=given_)
    assert tensors(tmp_path / "answers") == whole
    forward = {pair: link.bytes_per_frame for pair, link in run.links.items() if pair in PORTS}
    assert {pair for pair, nbytes in forward.items() if nbytes} == sent


def test_what_would_be_late_takes_the_last_exit_in_time(network, tmp_path):
    first, second = (place.fifo.source.actor for place in places(network.graph)[:2])
    heads = exit_behind(network, first, 2.0), exit_behind(network, second, 2.0)
    made, blocks = applied(network, tmp_path / "made", made=heads, frames=1)
    here = ",".join(["0.01"] * len(blocks))
    for within, wanted in (("0.015", "1"), ("0.025", "2"), ("10", "0")):
        log = tmp_path / "log.csv"
        # As is stated, a frame is at the exits after 10 and 20 ms; to go on takes longer than 25 ms in any case.
        answers(setting(made, "Decide", here=here, rest="9,9,9,9,9,9", within=within, log=str(log)), tmp_path / within)
        rows = [row.split(",") for row in log.read_text().splitlines()[1:]]
        assert rows[0][3] == wanted, within


def test_a_decider_that_raises_leaves_all_frames_to_the_device(network, whole, tmp_path):
    applied(network, tmp_path / "made")
    for name in ("offload_decider.py", "offload_costs.py", "offload_log.py", "checks.py"):
        shutil.copy(ROOT / "actors" / name, tmp_path / "made")
    text = "from offload_decider import OffloadDecider\n\n\nclass Frail(OffloadDecider):\n    def decide(self):\n"
    (tmp_path / "made/frail.py").write_text(text + "        return 1 // 0\n")
    application = tmp_path / "made/application.xml"
    application.write_text(application.read_text().replace("offload_decider.py:OffloadDecider", "frail.py:Frail"))
    frail = face.load(str(application), str(tmp_path / "made/platforms"), str(tmp_path / "made/mappings"), True)
    given_ = {"Decide.probe": 0, f"{sink_of(frail)}.path": str(tmp_path / "answers")}
    run = face.run(frail, frames=FRAMES, settings=given_)
    assert tensors(tmp_path / "answers") == whole
    assert run.links["device", "cloud"].bytes_per_frame == 0
    assert len([note for note in run.notes if "deciding failed: ZeroDivisionError" in note]) == 1


DEAF = """from offload_answer import OffloadAnswer


class Deaf(OffloadAnswer):
    def fire(self, inputs, outputs):
        super().fire({name: token for name, token in inputs.items() if name != "remote"}, outputs)
"""


def deaf(folder):
    """The system that was written there, with a server that never answers."""
    for name in ("offload_answer.py", "cut_token.py"):
        shutil.copy(ROOT / "actors" / name, folder)
    (folder / "deaf.py").write_text(DEAF)
    application = folder / "application.xml"
    text = application.read_text()
    named = 'name="Answer" type="DA" class="offload_answer.py:OffloadAnswer"'
    assert named in text
    application.write_text(text.replace(named, 'name="Answer" type="DA" class="deaf.py:Deaf"'))
    return face.load(str(application), str(folder / "platforms"), str(folder / "mappings"), True)


def test_without_an_answer_a_frame_takes_that_of_the_last_exit_it_has_passed(network, whole, tmp_path):
    """One that has passed none is computed up to the first exit, and one that stays on the device as a whole."""
    at = [place.fifo.source.actor for place in places(network.graph)][1:4:2]
    heads = tuple(exit_behind(network, name, 2.0) for name in at)
    made, blocks = applied(network, tmp_path / "made", made=heads, retry="1s", again=offload.Again.EXIT)
    ends = [next(n + 1 for n, block in enumerate(blocks) if name in block) for name in at]
    early = [
        answers(setting(setting(made, "Decide", fixed=str(len(blocks))), f"Exit{n}", threshold="0"), tmp_path / name)
        for n, name in enumerate(at, 1)
    ]
    assert early[0] != early[1] != whole
    lost = deaf(tmp_path / "made")
    for cut in range(len(blocks) + 1):
        passed = [number for number, end in enumerate(ends) if end <= cut]
        wanted = whole if cut == len(blocks) else early[passed[-1] if passed else 0]
        assert answers(setting(lost, "Decide", fixed=str(cut), probe="0"), tmp_path / "answers") == wanted, cut


def codings_of(network, blocks, method):
    """Each cut but the first -> a coding, with ranges from -4 to 4."""
    levels = {"int8": 255, "lossless": 0}[method]
    ranges = {"low": (-4.0,), "step": (8 / levels,)} if levels else {}
    return {
        number: offload.Coded(Coding(method, "zlib", 1, **ranges), 10.0 * number) for number in range(1, len(blocks))
    }


@pytest.mark.parametrize("server", [("cloud",), ("edge", "cloud")])
def test_what_is_cut_can_be_coded_and_only_that_is(network, whole, tmp_path, server):
    """Without loss the answers stay the same; with it they are those of apply compress at that cut."""
    behind = places(network.graph)[1].fifo.source.actor
    exits = (exit_behind(network, behind, 2.0),)
    _, blocks = applied(network, tmp_path / "plain", server=server, made=exits)
    count = len(blocks)
    exact = codings_of(network, blocks, "lossless")
    made, _ = applied(network, tmp_path / "exact", server=server, made=exits, codings=exact)
    assert dict(made.graph.actor("Decide").parameters)["bytes"].split(",")[1:] == [str(10 * n + 8) for n in exact]
    coarse = codings_of(network, blocks, "int8")
    rounded, _ = applied(network, tmp_path / "rounded", server=server, made=exits, codings=coarse)
    relays = ["Decide-edge"] if len(server) > 1 else []
    for cut in range(count + 1):
        for further in sorted({cut, min(cut + 2, count)}) if relays else [count]:
            settings_ = {"Decide": cut, **dict.fromkeys(relays, further)}
            found = {}
            for name, system in (("exact", made), ("rounded", rounded)):
                for actor, fixed in settings_.items():
                    system = setting(system, actor, fixed=str(fixed))
                found[name] = answers(system, tmp_path / "answers")
            assert found["exact"] == whole, settings_
            sent = {each for each in (cut, *([further] if relays else [])) if 0 < each < count}
            if sent:
                names = {f.source.actor: f.name for f in network.graph.fifos}
                fifos = {names[blocks[number - 1][-1]]: coarse[number].coding for number in sent}
                plain = compress.apply(replace(network, mappings=()), compress.Options(tuple(fifos), made=fifos)).system
                assert found["rounded"] == answers(plain, tmp_path / "answers"), settings_
            else:
                assert found["rounded"] == whole


def test_cuts_are_coded_as_the_wish_asks_for(network, tmp_path):
    np.savez(tmp_path / "data.npz", x=np.random.default_rng(1).normal(size=(40, 8, 8, 3)).astype(np.float32))
    asked = offload.Options("device", ("cloud",), data=str(tmp_path / "data.npz"), exits=0, compress="agreement=0.5")
    options = planned(network, asked)
    ranked = [number for number, each in options.codings.items() if each.coding.rank]
    assert ranked and not options.made
    result = offload.apply(network, options)
    assert {f"basis_block{number}.npz" for number in ranked} == set(result.system.files)
    assert [each["bytes"] for each in result.report.figures["codings"]] == [
        each.nbytes for each in options.codings.values()
    ]
    assert sum("bytes on average instead of" in line for line in result.report.lines) == len(options.codings)
    with pytest.raises(ValueError, match="--exits 0: then --data is for --compress"):
        planned(network, replace(asked, compress=""))


def test_an_exit_cannot_answer_for_a_server_without_exits_or_a_time(network):
    for options in ({"again": offload.Again.EXIT}, {"again": offload.Again.EXIT, "retry": "1s"}):
        with pytest.raises(ValueError, match="--again exit is for --retry, and takes exits"):
            offload.apply(network, offload.Options("device", ("cloud",), **options))


def test_exits_are_fitted_on_pictures_and_frames_leave_as_was_foretold(network, tmp_path):
    """Where the device computes everything, as many of the test pictures leave as the report says."""
    np.savez(tmp_path / "data.npz", x=np.random.default_rng(1).normal(size=(80, 8, 8, 3)).astype(np.float32))
    names = [place.fifo.source.actor for place in places(network.graph)]
    asked = offload.Options(
        "device", ("cloud",), cut=(names[0],), data=str(tmp_path / "data.npz"), wish="agreement=0.5", at=(names[1],)
    )
    options = planned(network, asked)
    assert options.cut == (names[0], names[1]) and len(options.made) == 1
    share = options.figures["exits"][0]["share"]
    assert options.shares == (share,) and share > 0
    result = offload.apply(network, options)
    assert result.report.figures["exits"] == options.figures["exits"]
    assert any("test pictures leave" in line for line in result.report.lines)
    told = dict(result.system.graph.actor("Decide").parameters)
    assert (told["exits"], float(told["shares"])) == ("2", pytest.approx(share))
    for name in ("at", "wish", "exits"):
        with pytest.raises(ValueError, match=f"--{name} is for exits"):
            planned(
                network,
                replace(
                    offload.Options("device", ("cloud",)), **{name: 2 if name == "exits" else getattr(asked, name)}
                ),
            )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"server": ("edge", "cloud", "device")}, "3 servers"),
        ({"server": ("edge", "edge")}, "--server edge twice"),
        ({"there": ("1",) * 2}, "more --there than --server"),
        ({"here": "a,b"}, "--here a,b: expected seconds"),
    ],
)
def test_what_makes_no_sense_is_refused(network, options, message):
    with pytest.raises(ValueError, match=message):
        offload.apply(network, offload.Options("device", **{"server": ("cloud",), **options}))


def test_an_edge_counts_by_what_it_would_choose(network):
    """It computes the last block itself, and sends what is before: one second there, ten here."""
    here, there = ",".join(["10"] * 5 + ["1"]), ",".join(["1"] * 6)
    fast = tuple(
        replace(each, links=tuple(replace(link, bandwidth=10**12, latency=2) for link in each.links))
        for each in network.platforms
    )
    made = offload.apply(
        replace(network, platforms=fast), offload.Options("device", ("edge", "cloud"), there=(here, there))
    ).system
    told = dict(made.graph.actor("Decide").parameters)["rest"]
    # 4 seconds on the way, and one for each block; the last one is faster where it is.
    assert [float(each) for each in told.split(",")] == pytest.approx([10, 9, 8, 7, 6, 1], abs=1e-3)


@pytest.mark.parametrize(("server", "exits"), [(("cloud",), True), (("edge", "cloud"), False)])
def test_a_second_graph_for_lost_frames_changes_no_answer(network, whole, tmp_path, server, exits):
    heads = (exit_behind(network, places(network.graph)[0].fifo.source.actor, 2.0),) if exits else ()
    made, blocks = applied(network, tmp_path / "made", server=server, made=heads, retry="2s")
    for cut in range(len(blocks) + 1):
        assert answers(setting(made, "Decide", fixed=str(cut)), tmp_path / "answers") == whole, cut
    face.run(made, frames=FRAMES, settings={"Decide.fixed": 2, f"{sink_of(made)}.path": str(tmp_path / "run")})
    assert tensors(tmp_path / "run") == whole


def test_a_choice_among_servers_changes_no_answer(network, whole, tmp_path):
    made, blocks = applied(network, tmp_path / "made", server=("edge",), beside=("cloud",), retry="2s")
    for cut in range(len(blocks) + 1):
        assert answers(setting(made, "Decide", fixed=str(cut)), tmp_path / "answers") == whole, cut
    run = face.run(made, frames=FRAMES, settings={"Decide.fixed": 2, f"{sink_of(made)}.path": str(tmp_path / "run")})
    assert tensors(tmp_path / "run") == whole
    assert all(run.links[pair].bytes_per_frame for pair in (("device", "edge"), ("device", "cloud")))
