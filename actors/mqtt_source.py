"""A source of tokens from an MQTT broker."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from checks import only_port, put, whole_number
from mqtt_client import MqttClient
from payload import Payload

from eprune.runtime import Actor, EndOfStream

#: Bytes of a message beside what it carries.
_AROUND = 70_000


class MqttSource(Actor):
    """A token for each message of a topic. Needs paho-mqtt, and a broker that speaks MQTT 5.

    A message that is no token is left out, with a note for the first one. Messages of more bytes than any token has are
    not sent by the broker. Of more than ``keep`` messages that wait for the graph, the oldest are dropped. A broker
    that is lost is awaited for ``patience`` seconds; what others publish meanwhile is lost. The figures count
    ``dropped``, ``refused`` and ``lost``, the losses of the broker.

    Parameters:
        topic: with ``+`` and ``#`` for any: ``cameras/+/picture``.
        form: what a message holds: ``raw``, the bytes of the token, ``picture``, a JPEG, PNG or BMP, or ``json``.
        host, port: of the broker; port 0: 1883, with TLS 8883.
        login: the environment variable that holds ``USER:PASSWORD``.
        login_file: or the file that does.
        tls: ``yes`` encrypts, and checks who the broker is.
        ca: a file with the certificates of authorities, if not those of the system.
        qos: 0, at most once, or 1, at least once.
        keep: how many messages wait for the graph.
        patience: seconds for which a lost broker is awaited.
    """

    PATHS: ClassVar[Mapping[str, str]] = {"login_file": "read", "ca": "read"}
    waits = True

    def __init__(
        self,
        topic: str,
        form: str = "raw",
        host: str = "localhost",
        port: str = "0",
        login: str = "",
        login_file: str = "",
        tls: str = "no",
        ca: str = "",
        qos: str = "1",
        keep: str = "16",
        patience: str = "60",
    ) -> None:
        self.mqtt = MqttClient(topic, host, port, login, login_file, tls, ca, qos, patience, self.note)
        self.payload = Payload(form)
        self.waiting: deque[np.ndarray] = deque(maxlen=whole_number("keep", keep) or None)
        if self.waiting.maxlen is None:
            raise ValueError(f"keep={keep!r}: expected 1 or more")
        self.dropped = self.refused = 0

    def initialize(self) -> None:
        """Subscribe. Raises ValueError for a port that does not fit, OSError without a broker that does it."""
        self.port, port = only_port(self.outputs, "output")
        self.payload.bind(self.port, port)
        self.mqtt.client.on_message = self._on_message
        self.mqtt.client.on_subscribe = self._on_subscribe
        self.denied: str | None = None
        self.mqtt.open(self.payload.limit + _AROUND, lambda: self.mqtt.client.subscribe(self.mqtt.topic, self.mqtt.qos))
        self.mqtt.wait(lambda: self.denied is not None)
        if self.denied:
            raise OSError(f"the MQTT broker at {self.mqtt.address} refuses topic {self.mqtt.topic!r}: {self.denied}")

    def fire(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> None:
        """Wait for the next message. Raises OSError if the broker is lost for too long."""
        if not self.mqtt.wait(lambda: self.waiting):
            raise EndOfStream
        self.came()
        put(outputs[self.port], self.waiting.popleft())
        self.figures = {"dropped": self.dropped, "refused": self.refused, "lost": self.mqtt.lost}

    def interrupt(self) -> None:
        """Nobody waits for a message any more."""
        self.mqtt.stop()

    def finalize(self) -> None:
        """Disconnect."""
        self.mqtt.close()

    def _on_subscribe(self, client: Any, userdata: Any, mid: int, reasons: Any, properties: Any) -> None:
        with self.mqtt.changed:
            self.denied = str(reasons[0]) if reasons[0].is_failure else ""
            self.mqtt.changed.notify_all()

    def _on_message(self, client: Any, userdata: Any, message: Any) -> None:
        try:
            token = self.payload.token(message.payload)
        except ValueError as error:
            self.refused += 1
            if self.refused == 1:
                self.note(f"left out a message of topic {message.topic!r}: {error}")
            return
        with self.mqtt.changed:
            self.dropped += len(self.waiting) == self.waiting.maxlen
            self.waiting.append(token)
            self.mqtt.changed.notify_all()
