"""Figures for a real Pushgateway, which is killed and comes back."""

import contextlib
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import pytest
from driver import fired, prepared

from eprune.deploy.ports import free_base_port

pytest.importorskip("prometheus_client", reason="prometheus-client is not installed")

from prometheus_push import PrometheusPush

GATEWAY = shutil.which("prometheus-pushgateway") or shutil.which("pushgateway")


class Gateway:
    """It can be killed, and started again."""

    def __init__(self, port):
        if GATEWAY is None:
            pytest.skip("Prometheus' Pushgateway is not installed here (apt install prometheus-pushgateway)")
        self.port, self.url = port, f"http://127.0.0.1:{port}"

    def start(self):
        address = f"--web.listen-address=127.0.0.1:{self.port}"
        self.process = subprocess.Popen([GATEWAY, address], stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return
            time.sleep(0.05)
        pytest.fail("the Pushgateway does not start")

    def kill(self):
        self.process.kill()
        self.process.wait()

    def lines(self):
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"{self.url}/metrics") as answer:
            return answer.read().decode().splitlines()


@pytest.fixture
def gateway():
    made = Gateway(free_base_port(1))
    made.start()
    yield made
    made.kill()


def test_the_newest_token_is_pushed_and_the_last_one_at_the_end(gateway):
    sink = PrometheusPush("score", gateway.url, job="street", instance="a/b", labels="car,bus", every="1000")
    prepared(sink, {"in": "float32[1,2]"}, {})
    fired(sink, **{"in": [0.25, 0.75]})
    fired(sink, **{"in": [0.5, 0.125]})
    about = 'instance="a/b",job="street"'
    assert f'score{{class="car",{about}}} 0.25' in gateway.lines()
    sink.finalize()
    assert f'score{{class="car",{about}}} 0.5' in gateway.lines()
    assert f'score{{class="bus",{about}}} 0.125' in gateway.lines()
    assert f"score_tokens_total{{{about}}} 2" in gateway.lines()


def test_one_number_has_no_class_and_the_count_goes_on_in_the_next_generation(gateway):
    sink = prepared(PrometheusPush("level", gateway.url), {"in": "int32[1]"}, {})
    fired(sink, **{"in": [7]})
    sink.finalize()
    following = PrometheusPush("level", gateway.url)
    following.resume(sink.state())
    prepared(following, {"in": "int32[1]"}, {})
    fired(following, **{"in": [8]})
    assert 'level{instance="",job="eprune"} 8' in gateway.lines()
    assert 'level_tokens_total{instance="",job="eprune"} 2' in gateway.lines()


def test_a_gateway_that_is_away_holds_up_nobody_and_gets_the_rest_later(gateway):
    sink = PrometheusPush("level", gateway.url, every="0")
    said = []
    sink.tell = said.append
    prepared(sink, {"in": "float32[1]"}, {})
    gateway.kill()
    for value in range(3):
        fired(sink, **{"in": [value]})
    assert sink.figures == {"failed": 3}
    assert said == [f"{gateway.url}: Connection refused: figures are pushed later"]
    gateway.start()
    fired(sink, **{"in": [5]})
    assert 'level_tokens_total{instance="",job="eprune"} 4' in gateway.lines()


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"metric": "a-b"}, "letters, digits"),
        ({"metric": "a", "gateway": "localhost"}, "expected http://HOST"),
        ({"metric": "a", "gateway": "http://a:b@localhost"}, "login"),
        ({"metric": "a", "job": ""}, "job: is empty"),
        ({"metric": "a", "login": "NOWHERE_TO_BE_FOUND"}, "is not set"),
    ],
)
def test_parameters_that_cannot_be_meant_are_refused(parameters, reason):
    with pytest.raises(ValueError, match=reason):
        PrometheusPush(**parameters)


@pytest.mark.parametrize("token", ["float32[1001]", "uint8[<=9]", "complex64[2]"])
def test_ports_that_do_not_fit_are_refused(token):
    with pytest.raises(ValueError, match="1 to 1000 numbers"):
        prepared(PrometheusPush("a"), {"in": token}, {})


def test_without_prometheus_client_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(ValueError, match=r"pip install eprune\[prometheus\]"):
        PrometheusPush("a")
