"""A deployment as data: which step comes after which, on which device; and who carries the steps out.

Everything that takes time comes while the version before still runs. Then all programs stop, those that send first;
each device switches by one rename; all start, those that receive first; and only when all are well, the new versions
are kept. Until then each device goes back by itself when it is let go, however that happens.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import Enum
from itertools import groupby
from typing import Any, Callable, Optional

from eprune.deploy.agreement import agree, ask
from eprune.deploy.health import Health, Verdict, judge
from eprune.deploy.release import Release
from eprune.deploy.session import Session
from eprune.model.finding import Failure

#: Seconds between two looks, and how long all have to be well without a break.
LOOK, SETTLE = 0.1, 1.0


class Do(str, Enum):
    """What a step does on a device."""

    CLAIM = "lock"
    ENVIRONMENT = "make an environment"
    STAGE = "send what is new"
    BEGIN = "note what runs now"
    STOP = "stop"
    SWITCH = "switch"
    START = "start"
    NEXT = "start beside it"
    STAND_BY = "wait until all next generations are connected"
    AGREE = "agree on a frame"
    TAKE_OVER = "wait until the next generations have taken over"
    READY = "wait until it can be connected to"
    WELL = "wait until all are healthy"
    KEEP = "keep"


#: What several devices do at the same time.
TOGETHER = frozenset({Do.CLAIM, Do.ENVIRONMENT, Do.STAGE, Do.BEGIN})


@dataclass(frozen=True)
class Step:
    """A step on the device of a platform; "" for the one that waits for all of them."""

    do: Do
    platform: str = ""

    def __str__(self) -> str:
        return f"{self.platform}: {self.do.value}" if self.platform else self.do.value


def plan(
    order: Sequence[str], serves: Sequence[str] = (), environments: Sequence[str] = (), stage: bool = True
) -> tuple[Step, ...]:
    """The steps that bring a version onto each platform; ``order``: receivers first.

    ``serves`` are those that can be connected to before their peers are there. Without ``stage`` the versions are there
    already, as for a rollback.
    """

    def each(do: Do, platforms: Sequence[str] = order) -> list[Step]:
        return [Step(do, platform) for platform in platforms]

    starts = [
        step
        for platform in order
        for step in (Step(Do.START, platform), *[Step(Do.READY, platform)] * (platform in serves))
    ]
    return (
        *each(Do.CLAIM),
        *each(Do.ENVIRONMENT, environments),
        *(each(Do.STAGE) if stage else ()),
        *each(Do.BEGIN),
        *each(Do.STOP, order[::-1]),
        *each(Do.SWITCH),
        *starts,
        Step(Do.WELL),
        *each(Do.KEEP),
    )


def live_plan(order: Sequence[str], environments: Sequence[str] = ()) -> tuple[Step, ...]:
    """The steps that change to a version on each platform while frames flow; ``order``: receivers first."""
    before, after = plan(order, environments=environments), len(order) + 1
    beside = next(index for index, step in enumerate(before) if step.do is Do.STOP)
    return (
        *before[:beside],
        *(Step(Do.NEXT, platform) for platform in order),
        *(Step(do) for do in (Do.STAND_BY, Do.AGREE, Do.TAKE_OVER)),
        *(Step(Do.SWITCH, platform) for platform in order),
        *before[-after:],
    )


@dataclass(frozen=True)
class Environment:
    """A virtual environment to be made: what is in it, and the wheels that are sent for it (name -> data).

    It is good if it has these ``modules``.
    """

    name: str
    requirements: Sequence[str]
    wheels: Optional[Mapping[str, bytes]] = None
    modules: Sequence[str] = ()


@dataclass(frozen=True)
class Target:
    """What a platform is to come to: a version, and a release where it has to be sent."""

    version: str
    release: Optional[Release] = None
    environment: Optional[Environment] = None


@dataclass
class Rollout:
    """Carries steps out. ``on_step`` is told of each before it begins, ``on_say`` of what a device says meanwhile."""

    sessions: Mapping[str, Session]
    targets: Mapping[str, Target]
    timeout: float
    on_step: Callable[[Step], None] = lambda step: None
    on_say: Callable[[str, str], None] = lambda platform, text: None
    on_bytes: Callable[[str, int], None] = lambda platform, count: None
    #: the actors that begin anew where the next generation takes over
    reset: Sequence[str] = ()
    #: platform -> what it was like when it was claimed
    before: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    _kept: list[str] = field(default_factory=list)

    def carry_out(self, steps: Sequence[Step]) -> None:
        """All of them, or none: whatever is raised, each device has then gone back, or was told so.

        Raises Failure, which says why.
        """
        try:
            for together, group in groupby(steps, lambda step: step.do if step.do in TOGETHER else None):
                if together is None:
                    for step in group:
                        self._carry_out(step)
                else:
                    self._at_once(list(group))
        except BaseException:
            self._undo_what_was_kept()
            raise

    def _at_once(self, steps: Sequence[Step]) -> None:
        pool = ThreadPoolExecutor(len(steps))
        try:
            futures = [pool.submit(self._carry_out, step) for step in steps]
            for future in futures:
                future.result()
        except BaseException:
            for session in self.sessions.values():
                session.let_go()
            raise
        finally:
            pool.shutdown(wait=True)

    def _carry_out(self, step: Step) -> None:
        self.on_step(step)
        everywhere = {Do.STAND_BY: self._stand_by, Do.AGREE: self._agree, Do.TAKE_OVER: self._take_over}
        if step.do is Do.WELL:
            self.await_well(list(self.targets), SETTLE)
            return
        if step.do in everywhere:
            everywhere[step.do]()
            return
        session, target = self.sessions[step.platform], self.targets[step.platform]
        if step.do is Do.CLAIM:
            self.before[step.platform] = session.call("claim")
            if self.before[step.platform]["healed"]:
                self.on_say(step.platform, "an earlier deployment was cut here, and is undone")
        elif step.do is Do.ENVIRONMENT:
            self._make_environment(session, target)
        elif step.do is Do.STAGE:
            self._stage(session, target)
        elif step.do is Do.BEGIN:
            session.call("begin", version=target.version)
        elif step.do is Do.NEXT:
            session.call("next", version=target.version, reset=list(self.reset))
        elif step.do is Do.STOP:
            session.call("stop")
        elif step.do is Do.SWITCH:
            session.call("switch", version=target.version)
        elif step.do is Do.START:
            note = session.call("start")
            if note:
                self.on_say(step.platform, note)
        elif step.do is Do.READY:
            self.await_well([step.platform])
        else:
            session.call("keep")
            self._kept.append(step.platform)

    def _stand_by(self) -> None:
        until = time.monotonic() + self.timeout
        for platform, session in self.sessions.items():
            while (found := ask(session, "describe"))["change"] != "ready":
                if found["problem"] or time.monotonic() > until:
                    why = found["problem"] or f"its peers have not come within {self.timeout:g} s"
                    raise self._ill(platform, Verdict(Health.ILL, why))
                time.sleep(LOOK)

    def _agree(self) -> None:
        agree(self.sessions)

    def _take_over(self) -> None:
        until = time.monotonic() + self.timeout
        for platform, session in self.sessions.items():
            while not session.call("taken_over"):
                if time.monotonic() > until:
                    why = f"what was under way has not ended within {self.timeout:g} s"
                    raise self._ill(platform, Verdict(Health.ILL, why))
                time.sleep(LOOK)

    def _make_environment(self, session: Session, target: Target) -> None:
        wanted = target.environment
        assert wanted is not None
        wheels = wanted.wheels or {}
        session.call(
            "environment",
            b"".join(wheels.values()),
            lambda text: self.on_say(session.site.platform, text),
            name=wanted.name,
            requirements=list(wanted.requirements),
            wheels={name: len(data) for name, data in wheels.items()},
            carried=wanted.wheels is not None,
        )
        found = session.call("modules", environment=wanted.name, modules=list(wanted.modules))
        lacking = [module for module, version in found.items() if version is None]
        if lacking:
            name, modules = session.site.platform, " and ".join(lacking)
            raise Failure(f"{name}: the environment lacks {modules}: --require adds the package that has it")

    def _stage(self, session: Session, target: Target) -> None:
        assert target.release is not None
        files = target.release.files
        for name in session.call("stage", version=target.version, files=target.release.announced()):
            file = files[name]
            session.send_file(
                name, file.data, file.mode, file.sha256, lambda count: self.on_bytes(session.site.platform, count)
            )

    def await_well(self, platforms: Sequence[str], settle: float = 0) -> None:
        """Wait until these are well, and have been for so many seconds. Raises Failure where that takes too long."""
        until = time.monotonic() + self.timeout
        since: Optional[float] = None
        restarts: dict[str, int] = {}  # until now
        while True:
            states = {platform: self.sessions[platform].call("health") for platform in platforms}
            restarts = restarts or {platform: state["restarts"] for platform, state in states.items()}
            verdicts = {platform: judge(state, restarts[platform]) for platform, state in states.items()}
            now = time.monotonic()
            for platform, verdict in verdicts.items():
                if verdict.health is Health.ILL or (verdict.health is Health.NOT_YET and now > until):
                    raise self._ill(platform, verdict)
            if all(verdict.health is Health.WELL for verdict in verdicts.values()):
                since = now if since is None else since
                if now >= since + settle:
                    return
            else:
                since = None
            time.sleep(LOOK)

    def _ill(self, platform: str, verdict: Verdict) -> Failure:
        waited = "" if verdict.health is Health.ILL else f" after {self.timeout:g} s"
        session = self.sessions[platform]
        with contextlib.suppress(Failure):
            session.call("logs", on_say=lambda line: self.on_say(platform, line), lines=12, follow=False)
        return Failure(f"{platform} ({session.site}) is not healthy{waited}: {verdict.why}")

    def _undo_what_was_kept(self) -> None:
        """Where some have kept their new version and others have not, those go back as well."""
        if len(self._kept) == len(self.sessions):
            return
        for platform in self._kept:
            session, before = self.sessions[platform], self.before[platform]["version"]
            with contextlib.suppress(Failure):
                if before is None:
                    session.call("remove", purge=False)
                else:
                    session.call("begin", version=before)
                    session.call("stop")
                    session.call("switch", version=before)
                    session.call("start")
                    session.call("keep")
