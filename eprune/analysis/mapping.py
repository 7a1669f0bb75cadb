"""Rules M1 to M4: where actors run, on which links FIFOs cross, what memory they take, what is fused.

Start-up cannot block (part of M2). Each process first opens a listening socket for every FIFO that it receives, then
connects every FIFO that it sends, trying again until the peer listens, and at the same time accepts what it receives;
actors start once all are connected. Opening a socket waits for nobody, so every listener is there in the end, whatever
the order in which processes start; a connection waits for its listener only; and no handshake waits for another FIFO's.
So nothing can wait in a circle, and what is left to check is that each FIFO's connection finds its own listener: both
platforms state the same base port and so give each FIFO the same number, and no two FIFOs listen on one port of a
platform. (A process that finished its sending handshakes before it accepted any would block as soon as FIFOs run both
ways between two platforms. The runtime must not, and no check here could save it.) Where the FIFOs of a link share one
connection, there is one listener, at the receiver of the first of them, and each FIFO has a credit of its own: a full
one holds up none of its neighbours, so whatever is live with a connection each is live with one for all.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, Optional

from eprune.analysis.fusing import Activity, Wiring, activities, model_file, tight, wirings
from eprune.analysis.lookup import Guesser, buffer_bytes, fifo_rates, slot_bytes, some, windows
from eprune.analysis.precedence import components, contract, cycle_through, explain, precedence
from eprune.analysis.routes import routes
from eprune.analysis.rules import violation
from eprune.analysis.sdf.repetition import rates_at_ends, repetition
from eprune.model.finding import Finding, Location
from eprune.model.graph import Actor, FaultPolicy, Fifo, Graph
from eprune.model.interface import Interface
from eprune.model.mapping import Mapping as PlatformMapping
from eprune.model.mapping import Placement
from eprune.model.platform import Link, Platform, Security
from eprune.model.quantity import exact_size, format_size
from eprune.model.system import System

#: a part of a host name; names with an underscore occur, and resolve
_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")

# M1


def placements(system: System) -> list[Finding]:
    """M1: each mapping puts every actor in one place that exists, and the platforms' mappings agree."""
    graph, platforms, mappings = system.graph, system.platforms, system.mappings
    return [
        *_files(graph, platforms, mappings),
        *(finding for mapping in mappings for finding in _placed(graph, platforms, mapping)),
        *_agreement(mappings),
    ]


def _files(graph: Graph, platforms: Sequence[Platform], mappings: Sequence[PlatformMapping]) -> Iterator[Finding]:
    """M1: the files belong together, and there is one platform and one mapping of each name."""
    guesser = Guesser()
    for platform in platforms:
        for what, named in (("unit", platform.units), ("link to", platform.links)):
            seen: dict[str, Location] = {}
            for item in named:
                name = item.to if isinstance(item, Link) else item.name
                if name in seen:
                    message = f"platform '{platform.name}': {what} '{name}' is defined twice"
                    hint = "remove or rename one of them"
                    yield violation("M1", item.where, message, hint, related=((seen[name], "first defined here"),))
                seen.setdefault(name, item.where)
    for kind, files in (("platform", platforms), ("mapping of platform", mappings)):
        first: dict[str, Location] = {}
        for file in files:
            name = file.platform if isinstance(file, PlatformMapping) else file.name
            if name in first:
                message = f"a second {kind} '{name}'"
                hint = "give one file for each platform"
                yield violation("M1", file.where, message, hint, related=((first[name], "the first is here"),))
            first.setdefault(name, file.where)
    for mapping in mappings:
        if mapping.application != graph.name:
            message = f"a mapping of application '{mapping.application}', but the application is '{graph.name}'"
            yield violation("M1", mapping.where, message, f'write application="{graph.name}", or give another file')
        known = [platform.name for platform in platforms]
        if mapping.platform not in known:
            near = guesser.guess(mapping.platform, known)
            hint = f"did you mean '{near}'?" if near else "give the platform's file too (-p)"
            message = f"a mapping of platform '{mapping.platform}', whose platform file is not given"
            yield violation("M1", mapping.where, message, hint)
    mapped = {mapping.platform for mapping in mappings}
    for platform in platforms:
        if platform.name not in mapped:
            message = f"platform '{platform.name}' has no mapping file"
            yield violation("M1", platform.where, message, "give its mapping too (-m), or leave the platform out")


