"""A sink that publishes tokens at an MQTT broker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from checks import one_of, only_port
from mqtt_client import MqttClient
from payload import Payload

from eprune.runtime import Actor, EndOfStream


class MqttSink(Actor):
    """Publishes each token in a message. Needs paho-mqtt, and a broker that speaks MQTT 5.

    With ``qos`` 1 a firing ends when the broker has the message: while the broker is lost, the sink waits for it, for
    ``patience`` seconds, and nothing is lost. With ``qos`` 0 it sends without waiting, and what it cannot send is lost
    and counted. The figures count ``dropped``, and ``lost``, the losses of the broker.

    Parameters:
        topic: where to publish.
        form: what a message holds: ``raw``, the bytes of the token, ``picture``, a JPEG, or ``json``: the numbers, or
            the text in a token ``uint8[<=n]`` as ``JsonLines`` gives it.
        host, port: of the broker; port 0: 1883, with TLS 8883.
        login: the environment variable that holds ``USER:PASSWORD``.
        login_file: or the file that does.
        tls: ``yes`` encrypts, and checks who the broker is.
        ca: a file with the certificates of authorities, if not those of the system.
        qos: 0, at most once, or 1, at least once.
        retain: ``yes`` has the broker keep the last message for those who subscribe later.
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
        retain: str = "no",
        patience: str = "60",
    ) -> None:
        self.mqtt = MqttClient(topic, host, port, login, login_file, tls, ca, qos, patience, self.note)
        if "+" in topic or "#" in topic:
            raise ValueError(f"topic={topic!r}: a message is published at one topic, without + and #")
        self.payload = Payload(form)
        self.retain = one_of("retain", retain, ("no", "yes")) == "yes"
        self.dropped = 0
        #: number of a message -> why the broker refuses it, if it does
        self.done: dict[int, str] = {}

    def initialize(self) -> None:
        """Connect. Raises ValueError for a port that does not fit, OSError without a broker."""
        self.port, port = only_port(self.inputs, "input")
        self.payload.bind(self.port, port)
        self.mqtt.client.on_publish = self._on_publish
        self.mqtt.open()

    def fire(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> None:
        """Publish one message. Raises OSError if the broker is lost for too long."""
        sent = self.mqtt.client.publish(
            self.mqtt.topic, self.payload.data(inputs[self.port]), self.mqtt.qos, self.retain
        )
        if self.mqtt.qos:
            if not self.mqtt.wait(lambda: sent.mid in self.done):
                raise EndOfStream
            refusal = self.done.pop(sent.mid)
            if refusal:
                raise OSError(f"the MQTT broker at {self.mqtt.address} refuses a message: {refusal}")
        elif sent.rc:
            self.mqtt.left()
            self.dropped += 1
        self.figures = {"dropped": self.dropped, "lost": self.mqtt.lost}

    def interrupt(self) -> None:
        """Nobody waits for the broker any more."""
        self.mqtt.stop()

    def finalize(self) -> None:
        """Disconnect."""
        self.mqtt.close()

    def _on_publish(self, client: Any, userdata: Any, mid: int, reason: Any, properties: Any) -> None:
        if self.mqtt.qos:
            with self.mqtt.changed:
                self.done[mid] = str(reason) if reason.is_failure else ""
                self.mqtt.changed.notify_all()
