"""A sink that sends tokens by HTTP."""

from __future__ import annotations

import base64
import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any, ClassVar, Optional

from checks import whole_number
from login import login_of, loopback, web_address
from payload import Payload

from eprune.runtime import Actor

#: Seconds that a server may be silent.
SILENCE = 10.0


class HttpSink(Actor):
    """Sends each token in a POST request.

    With a port ``request``, ``int64[1]``, it brings the answers to the requests of an ``HttpSource``: the number of the
    request follows the ``url``. What cannot be sent, or gets another answer than 2xx, is lost, with a note for the
    first one, and counted: ``dropped`` and ``refused``. A server that is away for longer than ``patience`` seconds ends
    the run with an error. Redirections are not followed.

    Parameters:
        url: where to send, ``http://`` or ``https://``, without a password.
        form: what a request holds: ``raw``, the bytes of the token, ``picture``, a JPEG, or ``json``: the numbers, or
            the text in a token ``uint8[<=n]`` as ``JsonLines`` gives it.
        login: the environment variable that holds ``USER:PASSWORD``.
        login_file: or the file that does.
        patience: seconds for which a server may be away.
    """

    PATHS: ClassVar[Mapping[str, str]] = {"login_file": "read"}
    waits = True

    def __init__(
        self, url: str, form: str = "raw", login: str = "", login_file: str = "", patience: str = "60"
    ) -> None:
        parts = web_address("url", url, ("http", "https"))
        self.url = url
        self.payload = Payload(form)
        self.headers = {"Content-Type": self.payload.type, "User-Agent": "eprune"}
        found = login_of(login, login_file)
        if found:
            self.headers["Authorization"] = "Basic " + base64.b64encode(":".join(found).encode()).decode()
        self.patience = whole_number("patience", patience)
        # A proxy, which the environment may name, cannot reach this machine's loopback.
        here = [urllib.request.ProxyHandler({})] if loopback(parts.hostname or "") else []
        self.opener = urllib.request.build_opener(_Stay, *here)
        self.dropped = self.refused = 0
        self.since: Optional[float] = None

    def initialize(self) -> None:
        """Check the ports. Raises ValueError for others than those above."""
        ports = {name: port for name, port in self.inputs.items() if name != "request"}
        if len(ports) != 1 or any(port.rate != 1 for port in self.inputs.values()):
            raise ValueError("needs one input port, and perhaps one named 'request', with one token per firing")
        [(self.port, port)] = ports.items()
        if "request" in self.inputs and self.inputs["request"] != ("int64", (1,), 1):
            raise ValueError("port 'request': expected int64[1]")
        self.payload.bind(self.port, port)

    def fire(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> None:
        """Send one token. Raises OSError if the server is away for too long."""
        url = f"{self.url.rstrip('/')}/{int(inputs['request'][0])}" if "request" in self.inputs else self.url
        request = urllib.request.Request(url, self.payload.data(inputs[self.port]), self.headers)
        try:
            with self.opener.open(request, timeout=SILENCE) as answer:
                answer.read(0)
            self.since = None
        except urllib.error.HTTPError as error:
            error.close()
            self.since = None
            self._count("refused", f"answers {error.code} ({error.reason})")
        except (OSError, http.client.HTTPException) as error:
            cause = getattr(error, "reason", error)
            reason = getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
            self.since = self.since or time.monotonic()
            if time.monotonic() > self.since + self.patience:
                raise OSError(f"{self.url}: {reason}, and not back after {self.patience} s") from None
            self._count("dropped", reason)
        self.figures = {"dropped": self.dropped, "refused": self.refused}

    def _count(self, what: str, reason: str) -> None:
        setattr(self, what, getattr(self, what) + 1)
        if getattr(self, what) == 1:
            self.note(f"{self.url}: {reason}: what cannot be sent is lost")


class _Stay(urllib.request.HTTPRedirectHandler):
    """A redirection is an answer like any other: passwords stay with those whom they are for."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Nowhere."""