def _placed(graph: Graph, platforms: Sequence[Platform], mapping: PlatformMapping) -> Iterator[Finding]:
    """M1: one mapping puts each actor, and nothing else, on one unit of its platform or on one other platform."""
    platform = next((platform for platform in platforms if platform.name == mapping.platform), None)
    units = None if platform is None else {unit.name: unit for unit in platform.units}
    actors = {actor.name for actor in graph.actors}
    guesser = Guesser()
    first: dict[str, Placement] = {}
    meant = set()
    for placement in mapping.placements:
        what = f"mapping of '{mapping.platform}': actor '{placement.actor}'"
        if placement.actor not in actors:
            near = guesser.guess(placement.actor, actors)
            meant.add(near)
            hint = f"did you mean '{near}'?" if near else "remove it"
            yield violation("M1", placement.where, f"{what} is not in application '{graph.name}'", hint)
        elif placement.actor in first:
            where = first[placement.actor].where
            related = ((where, "it is first mapped here"),)
            yield violation("M1", placement.where, f"{what} is mapped twice", "map it once", related=related)
        first.setdefault(placement.actor, placement)
        if (placement.unit is None) == (placement.platform is None):
            hint = 'write unit="..." to run it here, or platform="..." to run it elsewhere'
            yield violation("M1", placement.where, f"{what} needs either a unit or a platform", hint)
        elif placement.platform == mapping.platform:
            hint = f'write unit="{next(iter(units))}"' if units else 'write unit="..."'
            yield violation("M1", placement.where, f"{what} is mapped to this platform, but to no unit", hint)
        elif placement.unit is not None and units is not None and placement.unit not in units:
            message = f"{what}: platform '{mapping.platform}' has no unit '{placement.unit}'"
            yield violation("M1", placement.where, message, guesser.hint(placement.unit, units))
    missing = [actor.name for actor in graph.actors if actor.name not in first and actor.name not in meant]
    if missing:
        message = f"mapping of '{mapping.platform}': no place for {some(missing)}"
        hint = f'add <map actor="{missing[0]}" unit="..."/>, or platform="..." if it runs elsewhere'
        yield violation("M1", mapping.where, message, hint)


def _agreement(mappings: Sequence[PlatformMapping]) -> Iterator[Finding]:
    """M1: each mapping puts an actor on the same platform as the first one that names it."""
    home: dict[str, tuple[PlatformMapping, Placement]] = {}
    for mapping in mappings:
        for placement in mapping.placements:
            other, earlier = home.setdefault(placement.actor, (mapping, placement))
            own, earlier_home = mapping.home(placement), other.home(earlier)
            if other is not mapping and own != earlier_home:
                message = (
                    f"actor '{placement.actor}' is on '{own}' in the mapping of '{mapping.platform}', "
                    f"but on '{earlier_home}' in that of '{other.platform}'"
                )
                related = ((earlier.where, f"the mapping of '{other.platform}' puts it on '{earlier_home}'"),)
                yield violation("M1", placement.where, message, "make the mappings agree", related=related)


# M2


def crossings(graph: Graph, mapping: PlatformMapping) -> dict[str, list[Fifo]]:
    """Other platform -> the FIFOs between it and this platform, in either direction, in the application's order."""
    homes = mapping.homes()
    result: dict[str, list[Fifo]] = {}
    for fifo in graph.fifos:
        source, target = homes.get(fifo.source.actor), homes.get(fifo.target.actor)
        if source == mapping.platform and target not in (None, source):
            result.setdefault(str(target), []).append(fifo)
        elif target == mapping.platform and source not in (None, target):
            result.setdefault(str(source), []).append(fifo)
    return result


def links(system: System) -> list[Finding]:
    """M2: FIFOs between platforms have a link and TCP ports of their own, the same at both ends."""
    findings: list[Finding] = []
    for platform, mapping in _pairs(system.platforms, system.mappings):
        crossing = crossings(system.graph, mapping)
        findings += _missing_links(platform, crossing)
        findings += _port_numbers(platform, mapping, crossing)
    return [*findings, *addresses(system.platforms), *_one_host(system), *_both_ends(system.platforms)]


