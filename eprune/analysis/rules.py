"""The rules: the meaning and the severity of each, on one line. docs/reference/rules.md is made from here."""

from __future__ import annotations

from dataclasses import dataclass

from eprune.model.finding import Finding, Location, Severity


@dataclass(frozen=True)
class Rule:
    """One line that says what must hold, and the severity of a finding where it does not."""

    meaning: str
    severity: Severity = Severity.ERROR


#: rule id -> rule, in the order in which they are checked
RULES = {
    "XML": Rule("a file is well-formed XML of the published schema"),
    "FILE": Rule("a file that is named is there, readable and what it should be"),
    "S1": Rule(
        "files that an application names are in its folder, or ship with eprune, links followed; "
        "--allow-outside lifts it"
    ),
    "G1": Rule(
        "there are actors; names are unique, references resolve; every port is on exactly one FIFO, from an output to "
        "an input"
    ),
    "G2": Rule("token types agree at both ends of a FIFO, and with the actor's model or class where it declares them"),
    "G3": Rule("rate limits: 0 <= lrl <= url and url >= 1; the initial rate atr is between them"),
    "G4": Rule("symmetric rates: both ends of a FIFO have the same limits and the same initial rate"),
    "G5": Rule(
        "capacity >= delay, and >= delay + r for each possible rate r > delay; >= delay + 2r with newest, >= "
        "max(delay, r) + r into an input on hold; a self-loop needs delay >= r and capacity >= delay + r"
    ),
    "G6": Rule(
        "port kinds fit the type: SPA static data only; CA static data and control outputs; DPA one control input and "
        "dynamic data ports; DA the same (or the control outputs), dynamic at outputs as an entry, at inputs as an "
        "exit; a DPA with data inputs that is, in each row, idle or at its one rate at all ports needs no control input"
    ),
    "G7": Rule("no delay on a dynamic or a control FIFO"),
    "G8": Rule(
        "with --model sdf: rates are constant, or go through constant phases, which may differ at both ends of a FIFO; "
        "SPAs only, no dynamic processing graph; policies stop and wait, no hold, max-age, match, route or optional "
        "input; slices of models at rate 1, each by itself"
    ),
    "D1": Rule(
        "each DA, DPA and CA belongs to exactly one dynamic processing graph, which has one control source, one entry "
        "and one exit DA"
    ),
    "D2": Rule(
        "the control source has a control FIFO, one int32 per firing, to each DA of its dynamic processing graph and "
        "to each DPA that has a control input, and to no others"
    ),
    "D3": Rule(
        "the control table has a row for each control value and a column for each dynamic port; "
        "lrl <= rate <= url, equal at both ends of a FIFO"
    ),
    "D4": Rule("data enters a dynamic processing graph through its entry only, and leaves it through its exit only"),
    "D5": Rule("in each row a DPA is idle at all its data ports, or has an active input and an active output"),
    "D6": Rule(
        "dynamic processing graphs share no actors: a choice within a choice is more rows of one table, or a graph "
        "inside of another"
    ),
    "D7": Rule("a dynamic port has not the same rate in all rows", Severity.WARNING),
    "D8": Rule("a row for late frames is in the control table, and something says which frames are late"),
    "N1": Rule(
        "a dynamic processing graph inside of another is joined to actors of that one alone: by data inputs of its "
        "entry and its CA and by outputs of its exit, which are dynamic to the outer one and static to itself"
    ),
    "N2": Rule("in each row of the outer graph, the ports at an inner one's border are all idle or all at their limit"),
    "N3": Rule("some row of the outer graph activates an inner one"),
    "N4": Rule("each actor of an inner graph is reached from its border without a delay, or it would run free"),
    "C1": Rule(
        "consistency: in every row one firing of every actor leaves every FIFO as full as it was; with --model sdf "
        "there are numbers of firings that do"
    ),
    "C2": Rule(
        "no deadlock, in any row of any dynamic processing graph: the precedence graph is acyclic; with --model sdf an "
        "iteration completes"
    ),
    "C3": Rule("every actor is reached from a source, and the graph is connected", Severity.WARNING),
    "M1": Rule("every actor is mapped to exactly one unit of one platform, and the platforms' mappings agree"),
    "M2": Rule(
        "a FIFO that crosses platforms has a link, stated alike in both files, to an address that can exist, and a TCP "
        "port of its own on the host where it is listened for"
    ),
    "M3": Rule(
        "a platform's FIFO buffers, tokens rounded up to 64 bytes, and model weights fit its memory, where it states "
        "one"
    ),
    "M4": Rule("a segment's slices can run as one: one unit, one model, joined as in it, no way out and back in"),
    "M5": Rule(
        "a unit with a delegate, which is TFLite's, runs slices of models only, one with an OpenCL device actors in "
        "OpenCL only, and these run nowhere else; an engine reads the format of its models; options have somebody who "
        "takes them"
    ),
    "T1": Rule(
        "a requirement states a rate or a latency, on a way of tokens from an output of a source to an input of a sink"
    ),
    "T2": Rule("a requirement is kept, as far as times are known: with typical times, and with the longest"),
    "F1": Rule("on request, --faults K: the service survives every K failing platforms, units, links and groups"),
    "F2": Rule(
        "no drop, zero, newest or hold on a control FIFO or in a dynamic processing graph, nor before one that its "
        "entry does not control, except that a branch without control tokens may be entered by drop, and left by drop "
        "into an optional input, and so may a member all of whose FIFOs are drop, the control FIFO too; only a class "
        "does without an input; a quorum is at most the data inputs; an actor with inputs on hold has one that leads; "
        "clock, rate, match, ack, room-timeout, group and a time-out that is a range are where they have a meaning; "
        "control inputs are required, and neither on hold nor of an age"
    ),
    "F3": Rule(
        "ways from one source do not meet again where one has newest behind the fork, or an actor that numbers its own "
        "firings, unless that input is on hold",
        Severity.WARNING,
    ),
    "F4": Rule(
        "where times and rates are known: time-outs grow downstream and exceed the difference between ways that meet "
        "again; room covers the rate times that difference, and times the round trip of the link; sources of unlike "
        "rates do not meet without hold or newest",
        Severity.WARNING,
    ),
    "F5": Rule(
        "a route: two FIFOs or more of one actor, which has inputs; to different platforms, of rate 1, with no delay, "
        "under drop or wait; behind each a branch of its own, which takes nothing from elsewhere and is in no "
        "dynamic processing graph; the branches meet nowhere, or at one class on the sender's platform, into optional "
        "inputs by drop, and that has no others"
    ),
}


def violation(
    rule: str, where: Location, message: str, hint: str = "", related: tuple[tuple[Location, str], ...] = ()
) -> Finding:
    """A violation of a rule, as severe as the rule says."""
    return Finding(rule, where, message, hint, RULES[rule].severity, related)


def rules_table() -> str:
    """The table of rules in Markdown."""
    rows = [f"| {name} | {rule.severity.value} | {rule.meaning} |" for name, rule in RULES.items()]
    return "\n".join(["| rule | severity | what must hold |", "|---|---|---|", *rows]) + "\n"
