"""HTTP in and out: real requests on loopback, good and bad ones."""

import base64
import http.client
import io
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from driver import fired, prepared
from http_sink import HttpSink
from http_source import CALLERS, HttpSource
from json_lines import JsonLines
from PIL import Image

from eprune.deploy.ports import free_base_port
from eprune.runtime import EndOfStream
from tests.kit.waiting import until


@pytest.fixture
def door():
    """Opens an actor with these ports; ``said`` is what it notes; closed at the end."""
    opened = []

    def open_it(actor, inputs, outputs):
        actor.said = []
        actor.tell = actor.said.append
        opened.append(actor)
        return prepared(actor, inputs, outputs)

    yield open_it
    for actor in opened:
        actor.interrupt()
        actor.finalize()


@pytest.fixture
def port():
    return free_base_port(1)


def post(port, data, path="/", method="POST", **headers):
    """Status and text of the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request(method, path, data, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


def picture(kind="PNG", size=(64, 48)):
    stream = io.BytesIO()
    Image.new("RGB", size, (200, 100, 50)).save(stream, kind)
    return stream.getvalue()


def test_each_request_is_a_token(door, port):
    source = door(HttpSource(str(port)), {}, {"out": "float32[1,2]"})
    for value in (1, 2):
        assert post(port, np.float32([value, 0.5]).tobytes()) == (202, "")
        assert fired(source)["out"].tolist() == [[value, 0.5]]
    assert source.figures == {"accepted": 2, "refused": 0, "busy": 0, "unanswered": 0}


def test_a_sink_sends_to_a_source(door, port):
    source = door(HttpSource(str(port), form="picture"), {}, {"out": "uint8[1,12,16,3]"})
    sink = door(HttpSink(f"http://127.0.0.1:{port}/", form="picture"), {"in": "uint8[1,12,16,3]"}, {})
    fired(sink, **{"in": np.full((12, 16, 3), 99)})
    assert np.allclose(fired(source)["out"], 99, atol=3)
    assert sink.said == []


def test_a_caller_gets_the_answer_to_its_own_request(door, port):
    """Source, sink of lines, and the sink that answers, as in a graph."""
    source = door(HttpSource(str(port), form="json"), {}, {"out": "float32[3]", "request": "int64[1]"})
    lines = door(JsonLines("car,bus,truck"), {"in": "float32[3]"}, {"line": "uint8[<=200]"})
    answers = door(
        HttpSink(f"http://127.0.0.1:{port}/answers", form="json"), {"in": "uint8[<=200]", "request": "int64[1]"}, {}
    )

    def work():
        for _ in range(6):
            got = fired(source)
            line = fired(lines, **{"in": got["out"]})["line"]
            fired(answers, **{"in": line[: line.used], "request": got["request"]})

    with ThreadPoolExecutor(7) as pool:
        pool.submit(work)
        wanted = [number % 3 for number in range(6)]
        replies = list(pool.map(lambda best: post(port, json.dumps(np.eye(3)[best].tolist())), wanted))
    for best, (status, text) in zip(wanted, replies):
        assert status == 200
        assert json.loads(text)["class"] == ("car", "bus", "truck")[best]


def test_callers_who_wait_for_their_answers_keep_neither_others_nor_the_answers_out(door, port):
    source = door(HttpSource(str(port), keep="64"), {}, {"out": "uint8[1]", "request": "int64[1]"})
    sink = door(HttpSink(f"http://127.0.0.1:{port}/answers"), {"in": "uint8[1]", "request": "int64[1]"}, {})
    with ThreadPoolExecutor(CALLERS + 8) as pool:
        replies = [pool.submit(post, port, bytes([65 + number])) for number in range(CALLERS + 8)]
        until(lambda: source.counts["accepted"] == CALLERS + 8)
        for _ in replies:
            got = fired(source)
            fired(sink, **{"in": got["out"], "request": got["request"]})
        assert [reply.result() for reply in replies] == [(200, chr(65 + number)) for number in range(CALLERS + 8)]


def test_who_gets_no_answer_hears_that_and_an_answer_that_comes_late_is_refused(door, port):
    source = door(HttpSource(str(port), patience="0"), {}, {"out": "uint8[1]", "request": "int64[1]"})
    sink = door(HttpSink(f"http://127.0.0.1:{port}/answers"), {"in": "uint8[1]", "request": "int64[1]"}, {})
    assert post(port, b"a") == (504, "no answer within 0 s\n")
    fired(sink, **{"in": [1], "request": fired(source)["request"]})
    assert sink.figures == {"dropped": 0, "refused": 1}
    assert "answers 404" in sink.said[0]


def test_at_the_end_requests_in_the_graph_are_still_answered_and_others_are_sent_away(door, port):
    source = door(HttpSource(str(port)), {}, {"out": "uint8[1]", "request": "int64[1]"})
    sink = door(HttpSink(f"http://127.0.0.1:{port}/answers"), {"in": "uint8[1]", "request": "int64[1]"}, {})
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(post, port, b"a")
        number = fired(source)["request"]
        second = pool.submit(post, port, b"b")
        until(lambda: source.counts["accepted"] == 2)
        end = pool.submit(source.finalize)
        assert second.result() == (503, "the application ends\n")
        assert not end.done()
        fired(sink, **{"in": [65], "request": number})
        assert first.result() == (200, "A")
        end.result()


@pytest.mark.parametrize(
    ("form", "token", "data", "status", "reason"),
    [
        ("raw", "float32[2]", b"1234", 400, "4 bytes are no token float32[2], which has 8"),
        ("raw", "float32[2]", b"123456789", 413, "at most 8 bytes"),
        ("picture", "uint8[12,16,3]", b"GIF89a", 400, "not a PNG, JPEG or BMP file"),
        ("picture", "uint8[12,16,3]", picture("GIF"), 400, "not a PNG, JPEG or BMP file"),
        ("picture", "uint8[12,16,3]", picture()[:60], 400, "cannot be read as an image"),
        ("json", "float32[2]", b"[1,2", 400, "no JSON"),
        ("json", "int8[1]", b"[128]", 400, "expected 1 numbers, int8"),
    ],
)
def test_what_is_no_token_is_refused_with_the_reason(door, port, form, token, data, status, reason):
    source = door(HttpSource(str(port), form=form), {}, {"out": token})
    got, text = post(port, data)
    assert got == status
    assert reason in text
    assert source.counts["refused"] == 1


def test_requests_that_are_none_are_refused(door, port):
    door(HttpSource(str(port)), {}, {"out": "uint8[1]"})
    assert post(port, b"a", "/elsewhere")[0] == 404
    assert post(port, b"a", Origin="https://example.org")[0] == 403
    assert post(port, b"a", Content_Length="-1")[0] == 411
    assert post(port, b"a", Content_Length="99999999999999")[0] == 413
    assert post(port, None, Transfer_Encoding="chunked")[0] == 411
    assert post(port, b"a", "/answers/1")[0] == 404
    assert post(port, b"a", "/answers/-1")[0] == 404
    assert post(port, None, method="GET")[0] == 501
    assert post(port, b"a")[0] == 202


def test_more_requests_than_may_wait_are_sent_away(door, port):
    source = door(HttpSource(str(port), keep="2"), {}, {"out": "uint8[1]"})
    assert [post(port, b"a")[0] for _ in range(3)] == [202, 202, 503]
    assert source.counts["busy"] == 1
    fired(source)
    assert post(port, b"a")[0] == 202


def test_callers_that_say_nothing_keep_nobody_out_for_ever(door, port, monkeypatch):
    monkeypatch.setattr("http_source._Handler.timeout", 0.3)
    door(HttpSource(str(port)), {}, {"out": "uint8[1]"})
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(CALLERS + 8)]
    time.sleep(0.1)

    def heard():
        try:
            return post(port, b"a")[0] == 202
        except (OSError, http.client.HTTPException):
            return False

    until(heard)
    for connection in silent:
        connection.close()


def test_who_does_not_know_the_password_gets_nothing_in(door, port, monkeypatch):
    monkeypatch.setenv("LOGIN", "eve:s3cret")
    source = door(HttpSource(str(port), login="LOGIN"), {}, {"out": "uint8[1]"})
    assert post(port, b"a")[0] == 401
    assert post(port, b"a", Authorization="Basic " + base64.b64encode(b"eve:guess").decode())[0] == 401
    sink = door(HttpSink(f"http://127.0.0.1:{port}", login="LOGIN"), {"in": "uint8[1]"}, {})
    fired(sink, **{"in": [65]})
    assert fired(source)["out"][0] == 65


def test_beyond_this_machine_a_login_is_required():
    with pytest.raises(ValueError, match=r"address='0\.0\.0\.0': whoever reaches it could send"):
        HttpSource(address="0.0.0.0")


def test_an_address_that_is_taken_is_named(door, port):
    door(HttpSource(str(port)), {}, {"out": "uint8[1]"})
    with pytest.raises(OSError, match=rf"cannot listen at 127\.0\.0\.1:{port}: Address already in use"):
        door(HttpSource(str(port)), {}, {"out": "uint8[1]"})


def test_nobody_waits_for_a_request_when_the_run_is_stopped(door, port):
    source = door(HttpSource(str(port)), {}, {"out": "uint8[1]"})
    threading.Timer(0.1, source.interrupt).start()
    with pytest.raises(EndOfStream):
        fired(source)


def test_what_cannot_be_sent_is_lost_counted_and_said_once(door, port):
    sink = door(HttpSink(f"http://127.0.0.1:{port}/", patience="1"), {"in": "uint8[1]"}, {})
    fired(sink, **{"in": [1]})
    assert sink.figures == {"dropped": 1, "refused": 0}
    assert sink.said == [f"http://127.0.0.1:{port}/: Connection refused: what cannot be sent is lost"]
    with pytest.raises(OSError, match="Connection refused, and not back after 1 s"):
        until(lambda: fired(sink, **{"in": [1]}) is None)


@pytest.mark.parametrize(
    ("url", "reason"),
    [("ftp://host/", "expected http://HOST"), ("http:///x", "expected http"), ("http://a:b@host/", "login")],
)
def test_addresses_that_cannot_be_meant_are_refused(url, reason):
    with pytest.raises(ValueError, match=reason) as refused:
        HttpSink(url)
    assert "a:b" not in str(refused.value)


@pytest.mark.parametrize("outputs", [{}, {"a": "uint8[1]", "b": "uint8[1]"}, {"a": "uint8[1]", "request": "int32[1]"}])
def test_ports_that_do_not_fit_are_refused(door, port, outputs):
    with pytest.raises(ValueError, match="port"):
        door(HttpSource(str(port)), {}, outputs)


def test_a_line_that_is_longer_than_its_token_is_refused(door):
    lines = door(JsonLines(), {"in": "float32[3]"}, {"line": "uint8[<=20]"})
    with pytest.raises(ValueError, match="port 'line': a line of 40 bytes"):
        fired(lines, **{"in": [1, 2, 3]})
    with pytest.raises(ValueError, match="path='x': lines go to the output port"):
        prepared(JsonLines(path="x"), {"in": "float32[3]"}, {"line": "uint8[<=20]"})
