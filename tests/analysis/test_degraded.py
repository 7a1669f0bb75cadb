"""What failures leave of results that are put together from parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eprune.analysis.degraded import PartResult, exchanges, part_results
from eprune.analysis.failures import FaultModel, Service
from eprune.analysis.survey import survey
from eprune.measure.stated import stated
from eprune.model.graph import Graph
from eprune.model.system import System
from eprune.passes import import_
from eprune.passes.partition import LayerParts, Method, Options, Plan, apply

VEHICLE = stated(str(Path(__file__).parents[2] / "graphs/vehicle.tflite"))
IMPORTED = import_.apply(System(Graph("vehicle")), import_.Options(VEHICLE.model, per="operator")).system


def results(most: int, **options: Any) -> dict[tuple[str, ...], PartResult]:
    """What sets of platforms that fail leave."""
    model = FaultModel(apply(IMPORTED, Options(**options)).system)
    found = part_results(model, most, Service(tuple(model.sinks)))
    return {
        tuple(thing.name for thing in result.failed): result
        for result in found
        if all(thing.kind == "platform" for thing in result.failed)
    }


def test_contiguous_blocks_lose_their_channels_in_each_layer() -> None:
    found = results(1, devices=3, clock="30/s")
    assert set(found) == {("device1",), ("device2",), ("device3",)}
    gone = found["device2",]
    assert (gone.exact, gone.degraded, gone.gone) == ((), ("Output-1", "Output-3"), ("Output-2",))
    assert gone.lost["exchange_8-1"] == (tuple(range(11, 22)), 32)
    assert set(gone.lost) == {f"exchange_{tensor}-{device}" for tensor in (8, 12, 15) for device in (1, 3)}


@pytest.mark.parametrize("failures", [1, 2, 3])
def test_chains_are_exact_for_so_many_failures_and_no_more(failures: int) -> None:
    found = results(3, devices=4, method=Method.CHAINED, failures=failures, clock="30/s")
    assert len(found) == 4 + 6 + 4
    for failed, result in found.items():
        # Three that fail leave one; of two, neighbours in the chain take a block with them.
        assert not result.degraded or len(failed) > failures
        assert len(result.exact) + len(result.degraded) == 4 - len(failed)
    worse = [failed for failed, result in found.items() if result.degraded]
    assert bool(worse) == (failures < 3)


def test_sums_make_up_for_one_device() -> None:
    found = results(2, devices=4, method=Method.CDC, clock="30/s")
    assert all(len(result.exact) == 3 for failed, result in found.items() if len(failed) == 1)
    assert all(len(result.degraded) == 2 for failed, result in found.items() if len(failed) == 2)


def test_without_a_clock_everything_depends_on_the_device_with_the_source() -> None:
    found = results(1, devices=2, method=Method.FULL)
    assert found == {}  # nothing is put together from parts
    found = results(1, devices=2)
    assert found["device1",].gone == ("Output-1", "Output-2")


def test_a_link_that_fails_spoils_what_a_third_device_gets_from_both() -> None:
    model = FaultModel(apply(IMPORTED, Options(3, clock="30/s")).system)
    (result,) = (
        each
        for each in part_results(model, 1, Service(tuple(model.sinks)))
        if each.failed[0].name == "device1 - device2"
    )
    assert result.degraded == ("Output-1", "Output-2", "Output-3")
    assert not any(name.endswith("-3") for name in result.lost)


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_a_result_is_exact_if_each_channel_is_on_a_device_that_lives(data: st.DataObject) -> None:
    """By brute force, for random plans and all sets of platforms."""
    devices = data.draw(st.integers(2, 4))
    layers = []
    for first, channels in ((2, 32), (4, 100)):
        holders = [data.draw(st.sets(st.integers(0, devices - 1), min_size=1)) for _ in range(4)]
        # A quarter of the channels each; the first one of each device's own keeps it from having none.
        sets: list[set[int]] = [{device} for device in range(devices)]
        for quarter, owners in enumerate(holders):
            for owner in owners:
                sets[owner] |= set(range(quarter * channels // 4, (quarter + 1) * channels // 4))
        layers.append(LayerParts(first, tuple(tuple(sorted(part)) for part in sets)))
    plan = Plan(devices, "drawn", tuple(layers))
    for failed, result in results(devices - 1, devices=devices, made=plan, clock="30/s").items():
        living = [d for d in range(devices) if f"device{d + 1}" not in failed]
        whole = all(
            len({c for d in living for c in layer.parts[d]}) == {2: 32, 4: 100}[layer.first] for layer in layers
        )
        sinks = tuple(f"Output-{d + 1}" for d in living)
        assert (result.exact, result.degraded) == ((sinks, ()) if whole else ((), sinks))


def test_other_applications_have_no_such_results() -> None:
    model = FaultModel(IMPORTED)
    assert not exchanges(model)
    assert "results" not in survey(IMPORTED, 1, (), "every").as_data()
