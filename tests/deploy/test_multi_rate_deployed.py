"""An application whose ends of FIFOs have rates of their own is deployed like any other, but not while frames flow."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

from tests.kit import fleet as kit
from tests.kit.commands import call
from tests.kit.waiting import until


def test_a_multi_rate_application_is_deployed_fires_at_its_rates_and_comes_back(tmp_path):
    with kit.local(tmp_path) as devices:
        written = Path(devices.system, "application.xml")
        text = written.read_text().replace('name="count"', 'name="count" model="sdf"')
        written.write_text(text.replace('<in name="in" token="int32[1]"', '<in name="in" token="int32[1]" rate="3"'))

        done = call("deploy", devices.system, "--service", "plain", "--timeout", "30")
        assert done.code == 0, done.err
        assert devices.counts()
        rows = json.loads(call("deploy", "status", devices.system, "--format", "json").out)
        assert [row["health"] for row in rows] == ["healthy", "healthy"]
        made = devices.status("camera")["firings"]["Count"]
        until(lambda: devices.status("server")["firings"]["Print"] * 3 > made)
        assert devices.status("server")["firings"]["Print"] * 3 <= devices.status("camera")["firings"]["Count"] + 200
        shown = call("top", devices.system, "--once")
        assert shown.code == 0 and "Print" in shown.out, shown.err

        for name in kit.PLATFORMS:
            (before,) = devices.programs(name)
            os.kill(before, signal.SIGKILL)
            until(lambda name=name, before=before: before not in devices.programs(name) and devices.programs(name))
            assert devices.counts()

        devices.write(period="0.02")
        written.write_text(written.read_text().replace('name="count"', 'name="count" model="sdf"'))
        live = call("deploy", devices.system, "--live", "--timeout", "30")
        assert live.code == 1 and "deploy without --live" in live.err, live.err
        assert devices.counts()
        assert call("deploy", "undeploy", devices.system, "--purge").code == 0
