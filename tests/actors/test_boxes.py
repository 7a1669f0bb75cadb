import numpy as np
import pytest
from boxes import overlap


@pytest.mark.parametrize(
    ("other", "shared"),
    [
        ([0, 0, 2, 2], 1.0),
        ([1, 1, 3, 3], 1 / 7),
        ([0, 0, 1, 2], 0.5),
        ([2, 0, 4, 2], 0.0),  # they touch
        ([5, 5, 6, 6], 0.0),
        ([1, 1, 1, 1], 0.0),  # empty
        ([2, 2, 0, 0], 0.0),  # inside out
    ],
)
def test_overlap_is_intersection_over_union(other, shared):
    assert overlap(np.array([[0.0, 0, 2, 2]]), np.array([other], float)) == pytest.approx(shared)


def test_two_empty_boxes_share_nothing():
    assert overlap(np.zeros((1, 4)), np.zeros((1, 4))) == 0


def test_every_box_is_compared_with_every_other():
    assert overlap(np.zeros((3, 4)), np.zeros((5, 4))).shape == (3, 5)
    assert overlap(np.zeros((0, 4)), np.zeros((5, 4))).shape == (0, 5)
