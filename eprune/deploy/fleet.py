"""All devices of a system at once: connected to, looked at, and let go."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Optional, TypeVar

from eprune.deploy.session import Session
from eprune.deploy.sites import Site
from eprune.model.exit_codes import UNREACHED
from eprune.model.finding import Failure

T = TypeVar("T")


@dataclass(frozen=True)
class Question:
    """What a device is asked when it is looked at: which modules it has, and which addresses are its own.

    ``service``: the kind that is wished for.
    """

    modules: Sequence[str] = ()
    addresses: Sequence[str] = ()
    service: Optional[str] = None


@dataclass(frozen=True)
class Fleet:
    """The devices that answered, what they said of themselves, and why the others did not."""

    sessions: Mapping[str, Session]
    facts: Mapping[str, Mapping[str, Any]]
    silent: Mapping[str, Failure]

    def complete(self) -> None:
        """Raises Failure where a device has not answered."""
        if self.silent:
            first = next(iter(self.silent.values()))
            raise Failure("\n".join(map(str, self.silent.values())), first.exit_code or UNREACHED)

    def each(self, ask: Callable[[Session], T], names: Optional[Sequence[str]] = None) -> dict[str, T]:
        """The answers of all devices, or of these, which are asked at the same time. Raises Failure."""
        sessions = [self.sessions[name] for name in (self.sessions if names is None else names)]
        return dict(zip((session.site.platform for session in sessions), at_once(ask, sessions)))


def at_once(ask: Callable[[Any], T], things: Sequence[Any]) -> list[T]:
    """The results of all of these, which are made at the same time."""
    if not things:
        return []
    pool = ThreadPoolExecutor(len(things))
    try:
        return [future.result() for future in [pool.submit(ask, thing) for thing in things]]
    finally:
        pool.shutdown(wait=False)


@contextmanager
def fleet(
    application: str,
    sites: Sequence[Site],
    questions: Mapping[str, Question] = {},
    on_answer: Callable[[str], None] = lambda _: None,
) -> Iterator[Fleet]:
    """Connect to all devices, look at them, and let them go in the end, however that comes."""
    sessions: dict[str, Session] = {}
    silent: dict[str, Failure] = {}
    try:
        for site in sites:
            try:
                sessions[site.platform] = Session(site)
            except Failure as failure:
                silent[site.platform] = failure
        looks = at_once(
            lambda session: _look(session, application, questions.get(session.site.platform, Question()), on_answer),
            list(sessions.values()),
        )
        facts: dict[str, Mapping[str, Any]] = {}
        for platform, found in zip(list(sessions), looks):
            if isinstance(found, Failure):
                silent[platform] = found
            else:
                facts[platform] = found
        yield Fleet({name: sessions[name] for name in facts}, facts, silent)
    finally:
        for session in sessions.values():
            session.let_go()
        with contextlib.suppress(KeyboardInterrupt):
            at_once(lambda session: session.hang_up(), list(sessions.values()))


def _look(session: Session, application: str, question: Question, on_answer: Callable[[str], None]) -> Any:
    site = session.site
    try:
        found = session.call(
            "look",
            application=application,
            platform=site.platform,
            folder=site.folder,
            modules=list(question.modules),
            addresses=list(question.addresses),
            service=question.service,
        )
    except Failure as failure:
        return failure
    on_answer(site.platform)
    return found
