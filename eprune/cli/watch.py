"""``eprune watch``: a deployed system on a page of this machine's browser, and in Prometheus' text format."""

from __future__ import annotations

import json
import re
import secrets
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Optional

import click

from eprune.cli import options
from eprune.cli.errors import say
from eprune.cli.printing import show
from eprune.cli.watching import Following, following, watching_options

if TYPE_CHECKING:
    from eprune.deploy.server import Part

#: Characters that a token may have.
_TOKEN = re.compile(r"[\w.~-]{8,}")


def _token(ctx: click.Context, param: click.Parameter, value: Optional[str]) -> str:
    if value is None:
        return secrets.token_urlsafe(16)
    if not _TOKEN.fullmatch(value):
        raise click.BadParameter("expected 8 or more letters, digits, and . _ ~ -", ctx, param)
    return value


@click.command("watch", cls=options.Command, short_help="Watch a deployed system in a browser.")
@watching_options
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, metavar="N", help="Listen there (default: a free one)."
)
@click.option("--bind", default="127.0.0.1", metavar="ADDRESS", help="Listen at this address (default: loopback).")
@click.option(
    "--token",
    envvar="EPRUNE_WATCH_TOKEN",
    callback=_token,
    metavar="TEXT",
    help="What the URL has to begin with (also EPRUNE_WATCH_TOKEN; default: a new one).",
)
@click.option("--open", "opens", is_flag=True, help="Open the page in a browser.")
def command(
    application: str,
    platforms: Sequence[str],
    mappings: Sequence[str],
    every: float,
    commands: dict[str, list[str]],
    late_after: Optional[float],
    against: Optional[str],
    port: int,
    bind: str,
    token: str,
    opens: bool,
) -> int:
    """Serve one page on which a deployed system is live: its graph with rates, charts, platforms, events.

    Its URL, on stdout, has a token that nobody can guess; whoever has the URL can look, and nobody can change
    anything. The page loads nothing from elsewhere. Below the URL, `metrics` has the same for Prometheus. It ends with
    Ctrl-C; alarms are also lines on stderr.

    \b
    Examples:
      eprune watch build/system --open
      eprune watch build/system --port 8080 --late-after 100 --on late,lost 'mail -s "$EPRUNE_MESSAGE" me < /dev/null'
    """
    import webbrowser

    from eprune.deploy.server import Broadcast, Server

    stream = Broadcast()
    with (
        following(application, platforms, mappings, every, commands, late_after, against) as watched,
        Server(bind, port, token, _parts(watched), stream) as server,
    ):
        show(server.url)
        if opens:
            threading.Thread(target=webbrowser.open, args=(server.url,), daemon=True).start()
        while True:
            if watched.go_on(1.0):
                stream.put(json.dumps(page_data(watched, last=1)), lambda: json.dumps(page_data(watched)))
                for said in watched.news:
                    say(f"{said.platform}: {said.message}" if said.platform else said.message)


def page_data(watched: Following, last: int = 0) -> dict[str, Any]:
    """What the page gets: the state, and the moments for its charts, all or the last ones."""
    from dataclasses import asdict

    from eprune.views.watching import data

    state = watched.state
    return {
        **data(state, watched.alarms, watched.advice),
        "moments": [asdict(moment) for moment in state.moments[-last:]],
    }


def _parts(watched: Following) -> dict[str, Part]:
    """Path -> what is there."""
    from eprune.deploy.server import Part
    from eprune.views.metrics import CONTENT_TYPE, metrics
    from eprune.views.watching import page

    shown = page(watched.system)
    return {
        "": Part("text/html; charset=utf-8", lambda: shown),
        "metrics": Part(CONTENT_TYPE, lambda: metrics(watched.state, watched.alarms)),
    }