def _pairs(
    platforms: Sequence[Platform], mappings: Sequence[PlatformMapping]
) -> Iterator[tuple[Platform, PlatformMapping]]:
    """Each platform with its mapping."""
    mapping_of = {mapping.platform: mapping for mapping in mappings}
    for platform in platforms:
        if platform.name in mapping_of:
            yield platform, mapping_of[platform.name]


def _missing_links(platform: Platform, crossing: Mapping[str, Sequence[Fifo]]) -> Iterator[Finding]:
    guesser = Guesser()
    for peer, fifos in crossing.items():
        if platform.link(peer) is None:
            more = f" and {len(fifos) - 1} more" if len(fifos) > 1 else ""
            near = guesser.guess(peer, [link.to for link in platform.links])
            yield violation(
                "M2",
                platform.where,
                f"platform '{platform.name}' has no link to '{peer}', which FIFO '{fifos[0].name}'{more} needs",
                f'add <link to="{peer}" address="..." port="..."/>' + (f"; or is '{near}' meant?" if near else ""),
                related=tuple((fifo.where, f"FIFO '{fifo.name}' crosses here") for fifo in fifos[:3]),
            )


def _port_numbers(
    platform: Platform, mapping: PlatformMapping, crossing: Mapping[str, Sequence[Fifo]]
) -> Iterator[Finding]:
    """M2: TCP ports are in range, and no two FIFOs that this platform receives listen on the same one."""
    homes = mapping.homes()
    listener: dict[int, tuple[Link, Fifo]] = {}
    for link in platform.links:
        fifos = crossing.get(link.to, ())
        if link.shared:
            fifos = fifos[:1]
        last = link.port + max(len(fifos), 1) - 1
        if link.port < 1 or last > 65535:
            used = f"ports {link.port} to {last} for its {len(fifos)} FIFOs" if len(fifos) > 1 else f"port {link.port}"
            message = f"platform '{platform.name}': the link to '{link.to}' uses {used}, outside of 1 to 65535"
            yield violation("M2", link.where, message, "choose another base port")
        clash: Optional[tuple[int, Link, Fifo, Fifo]] = None
        for number, fifo in enumerate(fifos, link.port):
            if homes[fifo.target.actor] == platform.name:
                other = listener.setdefault(number, (link, fifo))
                if other[0] is not link and clash is None:
                    clash = (number, *other, fifo)
        if clash is not None:
            number, other_link, other_fifo, fifo = clash
            message = (
                f"platform '{platform.name}': FIFO '{fifo.name}' from '{link.to}' and FIFO '{other_fifo.name}' "
                f"from '{other_link.to}' would both listen on port {number}"
            )
            hint = f"move a link's base port out of {link.port} to {last}, in both platforms' files"
            yield violation("M2", link.where, message, hint, related=((other_link.where, "the other link"),))


class _Listener(NamedTuple):
    """What listens on a TCP port of a platform's host: the platform itself, or the near end of its SSH tunnel."""

    platform: Platform
    link: Link
    number: int
    what: str
    tunnel: bool = False


def _one_host(system: System) -> Iterator[Finding]:
    """M2: platforms that are reached at one address, or over loopback, do not listen on the same port of that host."""
    homes, named = system.homes, {platform.name: platform for platform in system.platforms}
    hosts = {name: name for name in named}
    listening: list[_Listener] = []
    for platform, mapping in _pairs(system.platforms, system.mappings):
        at: dict[str, str] = {}
        for peer, fifos in crossings(system.graph, mapping).items():
            link, far = platform.link(peer), named.get(peer)
            back = far.link(platform.name) if far else None
            carried = fifos[:1] if link is not None and link.shared else fifos
            dialled = [(k, fifo) for k, fifo in enumerate(carried) if homes[fifo.target.actor] == peer]
            if link is None or far is None or back is None or not dialled:
                continue
            tunnelled = link.security is Security.SSH
            for k, fifo in dialled:
                listening.append(_Listener(far, back, link.port + k, f"FIFO '{fifo.name}' to '{peer}'"))
                if tunnelled:
                    tunnel = f"the SSH tunnel of FIFO '{fifo.name}' to '{peer}'"
                    listening.append(_Listener(platform, link, link.port + k, tunnel, tunnel=True))
            # One address means one host where one platform dials both; elsewhere it may be that of another network.
            first = platform.name if _is_loopback(link.address) else at.setdefault(link.address, peer)
            if not ((tunnelled or link.via is not None) and _is_loopback(link.address)):
                one, same = hosts[first], hosts[peer]
                hosts = {name: one if host == same else host for name, host in hosts.items()}
    taken: dict[tuple[str, int], _Listener] = {}
    for each in listening:
        other = taken.setdefault((hosts[each.platform.name], each.number), each)
        if other is not each and (other.platform is not each.platform or other.tunnel or each.tunnel):
            apart = other.platform is not each.platform
            who = f"platforms '{other.platform.name}' and '{each.platform.name}' are on one host, by its address: "
            yield violation(
                "M2",
                each.link.where,
                f"{who if apart else ''}{other.what} and {each.what} would both listen on port {each.number} of "
                f"{'it' if apart else repr(each.platform.name)}",
                "give one of the links another base port, in both platforms' files",
                related=((other.link.where, "the other link"),),
            )


