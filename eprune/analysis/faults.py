"""Rules F1 (the service survives so many failures, on request) and F2 (what a graph says of faults makes sense).

What a graph says of live data belongs to F2, too: it loses tokens on purpose.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Optional

from eprune.analysis.failures import FaultModel, Outcome, Service, Verdict
from eprune.analysis.lookup import some, untold
from eprune.analysis.nests import Nests
from eprune.analysis.rules import violation
from eprune.model.finding import Finding, Location
from eprune.model.graph import Actor, Dpg, FaultPolicy, Fifo, Graph

#: How many of many actors or FIFOs a finding names.
_NAMED = 8

# F1


def not_survived(system: FaultModel, outcome: Outcome, service: Service) -> Finding:
    """F1: a minimal set of failures that the service does not survive, why, and what would help."""
    if outcome.failed:
        failed = " and ".join(map(str, outcome.failed))
        message = f"{failed} fail{'s' * (len(outcome.failed) == 1)}: {_consequence(system, outcome, service)}"
        where = outcome.failed[0].where
    else:
        message, where = f"even if nothing fails, {outcome.missing}", system.graph.where
    return violation("F1", where, message, _help(system, outcome, service), related=tuple(_reasons(system, outcome)))


def _consequence(system: FaultModel, outcome: Outcome, service: Service) -> str:
    many = len(outcome.culprits) > 1
    fifos = f"FIFO{'s' * many} {some(outcome.culprits)}"
    if outcome.verdict is Verdict.STOPS:
        why = f"because {fifos} break{'s' * (not many)}"
        ended = [actor for actor, home in system.homes.items() if home in outcome.ended and actor not in outcome.gone]
        if len(ended) + len(outcome.gone) == len(system.inputs):
            return f"the run stops {why}"
        essential = [actor for actor in service.essential if actor in ended]
        lone = len(essential) == 1
        return f"the process{'es' * (not lone)} of {some(essential)} end{'s' * lone} {why}"
    if outcome.verdict is Verdict.STALLS:
        return f"{fifos} wait{'s' * (not many)}; {_standing(outcome)}{_zeros(outcome)}"
    return outcome.missing


def _zeros(outcome: Outcome) -> str:
    """Who goes on all the same, but with zeros."""
    if not outcome.zeros:
        return ""
    return f"; {some(outcome.zeros)} go{'es' * (len(outcome.zeros) == 1)} on with zeros"


def _standing(outcome: Outcome) -> str:
    """Who comes to a stand after how many iterations, the first ones first."""
    actors: dict[int, list[str]] = {}
    for actor, count in outcome.iterations.items():
        actors.setdefault(count, []).append(actor)
    parts = [f"{some(actors[n])} after {n} iteration{'s' * (n != 1)}" for n in sorted(actors)[:_NAMED]]
    parts += [f"{len(actors) - _NAMED} more groups later"] * (len(actors) > _NAMED)
    return f"standing still: {', '.join(parts)}"


def _reasons(system: FaultModel, outcome: Outcome) -> Iterator[tuple[Location, str]]:
    """Where to look: the FIFOs that break with a process left at an end, processes that end, actors that starve."""
    for fifo in _noticed(system, outcome)[:_NAMED]:
        policy = f"policy {fifo.policy.value}" if fifo.name in system.crossing else "within a platform"
        yield fifo.where, f"FIFO '{fifo.name}' from '{fifo.source}' to '{fifo.target}' breaks ({policy})"
    if outcome.verdict is not Verdict.STOPS:
        for platform in [each for each in system.system.platforms if each.name in outcome.ended][:_NAMED]:
            yield platform.where, f"the process of platform '{platform.name}' ends"
    for actor in [actor for actor in system.graph.actors if actor.name in outcome.starved][:_NAMED]:
        lost = {*outcome.starved, *outcome.iterations}
        broken = [f for f in system.inputs[actor.name] if f.name in outcome.broken or f.source.actor in lost]
        needed = [str(fifo.target) for fifo in broken if fifo.name in system.required]
        why = f"it requires {some(needed)}" if needed else f"its quorum is {system.quorum[actor.name]}"
        yield actor.where, f"'{actor.name}' starves: {why}"


def _noticed(system: FaultModel, outcome: Outcome) -> list[Fifo]:
    """The FIFOs that break with what fails, and of which a process that was left has an end.

    Those that only break because a process ends are left out.
    """
    gone = set(outcome.gone)
    cut = frozenset[str]().union(*(thing.fifos for thing in outcome.failed))
    return [
        fifo
        for fifo in system.graph.fifos
        if fifo.name in outcome.broken
        and not {fifo.source.actor, fifo.target.actor} <= gone
        and (fifo.name in cut or {fifo.source.actor, fifo.target.actor} & gone)
    ]


def _help(system: FaultModel, outcome: Outcome, service: Service) -> str:
    """Policies and inputs with which this set would be survived; where there are none, one more platform."""
    if not outcome.failed:
        return "join sources and essential sinks, or name other sinks (--essential)"
    some_source = replace(service, sources="some")
    milder = service.sources != "some"
    if milder and system.outcome(outcome.failed, some_source).verdict is Verdict.DEGRADED:
        return (
            "some source still reaches an essential sink: ask with --service some if that is enough; else "
            + _change_policies(system, outcome, service, None)
        )
    return _change_policies(system, outcome, service, some_source if milder else None)


def _change_policies(system: FaultModel, outcome: Outcome, service: Service, milder: Optional[Service]) -> str:
    """What to write so that the service goes on, or a ``milder`` one where nothing helps it."""
    lenient = system.like(_lenient(system))
    best = lenient.outcome(outcome.failed, service)
    longer = "; a larger capacity bridges a longer failure" * (outcome.verdict is Verdict.STALLS)
    asking = ""
    if best.verdict is not Verdict.DEGRADED:
        platform = "let one more platform do the same (see 'eprune replicate')"
        if milder is None:
            return f"no policy helps: {platform}{longer}"
        best = lenient.outcome(outcome.failed, milder)
        if best.verdict is not Verdict.DEGRADED:
            return f"no policy helps: {platform}{longer}"
        asking = f", and ask with --service some if it is enough that some source is served; else {platform}"
    advice: dict[str, list[str]] = {}
    for fifo in _noticed(lenient, best):
        if fifo.name in system.crossing and fifo.policy is not system.fifos[fifo.name].policy:
            advice.setdefault(f'policy="{fifo.policy.value}" for', []).append(fifo.name)
        if fifo.target.actor not in best.gone and fifo.name in system.required - lenient.required:
            advice.setdefault('required="false" at', []).append(str(fifo.target))
    for actor in outcome.starved:
        if actor not in best.starved and system.quorum[actor] > 1:
            advice.setdefault("a lower quorum for", []).append(actor)
    return "write " + " and ".join(f"{what} {some(names)}" for what, names in advice.items()) + asking + longer


def _lenient(system: FaultModel) -> Graph:
    """The graph with the most forgiving policy everywhere: drop and optional inputs, zero where a slice needs them."""
    slices = {actor.name for actor in system.graph.actors if actor.behaviour and actor.behaviour.needs_all_inputs}

    steady = set(_inside(system.graph))

    def mild(fifo: Fifo) -> FaultPolicy:
        keeps = fifo.policy in (FaultPolicy.ZERO, FaultPolicy.NEWEST) or fifo.route is not None
        if fifo.name in system.control or fifo in steady or keeps:
            return fifo.policy
        return FaultPolicy.ZERO if fifo.target.actor in slices else FaultPolicy.DROP

    actors = tuple(
        replace(
            actor,
            quorum=None,
            ports=tuple(replace(port, required=port.control or actor.name in slices) for port in actor.ports),
        )
        for actor in system.graph.actors
    )
    fifos = tuple(replace(fifo, policy=mild(fifo)) for fifo in system.graph.fifos)
    return replace(system.graph, actors=actors, fifos=fifos)


# F2


#: The policies of a FIFO that may lose tokens.
LOSSY = (FaultPolicy.DROP, FaultPolicy.ZERO, FaultPolicy.NEWEST)


def declarations(graph: Graph) -> Iterator[Finding]:
    """F2: an actor can live with its policies, optional inputs and quorum, and with what is said of live data."""
    control = {ref for ref, port in graph.ports() if port.control}
    alone = detached(graph)
    for fifo in graph.fifos:
        what = f"FIFO '{fifo.name}'"
        if fifo.policy in LOSSY and {fifo.source, fifo.target} & control and fifo.target.actor not in alone:
            message = f"{what}: policy {fifo.policy.value} on a control FIFO would shift every later row"
            yield violation("F2", fifo.where, message, 'write policy="wait" or policy="stop"')
        if fifo.ack is not Fifo.ack and fifo.policy is not FaultPolicy.WAIT:
            message = f'{what}: ack="{fifo.ack.value}" with policy {fifo.policy.value}, which sends nothing again'
            yield violation("F2", fifo.where, message, 'write policy="wait", or leave ack out')
        if fifo.policy not in LOSSY:
            for name, value in (("room-timeout", fifo.room_timeout), ("group", fifo.group)):
                if value is not None:
                    message = f"{what}: {name} with policy {fifo.policy.value}, which waits"
                    yield violation("F2", fifo.where, message, f'write policy="drop", or leave {name} out')
        if fifo.timeout_floor is not None:
            yield from _adapts(graph, fifo)
    for actor in graph.actors:
        yield from _inputs(actor)
        yield from _numbering(actor)
    yield from _losses(graph)


def _adapts(graph: Graph, fifo: Fifo) -> Iterator[Finding]:
    """A time-out that follows what tokens take needs an actor that matches tokens, and goes on without them."""
    target = graph.actor(fifo.target.actor)
    following = target is not None and any(port.control for port in target.inputs)
    if fifo.policy is not FaultPolicy.DROP or following:
        why = "at an actor with a control input" if following else f"with policy {fifo.policy.value}"
        message = f"FIFO '{fifo.name}': a time-out that is a range {why}, where it does not adapt"
        yield violation("F2", fifo.where, message, "state one time")


def _numbering(actor: Actor) -> Iterator[Finding]:
    """What is said of how an actor numbers its firings has a meaning for it."""
    data = sum(not port.control for port in actor.inputs)
    if actor.match is not None and (data < 2 or data < len(actor.inputs)):
        why = f"with {data or 'no'} data input{'s' * (data != 1)}" if data < 2 else "with a control input"
        message = f"actor '{actor.name}': match=\"{actor.match.value}\" {why} chooses nothing"
        yield violation("F2", actor.where, message, "leave match out")
    for name, value in (("clock", actor.clock), ("rate", actor.rate)):
        if value is not None and actor.inputs:
            message = f"actor '{actor.name}': {name} is for sources, and it has inputs"
            yield violation("F2", actor.where, message, f"leave {name} out")
    if actor.clock is not None and actor.rate is not None and actor.rate > actor.clock:
        message = f"actor '{actor.name}': a rate of {actor.rate:g}/s is more than its clock of {actor.clock:g}/s counts"
        yield violation("F2", actor.where, message, "write a rate up to that of the clock")


def _losses(graph: Graph) -> Iterator[Finding]:
    """Inside a dynamic processing graph all tokens of a row arrive, or its actors would be in different rows.

    But a branch that gets no control token may be entered and left by ``drop``: whoever follows control tokens knows of
    which firing a token is, and the branch does without those that do not come.
    """
    held = {ref for ref, port in graph.ports() if port.hold}
    lossy = {fifo: f"policy {fifo.policy.value}" for fifo in graph.fifos if fifo.policy in LOSSY}
    lossy.update({fifo: "hold" for fifo in graph.fifos if fifo.target in held and fifo not in lossy})
    control = {ref for ref, port in graph.ports() if port.control}
    branches = Branches(graph)
    for fifo, dpg in _inside(graph).items():
        if fifo in lossy and fifo.source not in control and not branches.parted(fifo):
            message = f"FIFO '{fifo.name}': {lossy[fifo]} inside the dynamic processing graph '{dpg.name}'"
            hint = 'write policy="wait" or policy="stop"; outside any policy will do'
            yield violation("F2", fifo.where, message, "leave hold out" if lossy[fifo] == "hold" else hint)
    if lossy:
        yield from _branches(graph, branches, lossy)
    led_apart = [dpg for dpg in graph.dpgs if dpg.control != dpg.entry]
    if not lossy or not led_apart:
        return
    for dpg in led_apart:
        before = _before(graph, {dpg.control, dpg.entry})
        losing = [
            fifo.name
            for fifo in graph.fifos
            if fifo in lossy and fifo.target.actor in before and branches.matters(fifo, dpg)
        ]
        if losing:
            message = (
                f"'{dpg.control}' and '{dpg.entry}' of the dynamic processing graph '{dpg.name}' can lack tokens of "
                f"different firings, for {some(losing)} may lose some"
            )
            yield violation("F2", dpg.where, message, "let the entry be the control source")


def _branches(graph: Graph, branches: Branches, lossy: Mapping[Fifo, str]) -> Iterator[Finding]:
    """How a branch that gets no control tokens may be entered and left."""
    ports = dict(graph.ports())
    entered: dict[str, Fifo] = {}
    for fifo in graph.fifos:
        if fifo not in lossy or not branches.parted(fifo):
            continue
        end = ports[fifo.target]
        if fifo.policy is not FaultPolicy.DROP or end.hold:
            message = f"FIFO '{fifo.name}': {lossy[fifo]} at a branch that gets no control tokens"
            yield violation("F2", fifo.where, message, 'write policy="drop": its token counts if it is in time')
            continue
        if not branches.leaves(fifo):
            entered.setdefault(branches.of(fifo.target.actor), fifo)
        elif end.required:
            message = f"FIFO '{fifo.name}' may lose what {fifo.target} needs"
            yield violation("F2", fifo.where, message, f'write required="false" at {fifo.target}')
        if end.url > 1:
            message = f"FIFO '{fifo.name}' may lose some of the {end.url} tokens of a firing"
            yield violation("F2", fifo.where, message, 'let one token have it all: rate="0..1"')
    for fifo in graph.fifos:
        into = entered.get(branches.of(fifo.source.actor))
        if into is not None and branches.parted(fifo) and branches.leaves(fifo) and fifo not in lossy:
            message = (
                f"FIFO '{fifo.name}' brings {fifo.target} what may not be there, for '{into.name}' may lose tokens"
            )
            hint = f'write policy="drop" at it, and required="false" at {fifo.target}'
            yield violation("F2", fifo.where, message, hint, related=((into.where, f"'{into.name}' is here"),))


def detached(graph: Graph) -> frozenset[str]:
    """The members of dynamic processing graphs all of whose FIFOs, the control FIFO too, have the policy ``drop``.

    Without a control token of an index such a member is idle in it (design, section 6: L8).
    """
    members = {name for dpg in graph.dpgs for name in dpg.members}
    control = {ref for ref, port in graph.ports() if port.control}
    told = {fifo.target.actor for fifo in graph.fifos if fifo.target in control}
    kept = {
        end.actor for fifo in graph.fifos if fifo.policy is not FaultPolicy.DROP for end in (fifo.source, fifo.target)
    }
    return frozenset((members & told) - kept)


class Branches:
    """The parts of dynamic processing graphs that need no control token of these: inner graphs, DPAs without one, and
    members that ``drop`` leads to and from (``detached``).
    """

    def __init__(self, graph: Graph) -> None:
        nests = Nests(graph)
        alone = untold(graph)
        inner = {name: dpg.name for name, dpg in nests.home.items() if dpg.inside}
        away = detached(graph)
        self._nests, self._level = nests, nests.level
        #: actor -> the branch that it is in
        self._branch: dict[str, str] = {}
        for name, dpg in nests.home.items():
            if name in away:
                self._branch[name] = f"{dpg.name}/{name}"
            elif name in alone:
                self._branch[name] = f"{dpg.name}/"
            elif name in inner:
                self._branch[name] = inner[name]

    def parted(self, fifo: Fifo) -> bool:
        """Whether a FIFO leads into such a branch, or out of it, inside of a dynamic processing graph."""
        source, target = self._branch.get(fifo.source.actor), self._branch.get(fifo.target.actor)
        return source != target and self._level(fifo.source) is not None

    def of(self, actor: str) -> str:
        """The branch that an actor is in; "" for none."""
        return self._branch.get(actor, "")

    def matters(self, fifo: Fifo, dpg: Dpg) -> bool:
        """Whether what a FIFO loses is missing at the entry of a graph: what a branch loses is so within it only."""
        return not self.parted(fifo) or self.of(fifo.target.actor) == self.of(dpg.entry) != ""

    def leaves(self, fifo: Fifo) -> bool:
        """Whether it leads out of one, rather than into a graph inside of it."""
        branch = self._branch.get(fifo.source.actor)
        return branch is not None and (branch not in self._nests.dpgs or bool(self._nests.crossed(fifo)[0]))


def _before(graph: Graph, actors: set[str]) -> set[str]:
    """These actors, and all from which data comes to them."""
    sources: dict[str, set[str]] = {}
    for fifo in graph.fifos:
        sources.setdefault(fifo.target.actor, set()).add(fifo.source.actor)
    found, new = set(actors), set(actors)
    while new:
        new = {source for name in new for source in sources.get(name, ())} - found
        found |= new
    return found


def _inside(graph: Graph) -> dict[Fifo, Dpg]:
    """The FIFOs between actors of one dynamic processing graph."""
    home = {name: dpg for dpg in graph.dpgs for name in dpg.actors}
    return {
        fifo: home[fifo.source.actor]
        for fifo in graph.fifos
        if fifo.source.actor in home and home.get(fifo.target.actor) is home[fifo.source.actor]
    }


def _inputs(actor: Actor) -> Iterator[Finding]:
    for port in actor.inputs:
        for name, stated in (("hold", port.hold), ("max-age", port.max_age is not None)):
            if stated and port.control:
                message = f"actor '{actor.name}': {name} at the control input '{port.name}' would shift every later row"
                yield violation("F2", port.where, message, f"leave {name} out")
        if not port.required and port.control:
            message = f"actor '{actor.name}': the control input '{port.name}' is always required"
            yield violation("F2", port.where, message, "leave required out")
        elif not port.required and actor.behaviour and actor.behaviour.needs_all_inputs:
            message = f"actor '{actor.name}' is a slice of a model, which needs its input '{port.name}'"
            hint = 'leave required out, and give the FIFO policy="zero" where zeros will do'
            yield violation("F2", port.where, message, hint)
    data = sum(not port.control for port in actor.inputs)
    held = [port for port in actor.inputs if port.hold]
    if held and all(port.hold or port.control for port in actor.inputs):
        message = f"actor '{actor.name}': all its inputs are on hold, so that none leads"
        yield violation("F2", held[0].where, message, "leave hold out at the input that is to set the pace")
    if actor.quorum is not None and actor.quorum > data:
        message = f"actor '{actor.name}': a quorum of {actor.quorum}, but {data or 'no'} data inputs"
        hint = f"write a quorum of 1 to {data}" if data else "leave quorum out"
        yield violation("F2", actor.where, message, hint)
