"""`eprune top` and `eprune watch`: two programs that really run, on a real terminal and in a real browser."""

from __future__ import annotations

import contextlib
import fcntl
import html
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
import urllib.error
import urllib.request

import jsonschema
import pytest

from eprune.views import schemas
from tests.kit import browser as kit_browser
from tests.kit import fleet as kit
from tests.kit.commands import call
from tests.kit.programs import environment
from tests.kit.waiting import until


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    """Two devices that are this machine; on both runs what counts, a hundred a second."""
    with kit.local(tmp_path_factory.mktemp("watched")) as fleet:
        done = call("deploy", fleet.system, "--service", "plain")
        assert done.code == 0, done.err
        yield fleet


@contextlib.contextmanager
def process(*arguments, **more):
    """``eprune`` as a process that is ended."""
    started = subprocess.Popen(
        [sys.executable, "-m", "eprune", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **{"env": environment(), **more},
    )
    try:
        yield started
    finally:
        started.send_signal(signal.SIGINT)
        started.communicate(timeout=60)


def restart(fleet, platform="server"):
    """Kill a platform's program; the supervisor starts it again."""
    (pid,) = fleet.programs(platform)
    os.kill(pid, signal.SIGKILL)


def test_top_shows_once_what_there_is_and_says_by_its_exit_code_whether_it_is_well(fleet, eprune):
    until(lambda: fleet.status("server")["recent"]["ages"])
    done = eprune("top", fleet.system)
    assert (done.code, done.err) == (0, "")
    assert re.search(r"^count  \d+(\.\d+)? frames/s", done.out)
    for words in (
        r"camera +healthy +\d+",
        r"server +healthy",
        r"Print +server +[\d.]+ +[\d.]+ +\d+ %",
        r"f +Count +Print",
    ):
        assert re.search(words, done.out), done.out
    told = json.loads(eprune("top", fleet.system, "--once", "--format", "json").out)
    jsonschema.validate(told, json.loads(schemas.schema_text("top")))
    assert 0 < told["frames_per_s"] < 110
    assert told["ages"]["Print.in"]["tokens"] > 0
    assert not told["degraded"]


def test_alarms_run_commands_and_are_findings(fleet, eprune, tmp_path):
    out = tmp_path / "alarms"
    command = ("--late-after", "0.000001", "--on", "late,stalled", f'echo "$EPRUNE_SUBJECT" >> {out}')
    done = eprune("top", fleet.system, "--once", *command)
    assert (done.code, "late: of the frames at Print.in" in done.out) == (1, True)
    until(out.exists)
    until(lambda: out.read_text() == "Print.in\n")
    assert "'gone' is none of lost, late, stalled, drift" in eprune("top", fleet.system, "--on", "gone", "true").err
    assert "add --against DIR" in eprune("top", fleet.system, "--on", "drift", "true").err


def test_states_are_lines_of_json_for_as_long_as_one_wishes(fleet):
    with process("top", fleet.system, "--format", "json", "--every", "0.2") as top:
        lines = [json.loads(top.stdout.readline()) for _ in range(8)]
    assert lines[-1]["time"] > lines[0]["time"]
    assert all(line["application"] == "count" for line in lines)


class Terminal:
    """A terminal in which something runs: what is on its screen, and typing."""

    def __init__(self, *arguments, columns=110, lines=30):
        pyte = pytest.importorskip("pyte")
        self.screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self.screen)
        self._master, other = pty.openpty()
        fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "eprune", *arguments],
            stdin=other,
            stdout=other,
            stderr=other,
            env={**environment(), "TERM": "xterm-256color", "COLUMNS": "", "LINES": ""},
            start_new_session=True,
        )
        self._settings = termios.tcgetattr(other)
        self._other = other

    def shows(self, words, seconds=30):
        """Wait until it does."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.read(0.1)
            if re.search(words, "\n".join(self.screen.display)):
                return
        raise AssertionError("\n".join(self.screen.display))

    def read(self, seconds):
        if select.select([self._master], [], [], seconds)[0]:
            with contextlib.suppress(OSError):
                self._stream.feed(os.read(self._master, 65536))

    def type(self, text):
        os.write(self._master, text.encode())

    def leave(self):
        """Wait for its end, in which the terminal gets its settings back; the exit code."""
        while self.process.poll() is None:
            self.read(0.05)
        while select.select([self._master], [], [], 0)[0]:
            self.read(0)
        assert termios.tcgetattr(self._other)[3] & (termios.ECHO | termios.ICANON) == self._settings[3] & (
            termios.ECHO | termios.ICANON
        )
        os.close(self._master)
        os.close(self._other)
        return self.process.returncode


def test_top_is_live_on_a_terminal_until_q(fleet):
    terminal = Terminal("top", fleet.system, "--every", "0.2")
    terminal.shows(r"count  \d+(\.\d+)? frames/s(.|\n)*Print +server(.|\n)*FIFO +from +to(.|\n)*f +Count +Print")
    restart(fleet)
    terminal.shows(r"lost: ")
    terminal.shows(r"(?s)server +healthy.*server: running")
    terminal.type("q")
    assert terminal.leave() == 0


@contextlib.contextmanager
def served(fleet, *more, **how):
    """``eprune watch``, and its URL."""
    with process("watch", fleet.system, "--every", "0.2", *more, **how) as watch:
        yield watch.stdout.readline().strip(), watch


def fetch(url):
    with urllib.request.urlopen(url, timeout=20) as answer:
        return answer.headers, answer.read().decode()


def test_the_page_is_behind_a_token_and_may_reach_nothing_else(fleet):
    with served(fleet) as (url, _):
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/[\w-]{22}/", url)
        headers, text = fetch(url)
        assert headers["Referrer-Policy"] == "no-referrer"
        policy = html.unescape(re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)[1])
        assert "default-src 'none'" in policy and "connect-src 'self'" in policy
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text), "a foreign request"
        root = re.match(r"http://[^/]+/", url)[0]
        for wrong in ("", "metrics", "events", "x" * 22, "x" * 22 + "/", url[len(root) : -2] + "/", "../etc/passwd"):
            with pytest.raises(urllib.error.HTTPError, match="404"):
                fetch(root + wrong)
        with pytest.raises(urllib.error.HTTPError, match="404"):
            fetch(url + "watch.js")


def test_metrics_of_all_programs_are_in_one_place(fleet):
    parser = pytest.importorskip("prometheus_client.parser")
    with served(fleet, "--late-after", "0.000001") as (url, watch):

        def found():
            families = parser.text_string_to_metric_families(fetch(url + "metrics")[1])
            return {(one.name, one.labels["platform"]): one.value for each in families for one in each.samples}

        until(lambda: ("eprune_alarm", "server") in found() and ("eprune_running", "camera") in found())
        until(lambda: found()["eprune_healthy", "camera"] == found()["eprune_healthy", "server"] == 1)
        # The others are of the restart in the test before.
        assert any("server: late: of the frames at Print.in" in line for line in watch.stderr)


@kit_browser.needs_browser
def test_a_browser_shows_what_happens(fleet, tmp_path):
    with served(fleet, "--token", "a-token-of-mine") as (url, _), kit_browser.browser(tmp_path) as page:
        assert url.endswith("/a-token-of-mine/")
        page.driver.get(url)

        def text(selector):
            script = "[...document.querySelectorAll(arguments[0])].map((each) => each.textContent).join(' ')"
            return page.run(script, selector)  # at once: the page goes on

        until(lambda: "all is well" in text("#state"))
        until(lambda: re.search(r"[\d.]+/s, \d+ B/s|[\d.]+/s, [\d.]+ kB/s", text("[data-label]")))
        assert page.run("document.title") == "count"
        assert text("#platforms tbody td:first-child") == "camera server"
        assert text("#actors tbody td:first-child") == "Count Print"
        assert len(page.find("#charts svg")) == 4
        until(lambda: page.run("document.querySelector('#charts .series').getAttribute('d').length > 20"))
        for width in (360, 1400):
            size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
            page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
            assert page.run("document.documentElement.scrollWidth") <= width
        restart(fleet)
        until(lambda: "lost" in text("#alarms"))
        until(lambda: "all is well" in text("#state"))
        assert "running" in text("#events")
        loaded = page.run("performance.getEntriesByType('resource').map((each) => each.name)")
        assert all(each.startswith(url) for each in loaded)
        assert [each for each in page.complaints() if "favicon" not in each] == []


@pytest.mark.long
def test_a_port_that_is_taken_and_a_token_that_can_be_guessed_are_refused(fleet, eprune):
    with served(fleet) as (url, _):
        port = re.search(r":(\d+)/", url)[1]
        done = eprune("watch", fleet.system, "--port", port)
        assert (done.code, f"127.0.0.1:{port}: Address already in use" in done.err) == (2, True), done.err
    assert "expected 8 or more letters" in eprune("watch", fleet.system, "--token", "1234").err


@pytest.mark.long
def test_a_connection_that_breaks_is_made_again(tmp_path):
    psutil = pytest.importorskip("psutil")
    with kit.over_ssh(tmp_path) as fleet:
        assert call("deploy", fleet.system, "--service", "plain").code == 0
        with process("top", fleet.system, "--format", "json", "--every", "0.2") as top:
            lines: list[dict] = []
            reader = threading.Thread(target=lambda: lines.extend(map(json.loads, top.stdout)), daemon=True)
            reader.start()

            def health():
                return [each["health"] for each in lines[-1]["platforms"]] if lines else []

            until(lambda: health() == ["healthy", "healthy"])
            for ssh in psutil.Process(top.pid).children(recursive=True):
                ssh.kill()
            until(lambda: "unreachable" in health())
            until(lambda: health() == ["healthy", "healthy"])
        assert call("deploy", "undeploy", fleet.system, "--purge").code == 0


def test_an_application_with_its_files(fleet, eprune):
    names = ("application.xml", "--platform", "platforms", "--mapping", "mappings")
    files = [name if name.startswith("-") else f"{fleet.system}/{name}" for name in names]
    assert json.loads(eprune("top", *files, "--once", "--format", "json").out)["application"] == "count"
    for command in ("top", "watch"):
        assert "there are no platform files: add them with -p" in eprune(command, files[0], *files[3:]).err
        assert "there are no mapping files: add them with -m" in eprune(command, *files[:3]).err


@pytest.mark.long
def test_the_page_is_at_an_address_of_ones_own_and_opens_by_itself(fleet, tmp_path):
    opened = tmp_path / "opened"
    (tmp_path / "browser").write_text(f'#!/bin/sh\necho "$1" > {opened}\n')
    (tmp_path / "browser").chmod(0o755)
    browser = {**environment(), "BROWSER": f"{tmp_path}/browser %s"}
    with served(fleet, "--bind", "127.0.0.2", "--open", env=browser) as (url, _):
        assert url.startswith("http://127.0.0.2:")
        assert "<title>count</title>" in fetch(url)[1]
        until(lambda: opened.exists() and opened.read_text())
        assert opened.read_text().strip() == url


def test_what_was_predicted_is_set_beside_what_is_measured(fleet, eprune, tmp_path):
    platforms = [f"{fleet.system}/platforms/{name}.xml" for name in kit.PLATFORMS]
    cuts = str(tmp_path / "cuts")
    done = eprune("explore", f"{fleet.system}/application.xml", "-p", *platforms, "-o", cuts)
    assert done.code == 0, done.err
    done = eprune("top", fleet.system, "--once", "--against", cuts)
    assert (done.code, "run eprune profile" in done.err) == (2, True)
    done = eprune("profile", cuts, "--actors", "-q")
    assert done.code == 0, done.err
    actors = json.loads((tmp_path / "cuts" / "actors.json").read_text())
    assert actors
    done = eprune("top", fleet.system, "--once", "--against", cuts)
    assert done.code in (0, 1) and done.err == ""
