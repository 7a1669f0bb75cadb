"""Which branch gets a token: the router against a reference that looks at everything anew each time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Optional

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eprune.runtime.fire.routing import Router

TIMEOUT = 10.0


@dataclass
class Reference:
    """The rules as they read: a list of all that ever happened, from which each question is answered anew."""

    capacities: list[int]
    sticky: bool
    keeps: bool
    now: float = 0.0
    #: (index, branch, time) of each sending
    sent: list[tuple[int, int, float]] = field(default_factory=list)
    #: index -> the branch that has its token, None: none has
    at: dict[int, Optional[int]] = field(default_factory=dict)
    answers: list[tuple[int, float]] = field(default_factory=list)
    reachable: list[bool] = field(default_factory=list)
    silent: dict[int, float] = field(default_factory=dict)

    def under_way(self, branch: int) -> list[int]:
        return [index for index, where in self.at.items() if where == branch]

    def since(self, index: int) -> float:
        return max(when for which, _, when in self.sent if which == index)

    def pass_time(self) -> None:
        """Branches that say nothing for too long lose what they have."""
        for branch in range(len(self.capacities)):
            waiting = self.under_way(branch)
            if not waiting:
                continue
            heard = max([when for who, when in self.answers if who == branch], default=0.0)
            if self.now >= max(min(map(self.since, waiting)), heard) + TIMEOUT:
                self.silent[branch] = self.now
                self.take_back(branch)

    def take_back(self, branch: int) -> None:
        for index in self.under_way(branch):
            self.at[index] = None

    def tried(self, index: Optional[int]) -> set[int]:
        return {branch for which, branch, _ in self.sent if which == index}

    def candidates(self, index: Optional[int]) -> list[int]:
        left = [branch for branch, there in enumerate(self.reachable) if there]
        fresh = [branch for branch in left if branch not in self.tried(index)]
        left = fresh or (left if self.keeps else [])
        loud = [b for b in left if b not in self.silent or self.now >= self.silent[b] + 10 * TIMEOUT]
        left = loud or left
        if self.sticky and self.sent and self.sent[-1][1] in left:
            return [self.sent[-1][1]]
        return left

    def choose(self, index: Optional[int] = None) -> Optional[int]:
        free = [b for b in self.candidates(index) if len(self.under_way(b)) < self.capacities[b]]

        def last(branch: int) -> int:
            return max([position for position, (_, b, _) in enumerate(self.sent) if b == branch], default=-1)

        return min(free, key=lambda b: (len(self.under_way(b)), last(b)), default=None)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.just(0)),
        st.tuples(st.just("answer"), st.integers(0, 5)),
        st.tuples(st.just("late answer"), st.integers(0, 5)),
        st.tuples(st.just("lose"), st.integers(0, 3)),
        st.tuples(st.just("back"), st.integers(0, 3)),
        st.tuples(st.just("wait"), st.integers(1, 130)),
    ),
    max_size=40,
)


@settings(max_examples=150)
@given(st.lists(st.integers(1, 3), min_size=2, max_size=4), st.booleans(), st.booleans(), STEPS)
def test_it_decides_as_the_rules_read(capacities, sticky, keeps, steps):
    router = Router(capacities, TIMEOUT, sticky, keeps)
    wanted = Reference(capacities, sticky, keeps, reachable=[True] * len(capacities))
    made = 0
    for what, number in steps:
        branch = number % len(capacities)
        if what == "send" and (chosen := wanted.choose()) is not None:
            assert router.choose(wanted.now) == chosen
            wanted.sent.append((made, chosen, wanted.now))
            wanted.at[made] = chosen
            router.send(made, chosen, wanted.now)
            made += 1
        elif what == "answer" and wanted.under_way(branch):
            index = wanted.under_way(branch)[0]
            del wanted.at[index]
            wanted.answers.append((branch, wanted.now))
            wanted.silent.pop(branch, None)
            router.answered(index, branch, wanted.now)
        elif what == "late answer" and wanted.sent:
            index, branch, _ = wanted.sent[number % len(wanted.sent)]
            wanted.at.pop(index, None)
            wanted.answers.append((branch, wanted.now))
            wanted.silent.pop(branch, None)
            router.answered(index, branch, wanted.now)
        elif what == "lose":
            wanted.reachable[branch] = router.branches[branch].reachable = False
            wanted.silent.pop(branch, None)
            wanted.take_back(branch)
            router.lost(branch)
        elif what == "back":
            wanted.reachable[branch] = router.branches[branch].reachable = True
        elif what == "wait":
            wanted.now += number
        wanted.pass_time()
        router.look(wanted.now)
        for token in router.homeless():
            chosen = wanted.choose(token.index)
            assert router.choose(wanted.now, token.tried) == chosen
            if chosen is not None:
                wanted.sent.append((token.index, chosen, wanted.now))
                wanted.at[token.index] = chosen
                router.send(token.index, chosen, wanted.now)
        hopeless = [index for index, at in wanted.at.items() if at is None and not wanted.candidates(index)]
        hopeless = [] if keeps else hopeless
        assert router.hopeless(wanted.now) == hopeless
        for index in hopeless:
            del wanted.at[index]
        assert {index: token.branch for index, token in router.open.items()} == wanted.at
        assert router.choose(wanted.now) == wanted.choose()
        for number, each in enumerate(router.branches):
            assert sorted(each.under_way) == sorted(wanted.under_way(number))
            assert len(each.under_way) <= capacities[number]


def test_the_one_with_fewest_under_way_is_next_and_equals_take_turns():
    router = Router([2, 2, 2], TIMEOUT)
    turns = []
    for index in range(6):
        turns.append(router.choose(0.0))
        router.send(index, turns[-1], 0.0)
    assert turns == [0, 1, 2, 0, 1, 2] and router.choose(0.0) is None
    router.answered(4, 1, 1.0)
    assert router.choose(1.0) == 1


def test_what_is_kept_goes_round_until_somebody_answers():
    router = Router([1, 1], TIMEOUT, keeps=True)
    router.send(7, 0, 0.0)
    had = [0]
    for moment in range(1, 6):
        router.look(moment * TIMEOUT)
        (token,) = router.homeless()
        had.append(router.choose(moment * TIMEOUT, token.tried))
        router.send(7, had[-1], moment * TIMEOUT)
        assert router.hopeless(moment * TIMEOUT) == []
    assert set(had) == {0, 1} and router.moved == 5


def test_what_is_not_kept_is_given_up_once_all_have_had_it():
    router = Router([1, 1], TIMEOUT)
    router.send(7, 0, 0.0)
    router.look(TIMEOUT)
    router.send(7, 1, TIMEOUT)
    router.look(2 * TIMEOUT)
    assert router.hopeless(2 * TIMEOUT) == [7] and not router.open


@pytest.mark.parametrize("after", [9.9, 10.0])
def test_a_branch_is_silent_after_the_time_out_since_it_had_its_oldest_token_or_was_heard(after):
    router = Router([2, 2], TIMEOUT)
    router.send(1, 0, 0.0)
    assert router.due() == TIMEOUT
    router.look(after)
    assert bool(router.homeless()) == (after >= TIMEOUT)
