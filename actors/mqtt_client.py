"""A connection to an MQTT broker, which comes back when the broker does."""

from __future__ import annotations

import threading
import time
from typing import Any, Callable, Optional

from checks import one_of, whole_number
from login import login_of

#: Seconds that the broker may take to answer at the start, and that it may be silent.
CONNECTING, KEEPALIVE = 10.0, 15


class MqttClient:
    """What ``MqttSource`` and ``MqttSink`` have in common; their parameters as text.

    Raises ValueError for parameters that cannot be meant, and where paho-mqtt is not installed.
    """

    def __init__(
        self,
        topic: str,
        host: str,
        port: str,
        login: str,
        login_file: str,
        tls: str,
        ca: str,
        qos: str,
        patience: str,
        note: Callable[[str], None],
    ) -> None:
        try:
            from paho.mqtt import client, packettypes, properties
        except ImportError:
            raise ValueError("MQTT needs paho-mqtt: pip install eprune[mqtt]") from None
        self._properties = properties.Properties(packettypes.PacketTypes.CONNECT)
        if not topic:
            raise ValueError("topic: is empty")
        self.topic = topic
        self.qos = int(one_of("qos", qos, ("0", "1")))
        secure = one_of("tls", tls, ("no", "yes")) == "yes"
        self.host, self.port = host, whole_number("port", port) or (8883 if secure else 1883)
        if self.port > 65535:
            raise ValueError(f"port={port!r}: expected 0 to 65535")
        self.patience = whole_number("patience", patience)
        self._note = note
        self.client = client.Client(client.CallbackAPIVersion.VERSION2, protocol=client.MQTTv5)
        self.client.connect_timeout = CONNECTING
        self.client.reconnect_delay_set(1, 5)
        found = login_of(login, login_file)
        if found:
            self.client.username_pw_set(*found)
        if secure:
            try:
                self.client.tls_set(ca_certs=ca or None)
            except OSError as error:  # no such file, or no certificates in it
                raise ValueError(f"ca={ca!r}: {error.strerror or error}") from None
        elif ca:
            raise ValueError("ca is for tls=yes")
        self.changed = threading.Condition()
        self.connected = self.stopped = False
        self.lost = 0
        self._since: Optional[float] = None
        self._refused = ""
        self._running = False
        self.client.on_connect = self._on_connect
        self.client.on_disconnect = self._on_disconnect

    @property
    def address(self) -> str:
        """``HOST:PORT``."""
        return f"{self.host}:{self.port}"

    def open(self, largest: int = 0, on_open: Optional[Callable[[], Any]] = None) -> None:
        """Connect, now and whenever the broker is back, and call ``on_open`` then. Raises OSError if it is not there.

        The broker is told that messages of more than ``largest`` bytes are not wanted; 0: all are.
        """
        self._on_open = on_open
        if largest:
            self._properties.MaximumPacketSize = largest
        try:
            self.client.connect(self.host, self.port, KEEPALIVE, properties=self._properties)
        except (OSError, ValueError) as error:
            raise OSError(f"no MQTT broker at {self.address}: {error}") from None
        self.client.loop_start()
        self._running = True
        with self.changed:
            self.changed.wait_for(lambda: self.connected or self._refused or self.stopped, CONNECTING)
            if not self.connected:
                raise OSError(f"the MQTT broker at {self.address} {self._refused or 'does not answer'}")

    def wait(self, there: Callable[[], Any]) -> bool:
        """Wait until ``there()``, which is looked at whenever ``changed`` is notified; False if the run is stopped.

        Raises OSError where the broker is lost for longer than the patience.
        """
        with self.changed:
            while not self.stopped and not there():
                self.changed.wait(self.left())
            return not self.stopped

    def left(self) -> Optional[float]:
        """The seconds that a lost broker has to come back; None where it is there. Raises OSError if there are none."""
        since = self._since
        if since is None:
            return None
        left = since + self.patience - time.monotonic()
        if left <= 0:
            raise OSError(f"the MQTT broker at {self.address} was lost, and is not back after {self.patience} s")
        return left

    def stop(self) -> None:
        """Nobody waits any more."""
        with self.changed:
            self.stopped = True
            self.changed.notify_all()

    def close(self) -> None:
        """Disconnect."""
        self.stop()
        if self._running:
            self.client.disconnect()
            self.client.loop_stop()

    def _on_connect(self, client: Any, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        refused = f"refuses: {reason}" if reason.is_failure else ""
        try:
            if not refused and self._on_open is not None:
                self._on_open()
        except ValueError as error:  # of paho-mqtt, on a topic that cannot be
            refused = f"was not asked for topic {self.topic!r}: {error}"
        with self.changed:
            self._refused, self.connected = refused, not refused
            if self.connected:
                self._since = None
            self.changed.notify_all()

    def _on_disconnect(self, client: Any, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        with self.changed:
            if self.connected and not self.stopped:
                self.lost += 1
                self._since = time.monotonic()
                if self.lost == 1:
                    self._note(f"the MQTT broker at {self.address} is lost; is awaited for {self.patience} s")
            self.connected = False
            self.changed.notify_all()
