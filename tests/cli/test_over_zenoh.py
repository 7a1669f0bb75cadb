"""Links with via="zenoh": bundles that codegen writes run over a real router, in both directions."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import yaml
from application import APPLICATION, mapping

from eprune.deploy.ports import free_base_port
from tests.kit import zenoh_router
from tests.kit.programs import finish, start_command

#: There and back: f2 goes to the server, f3 comes from it.
HOMES = {"In": "endpoint", "L1": "endpoint", "L2": "server", "Out": "endpoint"}
FILES = ("app.xml", "-p", "platforms", "-m", "split")


@pytest.fixture
def write(app):
    """Writes the platforms, with such a link."""

    def platforms(link='via="zenoh"', homes=HOMES):
        port = free_base_port(2)
        for platform, peer in (("endpoint", "server"), ("server", "endpoint")):
            (app / f"platforms/{platform}.xml").write_text(
                f'<platform name="{platform}" host="local"><unit name="cpu0"/>'
                f'<link to="{peer}" port="{port}" {link}/></platform>\n'
            )
            (app / f"split/{platform}.xml").write_text(mapping(platform, homes))
        (app / "app.xml").write_text(APPLICATION)

    return platforms


@pytest.mark.parametrize("ports", [pytest.param("each", marks=pytest.mark.long), "shared"])
def test_bundles_run_over_a_router_in_both_directions(app, eprune, eprune_process, write, ports):
    pytest.importorskip("zenoh", reason="needs eclipse-zenoh")
    write(f'via="zenoh" ports="{ports}"')
    direct = eprune_process("run", *FILES, "-q")
    assert direct.code == 0, direct.err
    assert eprune("codegen", *FILES, "--pyz", "-o", "build/").code == 0
    place = free_base_port(1)
    router = zenoh_router.start(place)
    try:
        where = f"--zenoh=tcp/127.0.0.1:{place}"
        server = start_command(sys.executable, "build/server.pyz", where, PYTHONPATH="")
        endpoint = start_command(sys.executable, "build/endpoint.pyz", where, PYTHONPATH="")
        assert finish(endpoint) == (0, direct.out, "")
        assert finish(server) == (0, "", "")
    finally:
        zenoh_router.stop(router)


def test_both_files_say_the_same(app, eprune, write):
    write()
    text = (app / "platforms/server.xml").read_text().replace(' via="zenoh"', "")
    (app / "platforms/server.xml").write_text(text)
    done = eprune("analyze", *FILES)
    assert done.code == 1
    assert "has via=\"zenoh\" in the file of 'endpoint', and no via in that of 'server'" in done.err + done.out


def test_a_link_over_zenoh_needs_no_service(app, eprune, write):
    write('via="zenoh" security="tls"', {**HOMES, "Out": "server"})
    done = eprune("codegen", *FILES, "--target", "kubernetes", "-o", "out/")
    assert done.code == 2
    assert "the link between 'server' and 'endpoint' goes over zenoh, and nobody says where" in done.err
    where = "tcp/10.1.2.3:7447"
    done = eprune("codegen", *FILES, "--target", "kubernetes", "--zenoh", where, "-o", "out/")
    assert done.code == 0, done.err
    found = {each["kind"]: each for each in yaml.safe_load_all(Path("out/kubernetes.yaml").read_text())}
    assert found.keys() == {"Deployment", "NetworkPolicy"}
    (container,) = found["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert container["args"] == ["--keys=/keys", f"--zenoh={where}"]
    assert found["NetworkPolicy"]["spec"]["egress"][1] == {
        "ports": [{"port": 7447}], "to": [{"ipBlock": {"cidr": "10.1.2.3/32"}}],
    }  # fmt: skip
    assert "ingress" not in found["NetworkPolicy"]["spec"]
    assert "eclipse-zenoh" in Path("out/images/server/requirements.txt").read_text().splitlines()


def test_deploy_refuses_a_router_that_nothing_needs(eprune, write):
    write("")
    done = eprune("deploy", *FILES, "--zenoh", "discover", "--dry-run")
    assert (done.code, '--zenoh is for links with via="zenoh", and there are none' in done.err) == (2, True)
