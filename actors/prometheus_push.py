"""A sink that pushes figures to Prometheus' Pushgateway."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from checks import number, only_port
from line_file import label, read_labels
from login import login_of, web_address

from eprune.runtime import Actor

#: Seconds that the gateway may take, and numbers of a token: each is a series that Prometheus keeps.
SILENCE, MOST = 5.0, 1000


class PrometheusPush(Actor):
    """Pushes the numbers of the newest token, and how many there were. Needs prometheus-client, and a Pushgateway.

    A token of one number becomes the gauge ``METRIC``; of several, ``METRIC{class="..."}`` for each. The counter
    ``METRIC_tokens_total`` says how many tokens there were. What cannot be pushed is left to the next push, with a note
    for the first one; the figure ``failed`` counts.

    Parameters:
        metric: its name, ``vehicle_score``.
        gateway: where the Pushgateway is, without a password.
        job: the name of the job, by which the gateway groups what it is given.
        instance: the name of this one of several, empty for none.
        labels: the names of the classes, ``car,bus,truck``, or a text file with one name per line. Without labels, the
            numbers' places are used.
        every: seconds from one push to the next; the last token is pushed at the end.
        login: the environment variable that holds ``USER:PASSWORD``.
        login_file: or the file that does.
    """

    PATHS: ClassVar[Mapping[str, str]] = {"labels": "list", "login_file": "read"}
    STATE = ("tokens",)
    waits = True

    def __init__(
        self,
        metric: str,
        gateway: str = "http://localhost:9091",
        job: str = "eprune",
        instance: str = "",
        labels: str = "",
        every: str = "5",
        login: str = "",
        login_file: str = "",
    ) -> None:
        try:
            import prometheus_client
        except ImportError:
            raise ValueError("pushing figures needs prometheus-client: pip install eprune[prometheus]") from None
        self.client = prometheus_client
        if not re.fullmatch(r"[a-zA-Z_:][a-zA-Z0-9_:]*", metric):
            raise ValueError(f"metric={metric!r}: expected letters, digits and _, for example vehicle_score")
        web_address("gateway", gateway, ("http", "https"))
        if not job:
            raise ValueError("job: is empty")
        self.metric, self.gateway, self.job = metric, gateway, job
        self.grouping = {"instance": instance} if instance else {}
        self.labels = read_labels(labels)
        self.every = number("every", every)
        self.login = login_of(login, login_file)
        self.tokens = self.failed = 0
        self.due = 0.0
        self.fresh = False

    def initialize(self) -> None:
        """Check the port. Raises ValueError if it does not fit."""
        self.port, port = only_port(self.inputs, "input")
        count = int(np.prod(port.shape))
        if port.variable or np.dtype(port.dtype).kind not in "fiu" or not 1 <= count <= MOST:
            raise ValueError(f"port {self.port!r}: expected 1 to {MOST} numbers, not {port.dtype}{list(port.shape)}")
        if self.labels and len(self.labels) != count:
            raise ValueError(f"{len(self.labels)} labels for {count} numbers")
        self.registry = self.client.CollectorRegistry()
        several = ("class",) if count > 1 or self.labels else ()
        gauge = self.client.Gauge(self.metric, "The newest value.", several, registry=self.registry)
        self.gauges = [gauge.labels(label(self.labels, k)) for k in range(count)] if several else [gauge]
        self.counter = self.client.Counter(f"{self.metric}_tokens", "Tokens so far.", registry=self.registry)
        self.counter.inc(self.tokens)

    def fire(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> None:
        """Take the numbers, and push them if it is time."""
        for gauge, value in zip(self.gauges, inputs[self.port].reshape(-1)):
            gauge.set(float(value))
        self.counter.inc()
        self.tokens += 1
        self.fresh = True
        if time.monotonic() >= self.due:
            self._push()

    def finalize(self) -> None:
        """Push the last token."""
        if self.fresh:
            self._push()

    def _push(self) -> None:
        try:
            self.client.push_to_gateway(
                self.gateway, self.job, self.registry, self.grouping, timeout=SILENCE, handler=self._handler
            )
            self.fresh = False
        except OSError as error:  # URLError and HTTPError are such
            self.failed += 1
            if self.failed == 1:
                cause = getattr(error, "reason", error)
                self.note(f"{self.gateway}: {getattr(cause, 'strerror', None) or cause}: figures are pushed later")
        self.due = time.monotonic() + self.every
        self.figures = {"failed": self.failed}

    def _handler(self, **request: Any) -> Any:
        exposition = self.client.exposition
        if self.login is None:
            return exposition.default_handler(**request)
        return exposition.basic_auth_handler(**request, username=self.login[0], password=self.login[1])
