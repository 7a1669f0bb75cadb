"""The rules: what each means, in one line, and how bad it is to break it. docs/rules.md prints the table from here."""

from __future__ import annotations

from dataclasses import dataclass

from eprune.model.finding import Severity


@dataclass(frozen=True)
class Rule:
    """One line that says what must hold, and the severity of a finding where it does not."""

    meaning: str
    severity: Severity = Severity.ERROR


#: rule id -> rule, in the order in which they are checked
RULES = {
    "XML": Rule("a file is well-formed XML of the published schema"),
    "FILE": Rule("a file that is named is there, readable and what it should be"),
    "G1": Rule("names are unique, references resolve; every port is on exactly one FIFO, from an output to an input"),
    "G2": Rule("token types agree at both ends of a FIFO, and with the actor's model or class where it declares them"),
    "G3": Rule("rate limits: 0 <= lrl <= url and url >= 1; the initial rate atr is between them"),
    "G4": Rule("symmetric rates: both ends of a FIFO have the same limits and the same initial rate"),
    "G5": Rule(
        "capacity >= delay, and >= delay + r for each possible rate r > delay; "
        "a self-loop needs delay >= r and capacity >= delay + r"
    ),
    "G6": Rule("the ports of a static processing actor (SPA) are static data ports"),
    "D1": Rule("dynamic processing graphs are not supported yet: no actor is a CA, DA or DPA"),
    "C1": Rule("consistency: one firing of every actor leaves every FIFO as full as it was (follows from G4)"),
    "C2": Rule("no deadlock: the precedence graph is acyclic"),
    "C3": Rule("every actor is reached from a source, and the graph is connected", Severity.WARNING),
    "M1": Rule("every actor is mapped to exactly one unit of one platform, and the platforms' mappings agree"),
    "M2": Rule("a FIFO that crosses platforms has a link, stated alike in both files, and a TCP port of its own"),
    "M3": Rule("a platform's FIFO buffers and model weights fit its memory, where it states one"),
    "M4": Rule("a segment's slices can run as one: one unit, one model, joined as in it, no way out and back in"),
    "F1": Rule("on request, --faults K: the service survives every K failing platforms, units, links and groups"),
    "F2": Rule(
        "no drop or zero on a control FIFO; only a class does without an input; a quorum is at most the data inputs"
    ),
}


def rules_table() -> str:
    """The table of rules in Markdown."""
    rows = [f"| {name} | {rule.severity.value} | {rule.meaning} |" for name, rule in RULES.items()]
    return "\n".join(["| rule | severity | what must hold |", "|---|---|---|", *rows]) + "\n"