def _is_loopback(address: str) -> bool:
    try:
        return address == "localhost" or ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def addresses(platforms: Sequence[Platform]) -> Iterator[Finding]:
    """M2: the address of a link is a host name or an IP address that can exist."""
    for platform in platforms:
        for link in platform.links:
            wrong = _wrong_address(link.address)
            if wrong:
                message = (
                    f"platform '{platform.name}': the link to '{link.to}' has the address '{link.address}', {wrong}"
                )
                hint = (
                    'write an IP address, such as 192.168.1.10 or [fe80::1], or a host name; the port into port="..."'
                )
                yield violation("M2", link.where, message, hint)


def _wrong_address(text: str) -> str:
    """What is wrong with an address; an empty text for nothing."""
    try:
        if ":" in text:
            ipaddress.IPv6Address(text.partition("%")[0])
        elif not text.strip("0123456789."):
            ipaddress.IPv4Address(text)
        elif len(text) > 253 or not all(map(_LABEL.fullmatch, text.rstrip(".").split("."))):
            return "which is no host name"
    except ValueError:
        return "which is no IP address"
    return ""


def _both_ends(platforms: Sequence[Platform]) -> Iterator[Finding]:
    """M2: a link that two platforms' files both have has the same base port, sharing and security in both."""
    for index, platform in enumerate(platforms):
        for other in platforms[:index]:
            far, near = other.link(platform.name), platform.link(other.name)
            if near is not None and far is not None:
                for (what, one), (_, two) in zip(_agreed(far), _agreed(near)):
                    if one != two:
                        message = (
                            f"the link between '{other.name}' and '{platform.name}' has {one} in the file of "
                            f"'{other.name}', and {two} in that of '{platform.name}'"
                        )
                        related = ((far.where, f"{one} is stated here"),)
                        yield violation("M2", near.where, message, f"state the same {what} in both", related=related)
        if platform.link(platform.name) is not None:
            message = f"platform '{platform.name}' has a link to itself"
            yield violation("M2", platform.where, message, "remove it: FIFOs within a platform need none")


def _agreed(link: Link) -> tuple[tuple[str, str], ...]:
    """What both ends of a link state alike: a name for it, and what this end says."""
    return (
        ("base port", f"port {link.port}"),
        ("ports", f'ports="{"shared" if link.shared else "each"}"'),
        ("security", f'security="{link.security.value}"'),
        ("via", "no via" if link.via is None else f'via="{link.via.value}"'),
        ("window", f'window="{exact_size(link.window)}"'),
    )


def groups(system: System) -> Iterator[Finding]:
    """M2: FIFOs of one group cross between the same two platforms, in either direction."""
    homes = system.homes
    first: dict[str, tuple[Fifo, tuple[str, str]]] = {}
    for fifo in system.graph.fifos:
        ends = homes.get(fifo.source.actor, ""), homes.get(fifo.target.actor, "")
        if fifo.group is None or "" in ends or ends[0] == ends[1]:
            continue
        other, expected = first.setdefault(fifo.group, (fifo, ends))
        if set(ends) != set(expected):
            message = (
                f"FIFO '{fifo.name}' of group '{fifo.group}' goes from '{ends[0]}' to '{ends[1]}', but "
                f"'{other.name}' from '{expected[0]}' to '{expected[1]}': they are not late together"
            )
            related = ((other.where, f"FIFO '{other.name}' is here"),)
            yield violation("M2", fifo.where, message, "give each pair of platforms a group", related)


