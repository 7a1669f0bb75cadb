"""From what a program declares to what runs: FIFOs, links, connections and actors' threads."""

from __future__ import annotations

import argparse
import copy
import dataclasses
import hashlib
import math
import os
import time
from collections.abc import Sequence
from functools import partial
from queue import SimpleQueue
from typing import Any, Callable, Optional, Union

import numpy as np

from eprune.runtime.fire.checking import Checked
from eprune.runtime.fire.engine import Crew, Event
from eprune.runtime.fire.firing import Rates, RunningActor
from eprune.runtime.fire.matched import (
    TIMEOUT,
    ZERO_TIMEOUT,
    FollowingInput,
    HeldInput,
    Matched,
    MatchedInput,
    MatchedOutput,
    NewestInput,
    Starvation,
)
from eprune.runtime.fire.matched_ports import Inlet, Outlet, Standing
from eprune.runtime.fire.matching import Matcher
from eprune.runtime.fire.numbering import Numbering
from eprune.runtime.fire.opencl_actor import leave_on_devices
from eprune.runtime.fire.rates import Follow, Lead, Table
from eprune.runtime.fire.routed import AnswerInput, Answers, RoutedOutput, Sender
from eprune.runtime.fire.routing import Router
from eprune.runtime.fire.segment import Interpreters, SegmentActor
from eprune.runtime.fire.skipping import AwaitedInput, SkippingOutput
from eprune.runtime.kernel.actor import Actor
from eprune.runtime.kernel.adaptive import AdaptiveTimeout
from eprune.runtime.kernel.errors import UsageError
from eprune.runtime.kernel.fifo import Fifo, Input, Output
from eprune.runtime.kernel.held import Held
from eprune.runtime.kernel.newest import NewestFifo
from eprune.runtime.kernel.policy import STOP, ZERO, lossy
from eprune.runtime.main import scheduled, via
from eprune.runtime.main.declared import Declared, DeclaredActor, DeclaredFifo, DeclaredSegment, Live, port_types
from eprune.runtime.main.fifos import Maker
from eprune.runtime.main.options import CLUSTER, DEAD_AFTER, STOP_AFTER, addresses, parameters, script
from eprune.runtime.main.requirements import Requirements
from eprune.runtime.net.conditions import changes_of
from eprune.runtime.net.connection import Connection
from eprune.runtime.net.emulation import Emulation
from eprune.runtime.net.ends import TOGETHER, RxFifo, TxFifo
from eprune.runtime.net.greeting import Greeting
from eprune.runtime.net.handshake import Listeners
from eprune.runtime.net.network import Network
from eprune.runtime.net.shaping import Figures
from eprune.runtime.net.tls import Keys
from eprune.runtime.tell.journal import Journal
from eprune.runtime.tell.record import Activity


