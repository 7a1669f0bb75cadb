"""Which of several equal branches gets a token, and who gets it when the first does not answer.

A ``Router`` decides for one actor. It is pure: times are arguments, in seconds of any clock that does not go back. A
token that was sent stays *under way* until it is answered. It is sent again, to another branch, if its branch is lost,
or silent: no answer for a time-out, to a token that has been there as long.

- The branch with the fewest tokens under way gets the next one; of several, the one that has waited longest for one.
  ``sticky``: the branch that had the last one, as long as it answers.
- A branch has at most its capacity under way. Where all that are left are full, the sender waits.
- A silent branch gets nothing while another is left, until it answers again, is back after a loss, or ten time-outs
  have passed.
- ``keeps``: a token is kept until it is answered. Else it is given up when every branch that is left has had it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Optional

#: After so many time-outs a silent branch is tried again.
_FORGIVEN = 10


class Token:
    """A token that is not answered yet. ``branch`` None: it is to be sent again. ``tried``: who has had it."""

    __slots__ = ("branch", "index", "since", "tried")

    def __init__(self, index: int) -> None:
        self.index = index
        self.branch: Optional[int] = None
        self.since = 0.0
        self.tried: set[int] = set()


class Branch:
    """One of the branches. Its owner keeps up to date whether it is ``reachable``, and has ``room`` for a token."""

    __slots__ = ("capacity", "heard", "held", "reachable", "room", "silent", "turn", "under_way")

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.reachable = True
        self.room = True
        #: index -> its tokens that are under way, in the order in which they were sent
        self.under_way: dict[int, Token] = {}
        #: answers that lie in its way, until they are read
        self.held = 0
        #: when it answered last, and since when it is silent
        self.heard = float("-inf")
        self.silent: Optional[float] = None
        #: when, as a count of all tokens sent, it was chosen last
        self.turn = -1

    @property
    def free(self) -> bool:
        """Whether it takes a token now."""
        return self.room and len(self.under_way) + self.held < self.capacity


class Router:
    """Decides for one actor. ``capacities``: of its branches; ``timeout`` in seconds."""

    def __init__(self, capacities: Sequence[int], timeout: float, sticky: bool = False, keeps: bool = False) -> None:
        self.branches = [Branch(capacity) for capacity in capacities]
        self.timeout = timeout
        self.sticky = sticky
        self.keeps = keeps
        #: index -> the tokens that are not answered yet, the oldest first
        self.open: dict[int, Token] = {}
        #: how often a token was sent to another branch
        self.moved = 0
        self._turn = 0
        self._last: Optional[int] = None

    def candidates(self, now: float, tried: Collection[int] = ()) -> list[int]:
        """The branches among which one is to be chosen, whether they have room or not."""
        for branch in self.branches:
            if branch.silent is not None and now >= branch.silent + _FORGIVEN * self.timeout:
                branch.silent = None
        left = [number for number, branch in enumerate(self.branches) if branch.reachable]
        left = [number for number in left if number not in tried] or (left if self.keeps else [])
        talking = [number for number in left if self.branches[number].silent is None] or left
        return [self._last] if self.sticky and self._last in talking else talking

    def choose(self, now: float, tried: Collection[int] = ()) -> Optional[int]:
        """The branch for the next token, None if none can take it now."""
        free = [number for number in self.candidates(now, tried) if self.branches[number].free]
        branches = self.branches
        return min(free, key=lambda n: (len(branches[n].under_way), branches[n].turn), default=None)

    def send(self, index: int, number: int, now: float) -> None:
        """The token of that index is sent to a branch, for the first time or again."""
        token = self.open.get(index)
        if token is None:
            token = self.open[index] = Token(index)
        else:
            self.moved += 1
        token.branch, token.since = number, now
        token.tried.add(number)
        branch = self.branches[number]
        branch.under_way[index] = token
        branch.turn = self._turn = self._turn + 1
        self._last = number

    def answered(self, index: int, number: int, now: float) -> None:
        """A branch has answered the token of that index, for the first time or not."""
        self.heard(number, now)
        token = self.open.pop(index, None)
        if token is not None and token.branch is not None:
            del self.branches[token.branch].under_way[index]

    def heard(self, number: int, now: float) -> None:
        """A branch has given a sign of life."""
        branch = self.branches[number]
        branch.heard, branch.silent = now, None

    def lost(self, number: int) -> None:
        """A branch is lost, with all that is under way there; once it is reachable again, it is as new."""
        branch = self.branches[number]
        branch.silent = None
        self._take_back(branch)

    def look(self, now: float) -> None:
        """Take back what is under way at branches that are silent."""
        for branch in self.branches:
            due = self._due(branch)
            if due is not None and now >= due:
                branch.silent = now
                self._take_back(branch)

    def homeless(self) -> list[Token]:
        """The tokens that are to be sent again, the oldest first."""
        return [token for token in self.open.values() if token.branch is None]

    def hopeless(self, now: float) -> list[int]:
        """The indices of tokens that are given up, because every branch that is left has had them. They are closed."""
        gone = [token.index for token in self.homeless() if not self.candidates(now, token.tried)]
        if self.keeps:
            return []
        for index in gone:
            del self.open[index]
        return gone

    def due(self) -> Optional[float]:
        """When to `look` again, None: not before something happens."""
        return min([due for due in map(self._due, self.branches) if due is not None], default=None)

    def _due(self, branch: Branch) -> Optional[float]:
        """When a branch becomes silent, if nothing is heard of it."""
        oldest = next(iter(branch.under_way.values()), None)
        return None if oldest is None else max(oldest.since, branch.heard) + self.timeout

    def _take_back(self, branch: Branch) -> None:
        for token in branch.under_way.values():
            token.branch = None
        branch.under_way.clear()