# M3


def memory_use(
    graph: Graph,
    mapping: PlatformMapping,
    interfaces: Mapping[str, Interface],
    under_way: Mapping[str, int] = MappingProxyType({}),
) -> dict[str, int]:
    """Bytes by what takes them, ``FIFO 'f1'`` or ``weights of 'L1'``, on a mapping's platform.

    Tokens count with the slots that they take, control tokens too. A FIFO that crosses platforms has a ring of its
    capacity, and of its window (``under_way``: FIFO name -> tokens), on each. The sender of a route keeps as many
    tokens as may be under way, and the reader may have to put aside the answer to each. The sender of a multi-rate FIFO
    under WAIT keeps the tokens of an iteration besides. What fusing saves is not taken off.
    """
    homes = mapping.homes()
    sizes, slots = buffer_bytes(graph), slot_bytes(graph)
    use = {
        f"FIFO '{fifo.name}'": sizes[fifo.name] + under_way.get(fifo.name, 0) * slots[fifo.name]
        for fifo in graph.fifos
        if mapping.platform in (homes.get(fifo.source.actor), homes.get(fifo.target.actor))
    }
    if graph.is_sdf:
        found = repetition(graph)
        for fifo, rates in zip(graph.fifos, rates_at_ends(graph)):
            sends = homes.get(fifo.source.actor) == mapping.platform != homes.get(fifo.target.actor)
            if sends and fifo.policy is FaultPolicy.WAIT:
                use[f"FIFO '{fifo.name}'"] += found.tokens(fifo, rates) * slots[fifo.name]
    for route in routes(graph):
        if homes.get(route.source) == mapping.platform:
            tokens = [fifo.capacity + under_way.get(fifo.name, 0) for fifo in route.fifos]
            kept = sum(count * slots[fifo.name] for count, fifo in zip(tokens, route.fifos))
            aside = sum(tokens) * max((slots[fifo.name] for fifo in route.answers), default=0)
            use[f"route of '{route.source}'"] = kept + aside
    for actor in graph.actors:
        if actor.name in interfaces and homes.get(actor.name) == mapping.platform:
            use[f"weights of '{actor.name}'"] = interfaces[actor.name].weight_bytes
    return use


def overfull(system: System) -> dict[str, float]:
    """Platform -> how many times as much memory as it has FIFO buffers and weights take, where that is too much."""
    under_way = windows(system)
    found = {}
    for platform, mapping in _pairs(system.platforms, system.mappings):
        total = sum(memory_use(system.graph, mapping, system.interfaces, under_way).values())
        if platform.memory is not None and total > platform.memory:
            found[platform.name] = total / max(platform.memory, 1)
    return found


def memory(system: System) -> Iterator[Finding]:
    """M3: FIFO buffers and model weights fit a platform's memory, where it states one."""
    under_way = windows(system)
    for platform, mapping in _pairs(system.platforms, system.mappings):
        use = memory_use(system.graph, mapping, system.interfaces, under_way)
        total = sum(use.values())
        if platform.memory is not None and total > platform.memory:
            largest = [item for item in sorted(use.items(), key=lambda item: -item[1]) if item[1]][:5]
            yield violation(
                "M3",
                platform.where,
                f"platform '{platform.name}' has {format_size(platform.memory)} of memory, "
                f"but FIFO buffers and weights take {format_size(total)}",
                "most of it: " + ", ".join(f"{what} {format_size(nbytes)}" for what, nbytes in largest),
            )


# M4


class _Group(NamedTuple):
    """What a mapping puts into one segment."""

    title: str
    members: list[Placement]

    def finding(self, place: Placement, why: str, hint: str, related: Sequence[tuple[Location, str]] = ()) -> Finding:
        """A finding of M4 at one of the members."""
        return violation("M4", place.where, f"{self.title} cannot be fused: {why}", hint, related=tuple(related))


