"""MQTT in and out, with a real broker that is killed and comes back."""

import getpass
import io
import re
import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest
from driver import fired, prepared
from mqtt_sink import MqttSink
from mqtt_source import MqttSource
from PIL import Image

from eprune.deploy.ports import free_base_port
from eprune.runtime import EndOfStream
from tests.kit import keys
from tests.kit.mosquitto import Broker
from tests.kit.waiting import until


@pytest.fixture
def broker(tmp_path):
    running = Broker(tmp_path, free_base_port(1))
    yield running
    running.kill()


@pytest.fixture
def door(broker):
    """Makes a source (``out``) or a sink (``in``) of a token type; ``said`` is what it notes; closed at the end."""
    opened = []

    def open_it(kind, token, topic="t", **parameters):
        actor = kind(topic, port=str(broker.port), **parameters)
        actor.said = []
        actor.tell = actor.said.append
        opened.append(actor)
        ports = ({}, {"out": token}) if kind is MqttSource else ({"in": token}, {})
        return prepared(actor, *ports)

    yield open_it
    for actor in opened:
        actor.finalize()


def publish(door, *messages):
    """Publish these bytes."""
    sink = door(MqttSink, "uint8[<=100000]")
    for message in messages:
        sink.fire({"in": np.frombuffer(message, np.uint8)}, {})


def test_tokens_arrive_as_they_were(door):
    source, sink = door(MqttSource, "float32[1,4]"), door(MqttSink, "float32[1,4]")
    for values in ([0, 1, 2, 3], [np.nan, -np.inf, 1e-40, -0.0]):
        fired(sink, **{"in": values})
        got = fired(source)["out"]
        assert got.tobytes() == np.float32(values).tobytes()
    assert source.figures == {"dropped": 0, "refused": 0, "lost": 0}


def test_pictures_of_any_size_and_kind_become_the_token(door):
    source = door(MqttSource, "uint8[1,12,16,3]", form="picture")
    for kind in ("JPEG", "PNG", "BMP"):
        stream = io.BytesIO()
        Image.new("RGB", (64, 48), (200, 100, 50)).save(stream, kind)
        publish(door, stream.getvalue())
        assert np.allclose(fired(source)["out"], (200, 100, 50), atol=3)
    sink = door(MqttSink, "uint8[12,16,3]", form="picture")
    fired(sink, **{"in": np.full((12, 16, 3), 99)})
    assert np.allclose(fired(source)["out"], 99, atol=3)


def test_numbers_in_json(door):
    source = door(MqttSource, "float32[2,2]", form="json")
    publish(door, b"[[1, 2], [3, 4.5]]", b"[1,2,3,4]")
    assert fired(source)["out"].tolist() == [[1, 2], [3, 4.5]]
    assert fired(source)["out"].tolist() == [[1, 2], [3, 4]]
    text = door(MqttSource, "uint8[<=100]", "s")
    fired(door(MqttSink, "float32[1,2]", "s", form="json"), **{"in": [0.5, np.nan]})
    out = fired(text)["out"]
    assert bytes(out[: out.used]) == b"[[0.5, null]]"


@pytest.mark.parametrize(
    ("token", "form", "wrong", "reason"),
    [
        ("float32[1,4]", "raw", b"123", r"3 bytes are no token float32\[1,4\], which has 16"),
        ("uint8[12,16,3]", "picture", b"\x89PNG no picture", "cannot be read as an image"),
        ("float32[2]", "json", b"[1]", "expected 2 numbers, float32, in a list"),
        ("float32[2]", "json", b'["a", null]', "expected 2 numbers"),
        ("uint8[2]", "json", b"[1, 256]", "expected 2 numbers, uint8"),
        ("uint8[2]", "json", b"[1, 0.5]", "expected 2 numbers, uint8"),
        ("float32[2]", "json", b"[" * 900, "no JSON"),
    ],
)
def test_a_message_that_is_no_token_is_left_out_and_said_once(door, token, form, wrong, reason):
    source = door(MqttSource, token, form=form)
    publish(door, wrong, wrong)
    until(lambda: source.refused == 2)
    [said] = source.said
    assert said.startswith("left out a message of topic 't': ")
    assert re.search(reason, said)