class Assembly:
    """The parts of one run. Raises UsageError if they cannot be assembled."""

    def __init__(
        self,
        declared: Declared,
        options: argparse.Namespace,
        events: SimpleQueue[Event],
        journal: Journal,
    ) -> None:
        self.declared = declared
        self._options = options
        self._events = events
        self._journal = journal
        self._addresses = addresses(options.link, declared.peers)
        self._keys = self._read_keys()
        #: what carries the connections that are not made directly
        self.tunnel = via.open_tunnel(declared, options, self._addresses, journal)
        actors = declared.actors
        own = {actor.name: actor.parameters for actor in actors if isinstance(actor, DeclaredActor)}
        self._parameters = parameters(options.set, own)
        #: unit -> what runs the models on it, of those that have some
        self.engines = declared.engines(options.interpreter)
        self.emulation = self._emulate(options.emulate_trace) if options.emulate or options.emulate_trace else None
        #: how this program identifies itself to its peers and in its record
        self.greeting = Greeting(
            declared.application,
            declared.platform,
            declared.digest,
            interpreter=", ".join(dict.fromkeys(engine.describe() for engine in self.engines.values())),
        )
        #: unit -> the cores that its threads are pinned to, if any
        self.cores = {
            name: frozenset() if options.no_pin else self._usable(name, unit.cores)
            for name, unit in declared.units.items()
        }
        #: actor -> its behaviour, of a service's actors that keep their state
        self._kept: dict[str, Actor] = {}
        self._make_parts()

    @property
    def warm_up(self) -> int:
        """How many firings of each actor come before what is measured."""
        return int(self._options.warm_up)

    def close(self) -> None:
        """End what runs beside the program."""
        if self.tunnel is not None:
            self.tunnel.close()

    def anew(self) -> Assembly:
        """The parts of a service's next stream. What keeps its state is handed on."""
        other = copy.copy(self)
        other._kept = {actor.name: actor.behaviour for actor in self.actors if actor.stays}
        other._make_parts()
        return other

    def _make_parts(self) -> None:
        self.incarnation = os.urandom(8).hex()
        self._adaptive = AdaptiveTimeout()
        #: group -> its verdict: for all actors, as whoever is late at one would be late at the next
        self._standings: dict[str, Standing] = {}
        self._maker = Maker(self.declared, self._adaptive, self._options.threads == CLUSTER)
        self.fifos = {fifo.name: self._maker.make(fifo, self._make_end) for fifo in self.declared.fifos}
        self.connections = self._make_connections()
        #: actor that sends by a route -> what it shares with the reader of the answers
        self._answers = {actor.live.answers[0]: Answers() for actor in self.declared.actors if actor.live.answers}
        #: unit -> the interpreters of its segments that share some
        self._shared: dict[str, Interpreters] = {}
        self.actors = [self._make_actor(actor) for actor in self.declared.actors]
        if not self._options.check and not self.declared.schedules:  # which copies each token; takes several at once
            leave_on_devices(self.declared.joined(), {actor.name: actor.behaviour for actor in self.actors})
        for actor in self.actors:
            actor.stays = self._options.serve and actor.behaviour.keeps_state
            actor.initialized = actor.name in self._kept
            actor.activity.warm_up = self.warm_up * (actor.repeats or 1)
        for fifo in self.declared.fifos:
            if fifo.peer:
                self.crossing[fifo.name].warm_up = self.warm_up * (fifo.iteration or fifo.rate)
        #: what measures the requirements, and what is done about late frames
        self.requirements = Requirements(self.declared, self.actors)
        self.crews = self._make_crews()
        self.requirements.share(self.crews)

    @property
    def crossing(self) -> dict[str, Activity]:
        """FIFO between platforms -> the activity of this program's end, in the order of declaration."""
        ends: dict[str, Any] = self.fifos
        return {fifo.name: ends[fifo.name].activity for fifo in self.declared.fifos if fifo.peer}

    def begin(self) -> None:
        """Called just before the first firing: from now on the application is running."""
        if self.emulation is not None:
            self.emulation.begin()
        for connection in self.connections:
            connection.greeting = dataclasses.replace(connection.greeting, running=True)
            for receiver in connection.rx.values():
                receiver.begin()
            for sender in connection.tx.values():
                sender.begun = sender.begun or connection.running
        for actor in self.actors:
            if isinstance(actor.matching, Matched) and not actor.inputs:
                ahead = max((connection.firing for connection in self.connections), default=0)
                actor.matching.numbering.last = max(actor.matching.numbering.last, ahead - 1)
        # Peers that were running before have dropped tokens, for which nobody must wait.
        behind = {id(fifo) for connection in self.connections if connection.running for fifo in connection.rx.values()}
        for port in [port for actor in self.actors for port in actor.inputs if isinstance(port, MatchedInput)]:
            if port.fifo.written == port.fifo.delay and id(port.fifo) in behind:
                port.fifo.lost = port.fifo.gone = True

    @property
    def links(self) -> int:
        """The number of connections, each of which begins and ends once."""
        return len(self.connections)

    def make_network(self, report: Callable[[Any], None], listeners: Optional[Listeners]) -> Network:
        """What carries the FIFOs to other platforms; ``listeners``: those of a service."""
        return Network(self.connections, report, listeners)

    def use(self, network: Network) -> None:
        """Threads that wait for what comes from other platforms wait for the sockets themselves."""
        for crew in self.crews:
            ends: list[Fifo] = []
            for actor in crew.actors:
                ends += [*(port.fifo for port in actor.inputs), *(port.fifo for port in actor.outputs)]
            if any(isinstance(fifo, (TxFifo, RxFifo)) for fifo in ends):
                crew.bell.lookout = network.lookout

    def _make_crews(self) -> list[Crew]:
        """What each thread fires.

        Clusters of a unit that is a core share its thread: it would fire only one of them at a time anyway. Not so
        those whose next step cannot be foreseen or may take any time: where rates change, or an actor waits for the
        world. Where tokens may be lost, clusters share no thread: a consumer that hangs must not hold up others. And
        the actors of one do not wait for each other, for what an actor does not get the next one must learn.
        """
        carriers = {
            id(fifo): connection
            for connection in self.connections
            for fifo in (*connection.rx.values(), *connection.tx.values())
        }
        if self.declared.schedules:
            made = scheduled.crews(self.declared, self.actors, self.cores, self._options.threads == CLUSTER)
            return [self._make_crew(cores, clusters, carriers) for cores, clusters in made]
        units = {actor.name: actor.unit for actor in self.declared.actors}
        together, aligned = self._options.threads == CLUSTER, self.declared.aligned
        named = {actor.name: actor for actor in self.actors}
        foreseen = {actor.name for actor in self.actors if actor.matching is not None and actor.rates is None}
        chosen = [names for names in self.declared.clusters if together and (not aligned or foreseen.issuperset(names))]
        members = [[named.pop(name) for name in names] for names in chosen]
        shared: dict[frozenset[int], list[list[RunningActor]]] = {}
        crews: list[tuple[frozenset[int], list[list[RunningActor]]]] = []
        for actors in [*members, *([actor] for actor in named.values())]:
            unit = units[actors[0].name]
            cores = self.cores[unit]
            # An accelerator computes beside the core.
            alone = len(cores) != 1 or self.declared.units[unit].engine.beside
            if aligned:
                crews.append((cores, [[actor] for actor in actors]))
            elif alone or not together or any(actor.rates or actor.behaviour.waits for actor in actors):
                crews.append((cores, [actors]))
            elif cores in shared:
                shared[cores].append(actors)
            else:
                crews.append((cores, shared.setdefault(cores, [actors])))
        return [self._make_crew(cores, clusters, carriers) for cores, clusters in crews]

    def _make_crew(
        self, cores: frozenset[int], clusters: list[list[RunningActor]], carriers: dict[int, Connection]
    ) -> Crew:
        crew = Crew(clusters, cores, kept=scheduled.kept(clusters))
        feeds: dict[Connection, None] = {}
        for actor in crew.actors:
            actor.use(crew.bell)
            fifos = [port.fifo for port in actor.outputs]
            fifos += [port.fifo for port in actor.inputs if isinstance(port.fifo, RxFifo) and port.fifo.prompt]
            feeds.update({carriers[id(fifo)]: None for fifo in fifos if id(fifo) in carriers})
            self._report_with_tokens(actor, carriers)
        sent = [port.fifo for actor in crew.actors for port in actor.outputs if isinstance(port.fifo, TxFifo)]
        for end in sent:
            end.together = TOGETHER * len(sent)
        crew.bell.leave = tuple(connection.flush for connection in feeds)
        return crew

    def _report_with_tokens(self, actor: RunningActor, carriers: dict[int, Connection]) -> None:
        """What an actor sends to a platform takes along what is to be reported to that platform."""
        if actor.matching is None and actor.rates is None:
            sending = {carriers.get(id(port.fifo)) for port in actor.outputs}
            ends: list[RxFifo] = []
            for port in actor.inputs:
                if isinstance(port.fifo, RxFifo) and carriers[id(port.fifo)] in sending:
                    port.fifo.rides = True
                    ends.append(port.fifo)
            actor.reporting = ends

    def _emulate(self, trace: Optional[str]) -> Emulation:
        changes = () if trace is None else changes_of(trace, self.declared.platform)
        emulation = Emulation(
            {peer: self.declared.figures.get(peer, Figures()) for peer in self.declared.peers},
            {actor.unit: self.declared.units[actor.unit].slowdown for actor in self.declared.actors},
            changes,
        )
        self._journal.log("note", f"emulated: {emulation}")
        return emulation

    def _usable(self, unit: str, cores: frozenset[int]) -> frozenset[int]:
        if not cores or not hasattr(os, "sched_setaffinity"):
            return frozenset()
        missing = sorted(cores - os.sched_getaffinity(0))
        if missing:
            named = f"core{'s' * (len(missing) > 1)} {', '.join(map(str, missing))}"
            what = f"unit {unit}: {named} {'are' if len(missing) > 1 else 'is'} not available on this machine"
            self._journal.log("note", f"{what}; its threads are not pinned")
            return frozenset()
        return cores

    def _make_end(self, fifo: DeclaredFifo, initial: Optional[np.ndarray]) -> Fifo:
        """This platform's end of a FIFO to or from another one."""
        return self._maker.end(fifo, initial)

    def _read_keys(self) -> Optional[Keys]:
        """What TLS needs, if some link has it."""
        peer = next((fifo.peer for fifo in self.declared.fifos if fifo.security == "tls"), "")
        if not peer:
            return None
        if not self._options.keys:
            raise UsageError(
                f"the link to {peer} uses TLS, for which this platform needs a certificate: add --keys FOLDER; "
                f"'eprune certify FOLDER {self.declared.platform} {peer}' makes one"
            )
        keys = Keys(self._options.keys, self.declared.platform)
        if keys.warning:
            self._journal.log("warning", keys.warning)
        return keys

    def _greet(self, fifo: DeclaredFifo, name: str, token: str) -> Greeting:
        """How this program identifies itself on the connection of a FIFO."""
        figures = None if self.emulation is None else self.emulation.links[fifo.peer].figures
        return dataclasses.replace(
            self.greeting, fifo=name, token=token, incarnation=self.incarnation, emulated=figures
        )

    def _equip(self, end: Connection, fifo: DeclaredFifo) -> None:
        """Give an end what its link needs: emulation, TLS, an SSH tunnel."""
        if self.emulation is not None:
            end.emulated = self.emulation.links[fifo.peer]
        if fifo.security == "tls":
            end.keys = self._keys
        elif fifo.security == "ssh":
            end.tunnel = f"an SSH tunnel {{}} it open? {script(self.declared.platform)} runs this program with one"
        if fifo.via and self.tunnel is not None:
            end.tunnel = "its tunnel at the same router, or on the same network (--zenoh)?"

    def _dead_after(self, fifos: list[DeclaredFifo]) -> float:
        """Seconds of silence after which the peer of these FIFOs is dead."""
        stops = any(fifo.policy == STOP for fifo in fifos)
        usual = self._options.dead_after or (STOP_AFTER if stops else DEAD_AFTER)
        return min((fifo.timeout for fifo in fifos if fifo.timeout is not None), default=usual)

    def _make_connections(self) -> list[Connection]:
        """A connection for each FIFO between platforms, or one for all that share it."""
        groups: dict[str, list[DeclaredFifo]] = {}
        for fifo in self.declared.fifos:
            if fifo.peer:
                groups.setdefault(f"platform {fifo.peer}" if fifo.shared else f"FIFO {fifo.name}", []).append(fifo)
        # Both ends declare their TX FIFOs first.
        return [self._make_connection(sorted(fifos, key=lambda fifo: fifo.number)) for fifos in groups.values()]

    def _make_connection(self, fifos: list[DeclaredFifo]) -> Connection:
        first = fifos[0]
        name, greeted, token = f"FIFO {first.name!r}", first.name, first.token
        if first.shared:
            types = [f"{fifo.name} {fifo.token}" for fifo in fifos]
            name, greeted = f"link to {first.peer!r}", f"{len(fifos)} FIFOs"
            token = hashlib.sha256("\n".join(types).encode()).hexdigest()
        channels: dict[int, Any] = {fifo.number: self.fifos[fifo.name] for fifo in fifos}
        connection = Connection(
            name,
            first.peer,
            self._greet(first, greeted, token),
            channels,
            via.place_of(self.declared, self._options, self._addresses, self.tunnel, first, name),
            first.target is None,
            self._dead_after(fifos),
            getattr(self._options, "patience", 0.0),  # an option where something waits
            self._events.put,
            self._journal,
        )
        self._equip(connection, first)
        return connection

    def _note(self, actor: str, text: str) -> None:
        self._journal.log("note", f"actor {actor!r}: {text}", actor=actor)

    def _round_trip(self, platform: str) -> Optional[float]:
        """Seconds to a platform and back, by the connection that is fastest."""
        known = [each.clocks.round_trip for each in self.connections if each.peer == platform]
        return min((each / 1e6 for each in known if each is not None), default=None)

    def _make_actor(self, actor: Union[DeclaredActor, DeclaredSegment]) -> RunningActor:
        consumed, produced = self.declared.consumed(actor.name), self.declared.produced(actor.name)
        engine = self.declared.engine(actor, self._options.interpreter)
        behaviour = self._kept.get(actor.name) or actor.make(
            self.declared.files, engine, self._parameters.get(actor.name, {})
        )
        if isinstance(behaviour, SegmentActor) and actor.live.shares:
            behaviour.interpreters = self._shared.setdefault(actor.unit, Interpreters())
        behaviour.name = actor.name
        behaviour.tell = partial(self._note, actor.name)
        behaviour.round_trip = self._round_trip
        behaviour.inputs = port_types(consumed, True)
        behaviour.outputs = port_types(produced, False)
        frames = self._options.frames
        repeats = self.declared.repeats(actor.name)
        limit = None if consumed or frames is None else (frames + self.warm_up) * (repeats or 1)
        behaviour.most_firings = limit
        fire: Callable[..., Any] = behaviour.fire
        choose: Callable[..., Any] = behaviour.control
        if self.emulation:
            fire, choose = self.emulation.fire(actor.unit, fire), self.emulation.fire(actor.unit, choose)
        if self._options.check:
            checked = Checked(actor.name, fire, choose)
            fire, choose = checked.fire, checked.control
        if self.declared.aligned:
            return self._make_matched(actor, behaviour, limit, fire, choose)
        inputs = [Input(port, self.fifos[fifo.name], max(fifo.takes)) for port, fifo in consumed.items()]
        outputs = [Output(port, self.fifos[fifo.name], max(fifo.gives)) for port, fifo in produced.items()]
        rates: Optional[Rates] = scheduled.phases(inputs, outputs, consumed, produced)
        rates = rates or self._make_rates(behaviour, inputs, outputs, choose)
        taken = None if rates is None or rates.leads else self._control_of(inputs)
        nested = actor.live.nested
        return RunningActor(actor.name, behaviour, inputs, outputs, limit, fire, rates, None, taken, nested, repeats)

    def _control_of(self, ports: list[Any]) -> list[Any]:
        """Those ports that carry control tokens."""
        control = {fifo.name for fifo in self.declared.fifos if fifo.control}
        return [port for port in ports if port.fifo.name in control]

    def _make_rates(
        self, behaviour: Actor, inputs: list[Any], outputs: list[Any], choose: Callable[..., Any]
    ) -> Optional[Rates]:
        """How the token rates of an actor change, if they do."""
        listens, speaks = self._control_of(inputs), self._control_of(outputs)
        if not listens and not speaks:
            return None
        dpg = self._dpg_of(listens or speaks)
        table = Table(dpg, self.declared.tables[dpg])
        made = [port for port in outputs if port not in speaks]
        if listens:
            return Follow(behaviour, listens, [port for port in inputs if port not in listens], made, table)
        return Lead(behaviour, speaks, made, table, choose)

    def _make_matched(
        self,
        actor: Union[DeclaredActor, DeclaredSegment],
        behaviour: Actor,
        limit: Optional[int],
        fire: Callable[..., Any],
        choose: Callable[..., Any],
    ) -> RunningActor:
        """An actor of an application that may lose tokens."""
        consumed, produced = self.declared.consumed(actor.name), self.declared.produced(actor.name)
        if any(fifo.control for fifo in consumed.values()):
            return self._make_following(actor, behaviour, fire, choose)
        optional, quorum = (actor.optional, actor.quorum or 1) if isinstance(actor, DeclaredActor) else ((), 1)
        live = actor.live
        lines = {port: line for line, group in enumerate(live.groups) for port in group}
        standings = self._standings
        inputs = []
        for port, fifo in consumed.items():
            inlet = Inlet(
                port,
                fifo.acting,
                fifo.rate,
                port not in optional,
                fifo.timeout or (ZERO_TIMEOUT if fifo.policy == ZERO else TIMEOUT if port in optional else None),
                line=lines.get(port, 0),
                ordered=fifo.delay > 0 or live.relays,
                sparse=live.relays and len(lines) > 1,
                hold=port in live.hold,
                max_age=live.max_age.get(port),
                standing=standings.setdefault(fifo.group, Standing()) if fifo.group else None,
            )
            inputs.append(self._matched_input(fifo, inlet, live))
        self._adapt([(port.inlet, consumed[port.name]) for port in inputs])
        outputs = []
        for port, fifo in produced.items():
            room = None if fifo.route or live.relays else fifo.room_wait
            standing = standings.setdefault(fifo.group, Standing()) if fifo.group else None
            outlet = Outlet(port, fifo.acting, fifo.rate, room, standing=standing)
            end: Any = self.fifos[fifo.name]
            made = RoutedOutput(port, end, fifo.rate, outlet, end) if fifo.route else None
            outputs.append(made or MatchedOutput(port, end, fifo.rate, outlet))
            if fifo.range and room is not None:
                floor, ceiling = fifo.range
                self._adaptive.add(outputs[-1], room * floor / ceiling, room)
        stalls = [port.outlet.timeout for port in outputs if port.outlet.lossy and port.outlet.timeout]
        numbering = Numbering(
            time.time(), live.clock, live.rate, stall=min(stalls, default=None), offset=time.time() - time.monotonic()
        )
        inlets, outlets = [port.inlet for port in inputs], [port.outlet for port in outputs]
        patience = getattr(self._options, "patience", math.inf)
        relays = live.relays and len(lines) < 2
        matcher = Matcher(inlets, outlets, quorum, patience=patience, numbering=numbering, relays=relays)
        rates = self._make_rates(behaviour, inputs, outputs, choose)
        # Those that follow by their control tokens alone pass it on; their data never lacks a token.
        told = self._control_of(outputs) or outputs
        early, route = rates is not None, self._make_sender(actor.name, outputs, patience)
        matched = Matched(behaviour, inputs, outputs, told, matcher, numbering, limit, early, route)
        return RunningActor(actor.name, behaviour, inputs, outputs, None, fire, rates, matched)

    def _adapt(self, inputs: Sequence[tuple[Inlet, DeclaredFifo]]) -> None:
        """The time-outs of an actor's inputs that are ranges follow what tokens take."""
        ranges = {inlet: fifo.range for inlet, fifo in inputs if fifo.range}
        if ranges:
            waits = self._adaptive.waits(max(ceiling for _, ceiling in ranges.values()))
            for inlet, (floor, ceiling) in ranges.items():
                inlet.waits = waits
                self._adaptive.add(inlet, floor, ceiling)

    def _matched_input(self, fifo: DeclaredFifo, inlet: Inlet, live: Live) -> MatchedInput:
        """An actor's end of a FIFO whose tokens may be missing."""
        end, port = self.fifos[fifo.name], inlet.name
        if port in live.answers[1:]:
            sender, *ports = live.answers
            return AnswerInput(port, end, fifo.rate, inlet, ports.index(port), self._answers[sender])
        if isinstance(end, Held):
            return HeldInput(port, end, fifo.rate, inlet)
        return (NewestInput if isinstance(end, NewestFifo) else MatchedInput)(port, end, fifo.rate, inlet)

    def _make_sender(self, actor: str, outputs: list[Any], patience: float) -> Optional[Sender]:
        """What sends an actor's tokens by a route, if it has one."""
        routed = [output for output in outputs if isinstance(output, RoutedOutput)]
        if not routed:
            return None
        fifos = [fifo for fifo in self.declared.produced(actor).values() if fifo.route]
        capacities = [fifo.capacity + fifo.window for fifo in fifos]
        timeout = min(fifo.timeout or TIMEOUT for fifo in fifos)
        router = Router(capacities, timeout, fifos[0].route == "sticky", fifos[0].keeps)
        return Sender(actor, routed, router, self._answers.get(actor), patience)

    def _make_following(
        self,
        actor: Union[DeclaredActor, DeclaredSegment],
        behaviour: Actor,
        fire: Callable[..., Any],
        choose: Callable[..., Any],
    ) -> RunningActor:
        """A member of a dynamic processing graph: nothing is lost in there, but there may be nothing for a while."""
        consumed, produced = self.declared.consumed(actor.name), self.declared.produced(actor.name)
        optional = actor.optional if isinstance(actor, DeclaredActor) else ()
        inputs = [self._followed(port, fifo, port not in optional) for port, fifo in consumed.items()]
        outputs = [
            SkippingOutput(port, self.fifos[fifo.name], fifo.rate, fifo.room_wait)
            if lossy(fifo.acting)
            else Output(port, self.fifos[fifo.name], fifo.rate)
            for port, fifo in produced.items()
        ]
        control = self._control_of(inputs)
        dynamic = {fifo for row in self.declared.tables[self._dpg_of(control)].values() for fifo in row}
        starvation = Starvation([port for port in outputs if port.fifo.name not in dynamic])
        control[0].starve = starvation.tell
        for port in control[1:]:
            port.starve = lambda starved: None

        def fire_alive(tokens: dict[str, Any], buffers: dict[str, Any]) -> None:
            fed = [port.name for port in inputs if not (port.fifo.lost or port.fifo.ended)]
            behaviour.alive = frozenset([*fed, *(port.name for port in outputs if port.fifo.connected)])
            fire(tokens, buffers)

        rates = self._make_rates(behaviour, inputs, outputs, choose)
        for port in inputs:
            if isinstance(port, AwaitedInput) and rates is not None:
                port.rates = rates
        return RunningActor(actor.name, behaviour, inputs, outputs, None, fire_alive, rates, None, control)

    def _followed(self, port: str, fifo: DeclaredFifo, required: bool) -> Input:
        """An input of an actor that follows control tokens."""
        end = self.fifos[fifo.name]
        if fifo.control:
            return FollowingInput(port, end, fifo.rate)
        if lossy(fifo.acting):
            return AwaitedInput(port, end, fifo.rate, fifo.timeout or TIMEOUT, required)
        return Input(port, end, fifo.rate)

    def _dpg_of(self, ports: list[Any]) -> str:
        """The dynamic processing graph whose control tokens come to these inputs."""
        first = self._control_of(ports)[0].fifo.name
        return next(fifo.control or "" for fifo in self.declared.fifos if fifo.name == first)