def segments(system: System) -> Iterator[Finding]:
    """M4: slices that a mapping puts into one segment can be fused. The precedence graph must be acyclic."""
    graph = system.graph
    groups: list[_Group] = []
    for mapping in system.mappings:
        named: dict[str, list[Placement]] = {}
        for placement in mapping.placements:
            if placement.segment is not None:
                named.setdefault(placement.segment, []).append(placement)
        groups += [
            _Group(f"segment '{name}' of platform '{mapping.platform}'", members) for name, members in named.items()
        ]
    if not groups:
        return
    actors = {actor.name: actor for actor in graph.actors}
    loops = [fifo for fifo in graph.fifos if tight(fifo)]
    wires = wirings(graph, system.interfaces)
    active = activities(graph)
    like = []
    for group in groups:
        finding = _unlike(group, actors, active) or _tight_within(group, loops) or _joined_wrongly(group, wires)
        if finding is None:
            like.append(group)
        else:
            yield finding
    yield from _cyclic(graph, like)


def _unlike(group: _Group, actors: Mapping[str, Actor], active: Mapping[str, Activity]) -> Optional[Finding]:
    """M4: a segment is made of slices of one model with rate 1, on one unit, active together."""
    first = group.members[0]
    for placement in group.members:
        actor = actors[placement.actor]
        if placement.unit is None:
            why = f"'{actor.name}' runs on another platform"
        elif not actor.is_slice:
            why = f"'{actor.name}' is not a slice of a model"
        elif actor.name not in active:
            why = f"'{actor.name}' has a port with another rate than 1"
        elif placement.unit != first.unit:
            why = f"'{first.actor}' is on unit '{first.unit}', '{actor.name}' on unit '{placement.unit}'"
        elif model_file(actor) != model_file(actors[first.actor]):
            why = f"'{first.actor}' and '{actor.name}' are slices of two model files"
        elif active[actor.name] != active[first.actor]:
            rows = "are not active in the same rows of a dynamic processing graph"
            paces = "fire at different paces: newest or hold is between them"
            apart = isinstance(active[actor.name], int) and isinstance(active[first.actor], int)
            why = f"'{first.actor}' and '{actor.name}' {paces if apart else rows}"
        else:
            continue
        return group.finding(placement, why, f"take '{actor.name}' out of the segment")
    return None


def _tight_within(group: _Group, loops: Sequence[Fifo]) -> Optional[Finding]:
    """M4: a FIFO with a delay between two slices of a segment, a loop of the segment, has room beside its delay."""
    members = {placement.actor: placement for placement in group.members}
    for fifo in loops:
        source, target = fifo.source.actor, fifo.target.actor
        if source != target and source in members and target in members:
            why = f"FIFO '{fifo.name}' would be its loop: capacity {fifo.capacity} < delay {fifo.delay} + rate 1"
            hint = f"give FIFO '{fifo.name}' a capacity of {fifo.delay + 1}"
            return group.finding(members[target], why, hint, [(fifo.where, f"FIFO '{fifo.name}' is here")])
    return None


def _joined_wrongly(group: _Group, wires: Mapping[str, Wiring]) -> Optional[Finding]:
    """M4: a segment's slices are joined as the model joins their operators, as far as their tensors are known.

    Wirings are used up: each actor is in one segment.
    """
    known = [placement for placement in group.members if placement.actor in wires]
    for placement in known[1:]:
        clash = wires[known[0].actor].clash(wires[placement.actor])
        if clash:
            return group.finding(placement, clash, f"take '{placement.actor}' out of the segment")
        wires[known[0].actor].absorb(wires[placement.actor])
    return None


def _cyclic(graph: Graph, groups: Sequence[_Group]) -> Iterator[Finding]:
    """M4: each segment, with those before it, contracted to one node leaves the precedence graph acyclic."""
    whole = precedence(graph)
    sets = [[placement.actor for placement in group.members] for group in groups]
    if not components(contract(whole, sets)):
        return
    fifos = {fifo.name: fifo for fifo in graph.fifos}
    rates = fifo_rates(graph)
    fused: list[list[str]] = []
    for group, members in zip(groups, sets):
        outgoing = contract(whole, [*fused, members]).outgoing()
        node = next(name for name in members if name in outgoing)
        cycle, _ = cycle_through(node, outgoing)
        if not cycle:
            fused.append(members)
            continue
        why = f"it would wait for itself through {some(edge.target for edge in cycle[:-1])}"
        hint = "take actors out of the segment, or put those between into it if they are slices on the same unit"
        reasons = [(fifos[edge.fifo].where, explain(edge, fifos[edge.fifo], rates[edge.fifo])) for edge in cycle]
        yield group.finding(group.members[0], why, hint, reasons)
