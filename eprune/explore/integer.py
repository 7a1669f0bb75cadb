"""Integer programs: a least weighted sum of variables under linear conditions, by HiGHS, through scipy.

The library is faster than a minimum cut of our own (1 s instead of 9 for 10,000 actors), and exact for bottlenecks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Optional

#: Variables, by their numbers, with their factors.
Terms = Mapping[int, float]

#: A result is as good as the best where it is at most so much above the bound, relatively.
CLOSE = 1e-6
#: Seconds that the simplex method gets, which is the faster one on most programs, before the interior point method.
SIMPLEX = 5.0
#: Seconds that the latter gets.
INTERIOR = 120.0


@dataclass(frozen=True)
class Solution:
    """What each variable is, and a bound: no sum is less."""

    values: tuple[float, ...]
    bound: float


class Unsolved(Exception):
    """Neither a solution nor the proof that there is none was found in time."""


class IntegerProgram:
    """Variables from 0 to 1, or to ``high``, and what must hold between them. Solving needs scipy: ImportError."""

    def __init__(self) -> None:
        self._low: list[float] = []
        self._high: list[float] = []
        self._whole: list[bool] = []
        self._rows: list[int] = []
        self._columns: list[int] = []
        self._factors: list[float] = []
        self._least: list[float] = []
        self._most: list[float] = []
        #: A variable that is 1, for what is constant in a sum.
        self.one = self.variable(low=1.0)

    def variable(self, low: float = 0.0, high: float = 1.0, whole: bool = False) -> int:
        """A new variable; a ``whole`` one is a whole number."""
        self._low.append(low)
        self._high.append(high)
        self._whole.append(whole)
        return len(self._low) - 1

    def hold(self, terms: Terms, least: float = -math.inf, most: float = math.inf) -> None:
        """The sum of these terms is from ``least`` to ``most``."""
        if not terms and least <= 0 <= most:
            return
        self._rows += [len(self._least)] * len(terms)
        self._columns += terms.keys()
        self._factors += terms.values()
        self._least.append(least)
        self._most.append(most)

    def is_whole(self, values: tuple[float, ...]) -> bool:
        """Whether those variables are whole numbers that must be."""
        return all(abs(value - round(value)) < CLOSE for value, whole in zip(values, self._whole) if whole)

    def relaxed(self, terms: Terms, seconds: float = SIMPLEX + INTERIOR) -> Optional[Solution]:
        """The least sum of these terms, were no variable a whole one; None if nothing fulfils the conditions.

        Raises Unsolved where ``seconds`` are not enough.
        """
        import numpy as np
        from scipy.optimize import linprog
        from scipy.sparse import vstack

        costs, scale = self._costs(terms)
        matrix, least, most = self._conditions()
        same = least == most
        above, below = np.isfinite(least) & ~same, np.isfinite(most) & ~same
        first = min(SIMPLEX, seconds)
        for method, limit in (("highs-ds", first), ("highs-ipm", seconds - first)):
            if limit <= 0:
                break
            found = linprog(
                costs,
                A_ub=vstack([matrix[below], -matrix[above]]),
                b_ub=np.concatenate([most[below], -least[above]]),
                A_eq=matrix[same],
                b_eq=least[same],
                bounds=np.column_stack([self._low, self._high]),
                method=method,
                options={"time_limit": limit},
            )
            if found.status == 0:
                return Solution(tuple(found.x), float(found.fun / scale))
            if found.status == 2:
                return None
        raise Unsolved(f"not within {seconds:g} s")

    def minimise(self, terms: Terms, seconds: float) -> Optional[Solution]:
        """The least sum of these terms, or the least that is found in time; None if nothing fulfils the conditions.

        Raises Unsolved.
        """
        import numpy as np
        from scipy.optimize import Bounds, LinearConstraint, milp

        costs, scale = self._costs(terms)
        found = milp(
            costs,
            integrality=np.array(self._whole, int),
            bounds=Bounds(np.array(self._low), np.array(self._high)),
            constraints=LinearConstraint(*self._conditions()),
            options={"time_limit": seconds, "mip_rel_gap": CLOSE / 10},
        )
        if found.x is None:
            if found.status == 2:
                return None
            raise Unsolved(found.message)
        return Solution(tuple(found.x), float(found.mip_dual_bound / scale))

    def _costs(self, terms: Terms) -> tuple[Any, float]:
        """The factors, and by what they are multiplied: tolerances are absolute, and 1000 is far above them."""
        import numpy as np

        costs = np.zeros(len(self._low))
        costs[list(terms)] = list(terms.values())
        scale = 1e3 / np.abs(costs).max() if costs.any() else 1.0
        return costs * scale, scale

    def _conditions(self) -> tuple[Any, Any, Any]:
        import numpy as np
        from scipy.sparse import csr_matrix

        shape = (len(self._least), len(self._low))
        matrix = csr_matrix((self._factors, (self._rows, self._columns)), shape=shape)
        return matrix, np.array(self._least), np.array(self._most)