def test_the_broker_does_not_send_what_is_larger_than_any_token(door):
    source = door(MqttSource, "uint8[4]")
    publish(door, bytes(100_000), b"abcd")
    assert bytes(fired(source)["out"]) == b"abcd"
    assert source.refused == 0


def test_of_many_messages_that_wait_the_newest_are_kept(door):
    source = door(MqttSource, "uint8[1]", keep="3")
    publish(door, *(bytes([number]) for number in range(10)))
    until(lambda: source.dropped == 7)
    assert [fired(source)["out"][0] for _ in range(3)] == [7, 8, 9]
    assert source.figures["dropped"] == 7


def test_a_broker_that_is_killed_and_comes_back_costs_a_waiting_sink_nothing(door, broker):
    source, sink = door(MqttSource, "uint8[1]"), door(MqttSink, "uint8[1]")
    fired(sink, **{"in": [1]})
    assert fired(source)["out"][0] == 1
    broker.kill()
    until(lambda: source.mqtt.lost and sink.mqtt.lost)

    again = threading.Timer(0.3, broker.start)
    again.start()
    fired(sink, **{"in": [2]})  # waits for the broker
    again.join()
    until(lambda: source.mqtt.connected)  # who is not there yet misses what is published
    fired(sink, **{"in": [3]})
    while fired(source)["out"][0] != 3:
        pass
    for actor in (source, sink):
        assert actor.figures["lost"] == 1
        [said] = actor.said
        assert f"the MQTT broker at localhost:{broker.port} is lost; is awaited for 60 s" in said


def test_with_qos_0_nobody_waits_and_what_is_lost_is_counted(door, broker):
    sink = door(MqttSink, "uint8[1]", qos="0", patience="1")
    fired(sink, **{"in": [1]})
    broker.kill()
    until(lambda: sink.mqtt.lost)
    fired(sink, **{"in": [2]})
    fired(sink, **{"in": [3]})
    assert sink.figures == {"dropped": 2, "lost": 1}
    with pytest.raises(OSError, match="was lost, and is not back after 1 s"):
        until(lambda: fired(sink, **{"in": [4]}) is None)


@pytest.mark.parametrize("kind", [MqttSource, MqttSink])
def test_a_broker_that_stays_away_ends_the_run(door, broker, kind):
    actor = door(kind, "uint8[1]", patience="1")
    broker.kill()
    with pytest.raises(OSError, match=f"localhost:{broker.port} was lost, and is not back after 1 s"):
        fired(actor, **({"in": [1]} if kind is MqttSink else {}))


@pytest.mark.parametrize("kind", [MqttSource, MqttSink])
def test_nobody_waits_when_the_run_is_stopped(door, broker, kind):
    actor = door(kind, "uint8[1]")
    broker.kill()
    threading.Timer(0.2, actor.interrupt).start()
    with pytest.raises(EndOfStream):
        fired(actor, **({"in": [1]} if kind is MqttSink else {}))


def test_without_a_broker_it_says_so_at_once(tmp_path):
    port = free_base_port(1)
    source = MqttSource("t", host="127.0.0.1", port=str(port))
    with pytest.raises(OSError, match=f"no MQTT broker at 127.0.0.1:{port}: .*refused"):
        prepared(source, {}, {"out": "uint8[1]"})
    source.finalize()


