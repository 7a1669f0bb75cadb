"""How a network is shared out over platforms, each of which decides for itself how much of it to run.

In all tables, a row is a pair: the block at which a frame comes in, and the one at which it goes out again. A device
without exits and every server is one table; a device with exits is a nest, a level for each exit, behind which a second
graph sends what is left to do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Optional

from eprune.formats.behaviours.model_slice import ModelSlice
from eprune.model.graph import ActorType, PortRef
from eprune.model.interface import Interface
from eprune.model.system import System
from eprune.model.token import TokenType
from eprune.passes._names import plain
from eprune.passes._offload_network import Network
from eprune.passes._offload_sheet import LEAVE, On, Sheet, Table
from eprune.passes.compress import COMPRESSOR, DECOMPRESSOR, Coding
from eprune.passes.exits import Exit

#: bytes of the numbers in a token that crosses, before the tensor
HEADER = 8
#: how many numbers a report begins with, before those that the next platform tells, and what a packer says of a token
REPORTED, SENT = 5, TokenType("float64", (3,))
#: how many bytes a decider wants to be sent in vain
PADDING = TokenType("int32", (1,))
#: a server's number, and when it was chosen or how many seconds it took
CHOICE = TokenType("float64", (2,))
#: whether there was no answer
MISSING = TokenType("int32", (1,))
DECIDER, ANSWER = "Decide", "Answer"
#: the names of the dynamic processing graphs: the device's, that of what it sends, the last platform's, and that of
#: frames that got no answer, and that of the choice among servers
OUTER, SENDING, INNER, RETRYING, SERVERS = "Offload", "Send", "Rest", "Again", "Servers"


class Wiring:
    """The graph's new actors, FIFOs and tables.

    ``platforms``: the device and the others, each of which may send to the next. ``deciders``: the parameters of the
    deciding actor of each platform but the last. ``exits``: number of blocks before it -> an exit. ``retry``: after how
    many seconds without an answer the device computes a frame itself; None: it waits. ``beside``: platforms that may do
    what the first server does.
    """

    def __init__(
        self,
        system: System,
        network: Network,
        platforms: Sequence[str],
        deciders: Sequence[Mapping[str, str]],
        exits: Mapping[int, Exit],
        frames: int,
        retry: Optional[float] = None,
        beside: Sequence[str] = (),
        last: bool = False,
        codings: Mapping[int, Coding] = {},
    ) -> None:
        self.retry, self.besides, self.last, self.codings = retry, beside, last, codings
        self.network, self.platforms, self.deciders, self.exits = network, platforms, deciders, exits
        self.sheet = Sheet(system, frames, network.inside)
        self.frames = frames
        self.count = len(network.blocks)
        ports = self.sheet.ports
        self.answer = ports[network.blocks[-1].out.source].token
        self.tokens = [*(ports[block.into.source].token for block in network.blocks), self.answer]
        #: what a cut carries, by the number of blocks before it
        self.cuts = [
            TokenType("uint8", (self.codings[number].most(token),), True) if number in self.codings else token
            for number, token in enumerate(self.tokens)
        ]
        self.sizes = [token.nbytes + HEADER for token in self.cuts]
        self.cut = TokenType("uint8", (max(self.sizes),), True)
        self.passed = TokenType("uint8", (HEADER + self.answer.nbytes,), True)
        #: number of blocks before an exit -> its head
        self.heads: dict[int, ModelSlice] = {}
        #: an actor of the network, and a platform's suffix -> its copy there
        self.copies: dict[tuple[str, str], str] = {}
        #: file name -> the model of an exit's head, or a projection
        self.files: dict[str, bytes] = {}
        #: actor -> what is known of its parameters
        self.interfaces: dict[str, Interface] = {}
        self.decide = self.sheet.part(
            DECIDER, ActorType.DA, platforms[0], "offload_decider.py:OffloadDecider", deciders[0]
        )
        self.sheet.into(network.blocks[0].into, PortRef(self.decide, "in"))
        if exits:
            self._nest()
        else:
            self._device()
        self.sheet.lead()

    # The device

    def _device(self) -> None:
        """A choice that is made once, before the first block."""
        sheet, home, count = self.sheet, self.platforms[0], self.count
        pack = self._packer("Pack", ActorType.DPA, home)
        answer = self._answer(ANSWER, home)
        table = sheet.table(OUTER, {row: (0, row) for row in range(count + 1)}, self.decide, answer)
        self._head(table, pack)
        source = self._out(count - 1, "")
        sheet.join(source, PortRef(answer, "local"), self.answer, (table, lambda _, out: out == count))
        self._pads(table, pack)
        self._hand_over(0, table, PortRef(pack, "cut"), PortRef(pack, "sent"))
        self._result(answer)
        self._report(0, answer, self.decide)

    def _nest(self) -> None:
        """A choice before the first block, and one after each exit; then what is left is sent, or the answer is there.

        What a level decided leaves it as one token, an answer being a cut behind the last block.
        """
        sheet, home, count = self.sheet, self.platforms[0], self.count
        ends = [*sorted(self.exits), count]
        numbers = [{"exit": str(level)} if level and self.last else {} for level in range(len(ends))]
        packs = [
            self._packer(f"Pack{level}" if level else "Pack", ActorType.DA, home, numbers[level])
            for level in range(len(ends))
        ]
        gates = [self._gate(number, place, ends[number]) for number, place in enumerate(ends[:-1], 1)]
        rows = {row: (0, row) for row in range(ends[0] + 1)}
        table = sheet.table(OUTER, rows, self.decide, packs[0])
        for level, end in enumerate(ends):
            if level:
                begin = ends[level - 1]
                rows = {0: LEAVE, **{row: (begin, row) for row in range(begin, end + 1)}}
                table = sheet.table(f"{OUTER}{level}", rows, gates[level - 1], packs[level], table.name)
                self._behind_gate(table, level, begin, end, packs[level])
            else:
                self._head(table, packs[0], end)
            if level + 1 < len(ends):
                self._before_gate(table, end, gates[level], packs[level + 1], packs[level])
            else:
                target = PortRef(packs[level], f"block{count}")
                sheet.join(self._out(count - 1, ""), target, self.answer, (table, lambda _, out: out == count))
        sender = sheet.part("Sender", ActorType.DA, home, "offload_sender.py:OffloadSender", {"blocks": str(count)})
        answer = self._answer(ANSWER, home)
        # Its rows are of a frame that is answered, and of one that goes on.
        sending = sheet.table(SENDING, {0: (count, count), 1: (0, 0)}, sender, answer)
        sheet.join(PortRef(packs[0], "cut"), PortRef(sender, "cut"), self.cut)
        sheet.beside(PortRef(self.decide, "padding"), PortRef(packs[0], "padding"), PADDING)
        here = PortRef(sender, "answer"), PortRef(answer, "local")
        sheet.join(*here, self.answer, (sending, lambda _, out: out == count))
        self._hand_over(0, sending, PortRef(sender, "onwards"), PortRef(sender, "sent"), always=True)
        self._result(answer, packs[0])
        self._report(0, answer, self.decide)

    def _result(self, answer: str, pack: str = "") -> None:
        """The answer leaves the graph; where there may be none, by a second graph, which computes what is missing."""
        sheet, home, count = self.sheet, self.platforms[0], self.count
        if self.retry is None:
            sheet.out_of(self.network.blocks[-1].out, PortRef(answer, "out"))
            return
        again = sheet.part("Retry", ActorType.DA, home, "retry.py:Retry")
        result = sheet.part("Result", ActorType.DA, home, "merge.py:Merge")
        # Its rows are of a frame that is answered, and of one that is computed from the first block on.
        end = min(self.exits) if self.last else count
        table = sheet.table(RETRYING, {0: (count, count), 1: (0, end)}, again, result)
        sheet.join(PortRef(self.decide, "frame"), PortRef(again, "frame"), self.tokens[0], room=self.frames + 2)
        sheet.join(PortRef(answer, "out"), PortRef(again, "answer"), self.answer)
        sheet.join(PortRef(answer, "missing"), PortRef(again, "missing"), MISSING)
        past = PortRef(again, "past"), PortRef(result, "past")
        sheet.join(*past, self.answer, (table, lambda into, _: into == count))
        self._chain(table, "-retry", 0, end, {0: PortRef(again, "again")}, "")
        source, computed = self._out(end - 1, "-retry"), (table, lambda into, _: into == 0)
        if self.last:
            sheet.join(PortRef(pack, "last"), PortRef(again, "last"), self.passed, room=self.frames + 2)
            head = sheet.slice("Head-retry", home, self.heads[end])
            table.members.append(head)
            sheet.join(source, PortRef(head, "in"), self.tokens[end], computed)
            source = PortRef(head, "out")
        sheet.join(source, PortRef(result, "again"), self.answer, computed)
        sheet.out_of(self.network.blocks[-1].out, PortRef(result, "out"))

    def _head(self, table: Table, pack: str, end: Optional[int] = None) -> None:
        """The device's first blocks, up to an exit, and what is sent at once or between them."""
        raw = PortRef(self.decide, "raw"), PortRef(pack, "block0")
        self.sheet.join(*raw, self.tokens[0], (table, lambda _, out: out == 0))
        self._chain(table, "", 0, end or self.count, {0: PortRef(self.decide, "local")}, pack)

    def _gate(self, number: int, place: int, end: int) -> str:
        """The actor that decides at an exit, with its parameters."""
        made = self.exits[place]
        parameters = {"number": str(number), "most": str(end), "threshold": f"{made.threshold:.7g}"}
        if (made.scale, made.zero) != (1.0, 0):
            parameters.update(scale=f"{made.scale:.9g}", zero=str(made.zero))
        return self.sheet.part(
            f"Exit{number}", ActorType.DA, self.platforms[0], "offload_gate.py:OffloadGate", parameters
        )

    def _before_gate(self, table: Table, place: int, gate: str, deeper: str, pack: str) -> None:
        """The exit's head, and what goes in and comes out of the level behind it."""
        sheet, made, number = self.sheet, self.exits[place], len(self.heads) + 1
        on = (table, lambda _, out: out == place)
        file = f"head{number}_{plain(sheet.system.graph.name)}.tflite"
        self.files[file] = made.data
        self.heads[place] = ModelSlice(file, 0, made.operators - 1)
        head = sheet.slice(f"Head{number}", self.platforms[0], self.heads[place])
        table.members.append(head)
        token = self.tokens[place]
        sheet.join(self._out(place - 1, "", "head"), PortRef(head, "in"), token, on)
        sheet.join(self._out(place - 1, "", "next"), PortRef(gate, "features"), token, on)
        sheet.join(PortRef(head, "out"), PortRef(gate, "scores"), self.answer, on)
        plan = TokenType("float64", (2 + len(self.exits),))
        sheet.join(PortRef(table.entry, "plan"), PortRef(gate, "given"), plan, on)
        sheet.join(PortRef(deeper, "cut"), PortRef(pack, "done"), self.cut, on)
        if self.last:
            sheet.join(PortRef(deeper, "last"), PortRef(pack, "deeper"), self.passed, on)

    def _behind_gate(self, table: Table, level: int, begin: int, end: int, pack: str) -> None:
        """What is decided after an exit: to leave, to send what is there, or to go on, at most to the next exit."""
        gate = table.entry
        if self.last:
            self.sheet.beside(PortRef(gate, "passed"), PortRef(pack, "passed"), self.answer)
        leave = PortRef(gate, "early"), PortRef(pack, f"exit{level}")
        self.sheet.join(*leave, self.answer, (table, lambda into, _: into < 0))
        on = (table, lambda _, out: out == begin)
        self._send(begin, PortRef(gate, "cut"), pack, on, str(level))
        self._chain(table, "", begin, end, {begin: PortRef(gate, "deep")}, pack)

    # Other platforms

    def _hand_over(self, tier: int, table: Table, cut: PortRef, sent: PortRef, always: bool = False) -> None:
        """What is cut goes to the next platform, and the answer comes back; ``sent`` says when, for the report."""
        sheet, answer = self.sheet, table.exit
        on = (table, lambda _, out: out < self.count)
        if always:
            sheet.beside(sent, PortRef(answer, "sent"), SENT)
        else:
            sheet.join(sent, PortRef(answer, "sent"), SENT, on, room=max(self.frames, 2))
        if self.besides and not tier:
            self._share_out(table, cut, answer)
            return
        entry, leave = self._server(tier + 1, table, self.platforms[tier + 1])
        within = None if tier else self.retry
        # Time-outs grow on the way (rule F4).
        sheet.join(cut, PortRef(entry, "cut"), self.cut, on, within=within and 0.8 * within)
        sheet.join(PortRef(leave, "out"), PortRef(answer, "remote"), self._told(tier + 1), on, within=within)

    def _share_out(self, outer: Table, cut: PortRef, answer: str) -> None:
        """Each cut goes to one of several servers: a choice inside of the device's, with a server inside each row."""
        sheet, home, frames = self.sheet, self.platforms[0], self.frames
        servers = (self.platforms[1], *self.besides)
        choose = sheet.part("Choose", ActorType.DA, home, "server_choice.py:ServerChoice")
        chosen = sheet.part("Chosen", ActorType.DA, home, "server_answer.py:ServerAnswer")
        rows = {number: (number, number) for number in range(len(servers))}
        table = sheet.table(SERVERS, rows, choose, chosen, outer.name)
        on = (outer, lambda _, out: out < self.count)
        sheet.join(cut, PortRef(choose, "cut"), self.cut, on)
        for number, server in enumerate(servers):
            entry, leave = self._server(1, table, server)
            here = (table, lambda into, _, own=number: into == own)
            there = PortRef(choose, f"to{number}"), PortRef(entry, "cut")
            sheet.join(*there, self.cut, here, within=self.retry and 0.8 * self.retry)
            back = PortRef(leave, "out"), PortRef(chosen, f"from{number}")
            sheet.join(*back, self._told(1), here, within=self.retry)
        sheet.beside(PortRef(choose, "sent"), PortRef(chosen, "sent"), CHOICE)
        sheet.join(PortRef(chosen, "report"), PortRef(choose, "report"), CHOICE, delay=frames)
        sheet.join(PortRef(chosen, "out"), PortRef(answer, "remote"), self._told(1), on)

    def _server(self, tier: int, outer: Table, home: str) -> tuple[str, str]:
        """All blocks on a platform that is not the device, its entry and its exit; it is inside of who sends to it."""
        sheet, count = self.sheet, self.count
        last = tier == len(self.platforms) - 1
        if last:
            entry = sheet.part("Open", ActorType.DA, home, "cut_opener.py:CutOpener")
            leave = self._answer("Close", home)
            table = sheet.table(INNER, {row: (row, count) for row in range(count + 1)}, entry, leave, outer.name)
        else:
            entry = sheet.part(
                f"{DECIDER}-{home}", ActorType.DA, home, "offload_relay.py:OffloadRelay", self.deciders[tier]
            )
            leave = self._answer(f"{ANSWER}-{home}", home)
            pairs = [(into, out) for into in range(count + 1) for out in range(into, count + 1)]
            rows = {into * (count + 1) + out: (into, out) for into, out in pairs}
            table = sheet.table(f"{OUTER}-{home}", rows, entry, leave, outer.name)
        pack = "" if last else self._packer(f"Pack-{home}", ActorType.DPA, home)
        begun = TokenType("float64", (self._numbers(tier),))
        sheet.beside(PortRef(entry, "begun"), PortRef(leave, "begun"), begun)
        starts = {block: self._arriving(block, entry, table, home) for block in range(count)}
        self._chain(table, f"-{home}", 0, count, starts, pack)
        source = self._out(count - 1, f"-{home}")
        sheet.join(source, PortRef(leave, "local"), self.answer, (table, lambda into, out: into < count == out))
        whole = PortRef(entry, f"block{count}"), PortRef(leave, "arrived")
        sheet.join(*whole, self.answer, (table, lambda into, _: into == count))
        if pack:
            self._pads(table, pack)
            past = PortRef(entry, "past"), PortRef(pack, "past")
            sheet.join(*past, self.cut, (table, lambda into, out: into == out < count))
            self._hand_over(tier, table, PortRef(pack, "cut"), PortRef(pack, "sent"))
            self._report(tier, leave, entry)
        return entry, leave

    # Pieces

    def _send(self, number: int, source: PortRef, pack: str, on: On, suffix: str) -> None:
        """A tensor goes to a packer, coded where it is to be."""
        if number in self.codings:
            home = self.sheet.parts[pack].home
            coder = self._coder(COMPRESSOR, "compressor.py:Compressor", number, f"{number}{suffix}", on[0], home)
            self.sheet.join(source, PortRef(coder, "in"), self.tokens[number], on)
            source = PortRef(coder, "out")
        self.sheet.join(source, PortRef(pack, f"block{number}"), self.cuts[number], on)

    def _arriving(self, number: int, entry: str, table: Table, home: str) -> PortRef:
        """Where a tensor comes from that was cut before a block: decoded where it was coded."""
        source = PortRef(entry, f"block{number}")
        if number not in self.codings:
            return source
        on = (table, lambda into, out: into == number < out)
        coder = self._coder(DECOMPRESSOR, "decompressor.py:Decompressor", number, f"{number}-{home}", table, home)
        self.sheet.join(source, PortRef(coder, "in"), self.cuts[number], on)
        return PortRef(coder, "out")

    def _coder(self, kind: str, behaviour: str, number: int, suffix: str, table: Table, home: str) -> str:
        """An actor that codes, or decodes, the tensor that is cut there."""
        coding, file = self.codings[number], f"basis_block{number}.npz"
        name = self.sheet.part(f"{kind}{suffix}", ActorType.DPA, home, behaviour, dict(coding.parameters(file)))
        table.members.append(name)
        if coding.rank:
            self.files[file] = coding.basis
            self.interfaces[name] = Interface(paths={"basis": "part"})
        return name

    def _numbers(self, tier: int) -> int:
        """How many numbers a platform tells with an answer: the seconds that it took, and, if it decides, expects."""
        return 1 if tier == len(self.platforms) - 1 else 1 + self.count

    def _told(self, tier: int) -> TokenType:
        """An answer of a platform, behind its numbers."""
        return TokenType("uint8", (8 * self._numbers(tier) + self.answer.nbytes,))

    def _report(self, tier: int, answer: str, decider: str) -> None:
        """What became of a frame goes back to who decided."""
        report = TokenType("float64", (REPORTED + self._numbers(tier + 1),))
        self.sheet.join(PortRef(answer, "report"), PortRef(decider, "report"), report, delay=self.frames)

    def _packer(self, name: str, kind: ActorType, home: str, parameters: Mapping[str, str] = {}) -> str:
        return self.sheet.part(name, kind, home, "cut_packer.py:CutPacker", parameters)

    def _pads(self, table: Table, pack: str) -> None:
        """A packer that is a member, and is told how much to send besides."""
        table.members.append(pack)
        padding = PortRef(table.entry, "padding"), PortRef(pack, "padding")
        self.sheet.join(*padding, PADDING, (table, lambda _, out: out < self.count))

    def _answer(self, name: str, home: str) -> str:
        return self.sheet.part(name, ActorType.DA, home, "offload_answer.py:OffloadAnswer")

    def _chain(self, table: Table, suffix: str, begin: int, end: int, starts: Mapping[int, PortRef], pack: str) -> None:
        """The blocks from ``begin`` to before ``end`` on a platform, and what is sent between them.

        ``starts``: block -> where its input comes from if a frame comes in there.
        """
        sheet = self.sheet
        home = sheet.parts[table.entry].home
        for number in range(begin, end):
            on = (table, lambda into, out, own=number: into <= own < out)
            copies = {name: sheet.copy(name, suffix, home) for name in self.network.blocks[number].actors}
            self.copies.update(((name, suffix), own) for name, own in copies.items())
            table.members += copies.values()
            for fifo in self.network.inner:
                if fifo.source.actor in copies:
                    source, target = (PortRef(copies[ref.actor], ref.port) for ref in (fifo.source, fifo.target))
                    sheet.join(source, target, sheet.ports[fifo.source].token, on)
        for number in range(begin, end):
            token, target = self.tokens[number], self._into(number, suffix)
            before = (table, lambda into, out, own=number: into < own < out)
            sources = (
                {"sent": (starts[number], (table, lambda into, out, own=number: into == own < out))}
                if (number in starts)
                else {}
            )
            if number > begin:
                sources["before"] = (self._out(number - 1, suffix, "next" if pack else ""), before)
            if len(sources) == 1:
                [(source, on)] = sources.values()
                sheet.join(source, target, token, on)
            else:
                merge = sheet.part(f"Merge{number}{suffix if pack else ''}", ActorType.DPA, home, "merge.py:Merge")
                table.members.append(merge)
                for port, (source, on) in sources.items():
                    sheet.join(source, PortRef(merge, port), token, on)
                both = (table, lambda into, out, own=number: into <= own < out)
                sheet.join(PortRef(merge, "out"), target, token, both)
            if pack and number > begin:
                sent = (table, lambda into, out, own=number: into < own == out)
                self._send(number, self._out(number - 1, suffix, "send"), pack, sent, suffix)

    def _into(self, block: int, suffix: str) -> PortRef:
        ref = self.network.blocks[block].into.target
        return PortRef(self.copies[ref.actor, suffix], ref.port)

    def _out(self, block: int, suffix: str, port: str = "") -> PortRef:
        """Where a block's tensor leaves it; with a ``port`` if it leaves by more than one."""
        ref = self.network.blocks[block].out.source
        made = PortRef(self.copies[ref.actor, suffix], port or ref.port)
        self.sheet.carries[made] = ref
        return made
