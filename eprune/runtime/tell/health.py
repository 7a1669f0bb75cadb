"""Whether a program is well, from the status that it keeps: for probes of container platforms, and for ``deploy``.

A probe runs every few seconds, on small devices too: nothing is imported here that a device takes long to load.
"""

from __future__ import annotations

import json
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

#: Seconds after which a report is old; after which the program that writes it is taken for dead, as systemd does.
OLD, DEAD = 5.0, 30.0
#: The options of programs that ask: is it well? is it alive? Each names the file of ``--status``.
CHECK_STATUS, CHECK_ALIVE = "--check-status", "--check-alive"


def judge(status: Mapping[str, Any], age: float) -> tuple[bool, str]:
    """Whether a running program is well by a report of this ``age`` (seconds), and why, in words.

    It is when all its peers are connected, or when it is a service that waits for its producers, or when it has come to
    its end.
    """
    state = status["state"]
    if state == "failed":
        return False, f"it has failed: {status['failure']}"
    if age > OLD and state != "ended":
        return False, f"its last report is {age:.0f} s old"
    if status["stalled"]:
        return False, f"stalled: {', '.join(status['stalled'])}"
    lost = [name for name, peer in status["peers"].items() if peer["state"] == "lost"]
    if lost:
        return False, f"it has lost {', '.join(lost)}"
    if state == "waiting":
        return True, f"it waits for stream {status.get('stream', 1)}"
    if state in ("running", "ended"):
        return True, f"it is {state}" if state == "running" else "it ends"
    waits = [name for name, peer in status["peers"].items() if peer["state"] == "waiting"]
    return False, f"it waits for {', '.join(waits)}" if waits else f"it is {state}"


def alive(status: Mapping[str, Any], age: float) -> tuple[bool, str]:
    """Whether to leave a program alone by a report of this ``age``, and why: a new start mends no peer that is away."""
    if age > DEAD and status["state"] != "ended":
        return False, f"its last report is {age:.0f} s old"
    if status["stalled"]:
        return False, f"stalled: {', '.join(status['stalled'])}"
    return True, f"it is {status['state']}"


def check(option: str, path: str) -> int:
    """Answer one of the options about the status in a file, by a line on stdout and the exit code, 0 or 1."""
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123 - pathlib takes longer to load than all else here
            status = json.load(file)
        well, why = (judge if option == CHECK_STATUS else alive)(status, time.time() - status["time"])
    except FileNotFoundError:
        well, why = False, "it has not reported yet"
    except OSError as error:
        well, why = False, f"{path}: {error.strerror or error}"
    except (ValueError, TypeError, KeyError, AttributeError):
        well, why = False, f"{path}: not a status report"
    print(why)
    return 0 if well else 1


def asked(arguments: list[str]) -> tuple[str, str] | None:
    """The option and its file, where a program is started for nothing else."""
    option, equals, path = arguments[0].partition("=") if arguments else ("", "", "")
    if option not in (CHECK_STATUS, CHECK_ALIVE):
        return None
    words = [path] if equals else arguments[1:]
    return (option, words[0]) if len(words) == 1 and len(arguments) == (1 if equals else 2) else None