def test_a_password_opens_the_broker_and_is_in_no_message(tmp_path, monkeypatch):
    (tmp_path / "users").write_text("eve:s3cret\n")
    (tmp_path / "users").chmod(0o600)
    if shutil.which("mosquitto_passwd") is None:
        pytest.skip("mosquitto_passwd, which comes with mosquitto, is not installed here")
    subprocess.run(["mosquitto_passwd", "-U", str(tmp_path / "users")], check=True)
    known = (f"password_file {tmp_path / 'users'}", "allow_anonymous false", f"user {getpass.getuser()}")
    broker = Broker(tmp_path, free_base_port(1), *known)
    try:
        monkeypatch.setenv("MQTT_LOGIN", "eve:s3cret")
        source = prepared(MqttSource("t", port=str(broker.port), login="MQTT_LOGIN"), {}, {"out": "uint8[1]"})
        source.finalize()
        monkeypatch.setenv("MQTT_LOGIN", "eve:guessed")
        source = MqttSource("t", port=str(broker.port), login="MQTT_LOGIN")
        with pytest.raises(OSError, match="refuses: Not authorized") as refused:
            prepared(source, {}, {"out": "uint8[1]"})
        assert "guessed" not in str(refused.value)
        source.finalize()
    finally:
        broker.kill()


# paho-mqtt leaves the socket of a handshake that has failed to the garbage collector
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_with_tls_the_broker_has_to_be_the_right_one(tmp_path):
    for name in ("right", "wrong"):
        keys.write(tmp_path / name, keys.authority(), "broker", name="localhost")
    right = tmp_path / "right"
    secure = ("allow_anonymous true", f"certfile {right}/broker.crt", f"keyfile {right}/broker.key")
    broker = Broker(tmp_path, free_base_port(1), *secure, f"user {getpass.getuser()}")
    try:
        parameters = {"topic": "t", "port": str(broker.port), "tls": "yes"}
        source = prepared(MqttSource(**parameters, ca=str(right / "ca.crt")), {}, {"out": "uint8[1]"})
        sink = prepared(MqttSink(**parameters, ca=str(right / "ca.crt")), {"in": "uint8[1]"}, {})
        fired(sink, **{"in": [7]})
        assert fired(source)["out"][0] == 7
        source.finalize()
        sink.finalize()
        stranger = MqttSource(**parameters, ca=str(tmp_path / "wrong" / "ca.crt"))
        with pytest.raises(OSError, match=f"no MQTT broker at localhost:{broker.port}: .*certificate verify failed"):
            prepared(stranger, {}, {"out": "uint8[1]"})
        with pytest.raises(ValueError, match=r"ca='nowhere\.pem'"):
            MqttSource(**parameters, ca="nowhere.pem")
    finally:
        broker.kill()


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"topic": ""}, "topic: is empty"),
        ({"topic": "t", "qos": "2"}, "expected 0 or 1"),
        ({"topic": "t", "form": "xml"}, "expected raw or picture or json"),
        ({"topic": "t", "port": "70000"}, "expected 0 to 65535"),
        ({"topic": "t", "keep": "0"}, "expected 1 or more"),
        ({"topic": "t", "ca": "ca.pem"}, "for tls=yes"),
        ({"topic": "t", "tls": "maybe"}, "expected no or yes"),
    ],
)
def test_parameters_that_cannot_be_meant_are_refused(parameters, reason):
    pytest.importorskip("paho.mqtt", reason="paho-mqtt is not installed")
    with pytest.raises(ValueError, match=reason):
        MqttSource(**parameters)


def test_a_sink_publishes_at_one_topic():
    pytest.importorskip("paho.mqtt", reason="paho-mqtt is not installed")
    with pytest.raises(ValueError, match=r"without \+ and #"):
        MqttSink("cameras/+/picture")


def test_a_topic_that_cannot_be_is_refused(door):
    with pytest.raises(OSError, match="topic 'a#': Invalid subscription filter"):
        door(MqttSource, "uint8[1]", "a#")


def test_without_paho_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "paho.mqtt", None)
    monkeypatch.setitem(sys.modules, "paho", None)
    with pytest.raises(ValueError, match=r"pip install eprune\[mqtt\]"):
        MqttSource("t")
