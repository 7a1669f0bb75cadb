"""Channels that are missing, predicted from those that are there: a 1x1 convolution for each set of absent devices."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np


class Prediction(NamedTuple):
    """Weights float16 [there + 1, missing], the last row is the bias; what is predicted is at least ``low``."""

    weights: np.ndarray
    low: float

    def __call__(self, there: np.ndarray, dtype: Any) -> np.ndarray:
        """The missing channels as elements of a tensor, rounded if these are whole numbers."""
        weights = self.weights.astype(np.float32)
        found = np.maximum(there.astype(np.float32) @ weights[:-1] + weights[-1], self.low)
        if np.dtype(dtype).kind in "iu":
            limits = np.iinfo(dtype)
            found = np.clip(np.rint(found), limits.min, limits.max)
        return found.astype(dtype)


def read_predictions(path: str) -> dict[tuple[str, ...], Prediction]:
    """Absent devices, sorted -> the prediction. Raises ValueError for a file that has none.

    The .npz file has the weights by the names of the devices, ``device1,device3``, and the least values by
    ``device1,device3:low``.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        names = [name for name in arrays if not name.endswith(":low")]
        found = {
            tuple(sorted(name.split(","))): Prediction(arrays[name], float(arrays[f"{name}:low"])) for name in names
        }
    except FileNotFoundError:
        raise
    except Exception as error:  # whatever numpy meets in a broken file
        raise ValueError(f"{path}: holds no predictions of channels: {error}") from None
    if any(each.weights.ndim != 2 or each.weights.dtype != np.float16 for each in found.values()):
        raise ValueError(f"{path}: holds no predictions of channels: expected float16 of two dimensions")
    return found
