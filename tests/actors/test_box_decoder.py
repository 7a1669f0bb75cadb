import numpy as np
import pytest
from box_decoder import BoxDecoder
from driver import fired, prepared
from hypothesis import given, settings
from hypothesis import strategies as st
from ssd_anchors import MAPS, anchors, decode, encode

ANCHORS = anchors()


@pytest.fixture
def decoder():
    return prepared(BoxDecoder(), BoxDecoder.INPUTS, BoxDecoder.OUTPUTS)


def answers(**changes):
    """Heads that say nothing, but for ``changes``."""
    silent = {name: np.zeros([int(n) for n in token[8:-1].split(",")]) for name, token in BoxDecoder.INPUTS.items()}
    return {**silent, **changes}


def test_there_are_as_many_anchors_as_the_papers_have():
    assert ANCHORS.shape == (1917, 4)
    assert sum(size * size * len(shapes) for size, shapes in MAPS) == 1917


@settings(deadline=None)
@given(
    st.lists(st.tuples(*[st.floats(0, 0.94)] * 2, *[st.floats(0.02, 1)] * 2), min_size=1, max_size=9), st.integers(0)
)
def test_decoding_undoes_encoding(boxes, seed):
    boxes = np.array([(y, x, min(1, y + height), min(1, x + width)) for y, x, height, width in boxes], np.float32)
    near = ANCHORS[np.random.default_rng(seed).integers(len(ANCHORS), size=len(boxes))]
    # Any box at any anchor, unless it is a hundred times as large.
    assert np.allclose(decode(encode(boxes, near), near), boxes, atol=1e-4)


def test_heads_that_want_no_change_give_the_anchors(decoder):
    boxes = fired(decoder, **answers())["boxes"]
    assert np.allclose((boxes[:, :2] + boxes[:, 2:]) / 2, ANCHORS[:, :2], atol=1e-6)
    assert np.allclose(boxes[:, 2:] - boxes[:, :2], ANCHORS[:, 2:], atol=1e-6)


def test_a_head_speaks_for_the_cell_and_the_shape_that_it_stands_at(decoder):
    # Second map, row 3, column 7, third shape: its anchor lies there, and only it moves.
    head = np.zeros((1, 10, 10, 6, 4))
    head[0, 3, 7, 2] = 10, -10, 0, 0  # down and left by its own size
    before, after = (fired(decoder, **answers(boxes2=h.reshape(1, 10, 10, 24)))["boxes"] for h in (head * 0, head))
    [moved] = np.flatnonzero((before != after).any(1))
    height, width = MAPS[1][1][2]
    middle = ((after[moved, :2] + after[moved, 2:]) / 2).tolist()
    assert middle == pytest.approx([0.35 + height, 0.75 - width], abs=1e-6)


def test_scores_are_the_classes_share_beside_nothing(decoder):
    head = np.zeros((1, 1, 1, 6, 5))
    head[0, 0, 0, 0] = np.log([1, 2, 3, 4, 10])
    scores = fired(decoder, **answers(scores6=head))["scores"]
    assert scores[-6] == pytest.approx([0.1, 0.15, 0.2, 0.5])
    assert scores[0] == pytest.approx([0.2] * 4)  # of a head that knows nothing


def test_extreme_answers_stay_numbers(decoder):
    outputs = fired(decoder, **answers(boxes1=np.full((1, 19, 19, 12), 1e4), scores1=np.full((1, 19, 19, 15), 1e4)))
    assert all(np.isfinite(values).all() for values in outputs.values())
