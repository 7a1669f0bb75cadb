"""What `eprune analyze --faults` predicts, held against real processes that really fail: `make chaos`.

python -m scripts.chaos                    all cases; a few minutes
python -m scripts.chaos diamond reset      those with these words in their names
python -m scripts.chaos --histories 20     20 random histories of several faults of each application, by seed
python -m scripts.chaos --soak             a million tokens over connections that break, and their memory

Prints a table, and what differed. Exit code: 0 all as predicted, 1 not, 2 wrong usage. Cases in network namespaces need
root, and are left out, and said to be, where that is not to be had.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

from scripts.chaos import cases, histories, soak
from scripts.chaos.case import Case, Result, Trial
from scripts.chaos.running import Built, build
from scripts.netlab import NotPermitted

HEAD = ("topology", "what fails", "how", "predicted", "seen", "tokens lost", "longest pause, ms", "back after, ms")


def main() -> int:
    """Run what the command line asks for; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", help="cases with all of these words in their names; all by default")
    parser.add_argument("--lean", action="store_true", help="one case of each kind only")
    parser.add_argument("--histories", type=int, metavar="N", help="N random histories of each application only")
    parser.add_argument("--seed", type=int, default=1, help="of the first of them (default: %(default)s)")
    parser.add_argument("--soak", action="store_true", help="many tokens, and nothing else")
    parser.add_argument("--tokens", type=int, default=1_000_000, help="for --soak (default: %(default)s)")
    options = parser.parse_args()
    if options.soak:
        return soak.main(options.tokens)
    chosen: list[Trial] = []
    if options.histories is None:
        chosen += cases.lean_cases() if options.lean else cases.all_cases()
    if not options.lean:
        chosen += histories.histories(options.histories or 1, options.seed)
    chosen = [case for case in chosen if all(word in str(case) for word in options.words)]
    if not chosen:
        parser.error("no case has all of these words")
    return run_all(chosen)


def run_all(chosen: Sequence[Trial]) -> int:
    """Run cases, print the table; the exit code."""
    _row(*HEAD)
    _row(*["---"] * len(HEAD))
    results: list[Result] = []
    left_out: dict[str, int] = {}
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        built: dict[str, Built] = {}
        for case in chosen:
            name = case.topology.name
            if name not in built:
                path = Path(folder, str(len(built)))
                path.mkdir()
                built[name] = build(case.topology, path)
            try:
                result = case.run(built[name])
            except NotPermitted as error:
                left_out[str(error)] = left_out.get(str(error), 0) + 1
                continue
            results.append(result)
            _tell(result)
    wrong = [result for result in results if result.wrong]
    print(f"\n{len(results)} cases: {len(results) - len(wrong)} as predicted, {len(wrong)} not")
    for reason, count in left_out.items():
        print(f"{count} cases left out: {reason}")
    _tell_outages(results)
    for result in wrong:
        print(f"\n{result.case}: predicted {result.predicted}", *result.wrong, sep="\n  ")
    return 1 if wrong else 0


def _tell(result: Result) -> None:
    case = result.case
    times = [_milliseconds(result.pause), _milliseconds(result.back)]
    seen = "as predicted" if not result.wrong else f"DIFFERS: {result.wrong[0]}"
    _row(case.topology.name, case.failing, case.how, result.predicted, seen, str(result.lost), *times)


def _tell_outages(results: Sequence[Result]) -> None:
    """How long others paused, and until when what was gone was back, against how long it was gone."""
    rows: dict[tuple[str, ...], dict[float, str]] = {}
    for result in results:
        case = result.case
        if isinstance(case, Case) and case.seconds:
            times = " / ".join(filter(None, map(_milliseconds, (result.pause, result.back))))
            rows.setdefault((case.topology.name, case.failing, case.fault.name), {})[case.seconds] = times
    lengths = sorted({seconds for row in rows.values() for seconds in row})
    if rows:
        print("\nThe longest pause of others / back after, in ms, by the length of the outage:\n")
        _row(*HEAD[:3], *(f"{seconds:g} s" for seconds in lengths))
        _row(*["---"] * (3 + len(lengths)))
    for names, row in rows.items():
        _row(*names, *(row.get(seconds, "") for seconds in lengths))


def _milliseconds(seconds: Optional[float]) -> str:
    return "" if seconds is None else f"{1e3 * seconds:.0f}"


def _row(*cells: str) -> None:
    print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
