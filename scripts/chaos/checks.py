"""What must hold of a run that is over: no token lost that must not be, counts that add up, exit codes."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

from eprune.model.graph import FaultPolicy
from scripts.chaos.expect import Expected, identity, sources, upstream
from scripts.chaos.running import Run, numbers

SURE = (FaultPolicy.STOP, FaultPolicy.WAIT)


def lost(run: Run) -> int:
    """Tokens that are missing between the first and the last that a sink got."""
    runs = [each for sink in run.system.sinks for each in numbers(run.logs[sink].firings).values()]
    return sum(each[-1] - each[0] + 1 - len(set(each)) for each in runs)


def streams(run: Run, period: int, again: int = 1) -> Iterator[str]:
    """What is wrong with the tokens that actors got. ``again``: how many of them a restart may double."""
    system = run.system
    sure = all(system.fifos[name].policy in SURE for name in system.crossing)
    #: source that was never interrupted -> tokens that it made
    made = {
        identity(source): len(run.logs[source].firings)
        for source in system.sources
        if system.homes[source] in run.processes and not run.restarts(system.homes[source])
    }
    whole = all(process.returncode == 0 for process in run.processes.values())
    for actor in system.inputs:
        if not system.inputs[actor]:
            continue
        restarts = run.restarts(system.homes[actor])
        strict = sure and not any(run.restarts(platform) for platform in upstream(system, actor))
        if period:
            if strict:
                yield from _periodic(
                    actor, [token.number for f in run.logs[actor].firings for token in f.tokens], period
                )
            continue
        for (port, source, _), got in numbers(run.logs[actor].firings).items():
            name = f"{actor}.{port}"
            doubled = len(got) - len(set(got))
            if sum(b < a for a, b in zip(got, got[1:])) > restarts:  # one that is restarted may go back a little
                yield f"{name}: out of order"
            if doubled > restarts * again:
                yield f"{name}: {doubled} tokens came twice"
            if strict and got[0] != 0:
                yield f"{name}: tokens 0 to {got[0] - 1} are lost"
            if strict:
                there = sorted(set(got))
                gaps = [f"{a + 1} to {b - 1}" for a, b in zip(there, there[1:]) if b > a + 1]
                if gaps:
                    yield f"{name}: tokens {', '.join(gaps)} are lost"
            if strict and whole and fed_by_one(run, actor) and got[-1] != made.get(source, got[-1] + 1) - 1:
                yield f"{name}: {made[source] - 1 - got[-1]} tokens are lost in the end, and all exit with 0"


def incarnations(run: Run) -> Iterator[str]:
    """Tokens of an incarnation of their source that came after one of a later incarnation."""
    for actor, log in run.logs.items():
        latest: dict[tuple[str, int], int] = {}
        for firing in log.firings:
            for token in firing.tokens:
                before = latest.setdefault((token.port, token.source), token.incarnation)
                if token.incarnation < before:
                    yield f"{actor}.{token.port}: token {token.number} of a source's earlier incarnation comes late"
                latest[token.port, token.source] = max(before, token.incarnation)


def fed_by_one(run: Run, actor: str) -> bool:
    """Whether all that an actor gets comes from one source: otherwise it ends with the first that ends, and wants no
    more of the others.
    """
    return len(sources(run.system, actor, ())) == 1


def _periodic(actor: str, got: list[int], period: int) -> Iterator[str]:
    wrong = [place for place in range(period, len(got)) if got[place] != got[place - period]]
    if wrong:
        yield f"{actor}: result {wrong[0]} is not that of the same picture before"


def accounts(run: Run) -> Iterator[str]:
    """What does not add up in the run records."""
    records = {platform: run.record(platform) for platform in run.processes}
    for platform, record in records.items():
        if record is None:
            if platform not in run.surroundings.platforms or run.surroundings.disk is None:
                yield f"{platform}: no run record"
            continue
        for name, told in record["fifos"].items():
            yield from (f"{platform}, {name}: {wrong}" for wrong in _fifo(run, records, platform, name, told))


def _fifo(run: Run, records: dict[str, Any], platform: str, name: str, told: dict[str, Any]) -> Iterator[str]:
    fifo = run.system.fifos[name]
    firings = {
        member: actor["firings"] for actor in records[platform]["actors"].values() for member in actor["members"]
    }
    if told["kind"] != "rx" and told["tokens"] != firings[fifo.source.actor]:
        yield f"{told['tokens']} tokens sent by {firings[fifo.source.actor]} firings"
    if told["kind"] != "tx":
        used = told["consumed"] - told["discarded"]
        if used > firings[fifo.target.actor]:
            yield f"{used} tokens used by {firings[fifo.target.actor]} firings"
        if told["consumed"] > told["tokens"] + fifo.delay:
            yield f"{told['consumed']} tokens consumed of {told['tokens']}"
    if told["kind"] != "tx" or "confirmed" not in told:
        return
    if told["tokens"] != told["confirmed"] + told["dropped"]:
        yield f"{told['tokens']} tokens sent are not {told['confirmed']} confirmed and {told['dropped']} dropped"
    ended = run.processes[platform].returncode == 0 and fed_by_one(run, fifo.target.actor)
    if ended and fifo.policy is FaultPolicy.WAIT and told["dropped"]:
        yield f"exit code 0, and {told['dropped']} tokens of a FIFO that loses none dropped"
    there = (records.get(told["peer"]) or {}).get("fifos", {}).get(name)
    if there is None or run.restarts(told["peer"]) or run.restarts(platform):
        return
    if not told["confirmed"] <= there["tokens"] <= told["tokens"] + told["resent"]:
        yield f"{there['tokens']} tokens arrived of {told['tokens']} sent, {told['confirmed']} confirmed"
    if fifo.policy is FaultPolicy.WAIT and ended and there["tokens"] != told["tokens"]:
        yield f"{there['tokens']} tokens arrived of {told['tokens']}"


def codes(run: Run, expected: Expected, healed: bool) -> Iterator[str]:
    """Exit codes that are wrong, and failures without a clear message."""
    failing = set(expected.ended)
    if not healed:
        failing |= expected.tired
    for platform, process in run.processes.items():
        wanted = {1} if platform in failing else {0}
        if platform in expected.orphans and not healed:
            # The last is for who had just ended by itself: its record is there, as `accounts` sees.
            wanted = {0, 130, -signal.SIGTERM}
        errors = run.errors(platform)
        said = " ".join(errors) or "nothing said"
        if process.returncode not in wanted:
            yield f"{platform}: exit code {process.returncode}, not {max(wanted & {0, 1})}: {said}"
        elif len(errors) != (process.returncode > 0):
            yield f"{platform}: {len(errors)} errors with exit code {process.returncode}: {said}"
