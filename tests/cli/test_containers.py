"""`eprune codegen --target kubernetes|compose`: what cluster and engine would read, checked without either.

No image is built here: there is no container engine where tests run. What the Dockerfile says is carried out as far as
it goes without one: the files are copied where it copies them, and its command and its health check are run.
"""

from __future__ import annotations

import base64
import copy
import json
import os
import re
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import jsonschema
import pytest
import yaml
from application import APPLICATION, mapping
from packaging.requirements import Requirement

from eprune.codegen.targets.image import dns_label
from eprune.deploy.ports import free_base_port
from tests.golden import expected
from tests.kit.programs import STARTED, finish

#: A device with the source, a gateway that runs the first layer, a server that runs the rest.
HOMES = {"In": "cam_1", "L1": "gateway", "L2": "server", "Out": "server"}
ARGUMENTS = ("app.xml", "-p", "platforms", "-m", "split")
VERSIONS = ("1.31", "1.34", "1.37")


@pytest.fixture
def chain(app, eprune):
    """Writes the platforms, and then what a target makes of them into ``out``."""

    def write(target, *more, security="tls", address="192.168.1.20", graph=APPLICATION, unit="", port=5100, code=0):
        def link(to, address="", port=port):
            at = f' address="{address}"' if address else ""
            return f'<link to="{to}"{at} port="{port}" security="{security}"/>'

        links = {
            "cam_1": [link("gateway", address and "gw.example")],
            "gateway": [link("cam_1", address), link("server", address and "10.0.0.1", port + 1)],
            "server": [link("gateway", address and "10.0.0.2", port + 1)],
        }
        for folder in ("platforms", "split"):
            for old in (app / folder).glob("*.xml"):
                old.unlink()
        for platform, each in links.items():
            told = unit if platform == "gateway" else ""
            text = f'<platform name="{platform}"><unit name="cpu0" {told}/>{"".join(each)}</platform>\n'
            (app / f"platforms/{platform}.xml").write_text(text)
            (app / f"split/{platform}.xml").write_text(mapping(platform, HOMES))
        (app / "app.xml").write_text(graph)
        done = eprune("codegen", *ARGUMENTS, "--target", target, *more, "-o", "out/")
        assert done.code == code, done.err
        return done

    return write


@pytest.fixture
def keys(app, eprune):
    """Certificates of all platforms, in the folder ``keys``."""
    assert eprune("certify", "keys", "cam_1", "gateway", "server").code == 0
    return app / "keys"


def read(path):
    """A file as it is kept here: an image's tag is the hash of all that is in it, of the runtime, too."""
    return re.sub(r"(?<=:)[0-9a-f]{12}\b", "TAG", Path(path).read_text())


def objects(path):
    return list(yaml.safe_load_all(Path(path).read_text()))


def of(kind, name, path="out/kubernetes.yaml"):
    (found,) = (each for each in objects(path) if each["kind"] == kind and each["metadata"]["name"] == name)
    return found


def compose_schema():
    """The schema of the Compose Specification. It is not ours to copy: a development dependency brings it."""
    files = [file for file in metadata.files("check-jsonschema") or [] if file.name == "compose-spec.json"]
    return jsonschema.Draft202012Validator(json.loads(files[0].locate().read_text()))


@pytest.mark.parametrize("target", ["kubernetes", "compose"])
def test_what_is_written_reads_like_this(chain, keys, target):
    done = chain(target, "--keys", "keys", "--registry", "registry.example/team")
    assert f"out/{target}.yaml: how to use it is written in it" in done.err
    text = read(f"out/{target}.yaml")
    assert text == expected(f"targets/{target}.yaml", text), "run `make golden` and review the difference"
    text = read("out/images/server/Dockerfile")
    assert text == expected("targets/Dockerfile", text), "run `make golden` and review the difference"


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_accepts_every_object_strictly(chain, keys, version):
    validate = pytest.importorskip("kubernetes_validate").validate
    chain("kubernetes", "--keys", "keys")
    found = [*objects("out/kubernetes.yaml"), *objects("out/secret.yaml")]
    assert sorted(each["kind"] for each in found) == sorted(["Deployment", "Service", "NetworkPolicy", "Secret"] * 2)
    for each in found:
        assert validate(copy.deepcopy(each), version, strict=True).startswith(version)
    wrong = of("Deployment", "tiny-server")
    wrong["spec"]["template"]["spec"]["containers"][0]["readOnly"] = True
    with pytest.raises(Exception, match="readOnly"):
        validate(wrong, version, strict=True)


def test_the_compose_file_follows_the_specification(chain, keys):
    chain("compose", "--keys", "keys")
    (found,) = objects("out/compose.yaml")
    compose_schema().validate(found)
    found["services"]["server"]["reado_only"] = True
    assert not compose_schema().is_valid(found)


def test_only_platforms_that_serve_others_go_into_the_cluster(chain):
    done = chain("kubernetes")
    assert "note: cam_1 is left out: it has sources of its own" in done.err
    assert sorted(path.name for path in Path("out/images").iterdir()) == ["gateway", "server"]
    for name in ("tiny-gateway", "tiny-server"):
        spec = of("Deployment", name)["spec"]
        assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})


def test_programs_in_the_cluster_find_each_other_and_nobody_else_reaches_them(chain):
    chain("kubernetes")
    gateway, server = (of("Deployment", f"tiny-{name}")["spec"]["template"] for name in ("gateway", "server"))
    assert gateway["spec"]["containers"][0]["env"] == [{"name": "EPRUNE_LINK_SERVER", "value": "tiny-server"}]
    assert "env" not in server["spec"]["containers"][0]
    service = of("Service", "tiny-server")["spec"]
    assert (service["type"], [each["port"] for each in service["ports"]]) == ("ClusterIP", [5101])
    assert service["selector"].items() <= server["metadata"]["labels"].items()
    policy = of("NetworkPolicy", "tiny-server")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert policy["ingress"] == [
        {
            "ports": [{"port": 5101}],
            "from": [{"podSelector": {"matchLabels": {"app.kubernetes.io/name": "tiny-gateway"}}}],
        }
    ]
    assert "egress" not in policy
    outer, rules = of("Service", "tiny-gateway")["spec"], of("NetworkPolicy", "tiny-gateway")["spec"]
    assert outer["type"] == "LoadBalancer"
    assert rules["ingress"] == [{"ports": [{"port": 5100}]}]
    assert rules["egress"][1]["to"] == [{"podSelector": {"matchLabels": {"app.kubernetes.io/name": "tiny-server"}}}]


def test_a_container_may_do_little(chain):
    chain("kubernetes")
    for each in (each for each in objects("out/kubernetes.yaml") if each["kind"] == "Deployment"):
        pod = each["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["automountServiceAccountToken"] is False
        (container,) = pod["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["volumes"]}


def test_keys_are_in_a_secret_that_only_the_owner_reads(chain, keys):
    chain("kubernetes", "--keys", "keys")
    assert Path("out/secret.yaml").stat().st_mode & 0o077 == 0
    secret = of("Secret", "tiny-server-keys", "out/secret.yaml")
    found = {name: base64.b64decode(data) for name, data in secret["data"].items()}
    assert found == {name: (keys / name).read_bytes() for name in ("ca.crt", "server.crt", "server.key")}
    pod = of("Deployment", "tiny-server")["spec"]["template"]["spec"]
    volume = next(each for each in pod["volumes"] if each["name"] == "keys")
    assert volume["secret"] == {"secretName": "tiny-server-keys", "defaultMode": 0o440}
    private = [path for path in Path("out").rglob("*") if path.is_file() and b"PRIVATE KEY" in path.read_bytes()]
    assert private == []
    chain("compose", "--keys", "keys")
    assert Path("out/keys/server/server.key").stat().st_mode & 0o077 == 0


def test_without_keys_it_is_said_how_the_secret_is_made(chain):
    chain("kubernetes")
    assert not Path("out/secret.yaml").exists()
    assert "kubectl create secret generic tiny-server-keys --from-file=keys/ca.crt" in read("out/kubernetes.yaml")


@pytest.mark.parametrize(
    ("change", "what", "way_out"),
    [
        ({"security": "none"}, "nothing protects the link between 'gateway' and 'cam_1'", "or give --insecure"),
        ({"security": "ssh"}, "goes over SSH, and no container holds its tunnel", 'security="tls"'),
        (
            {"unit": 'delegate="libedgetpu.so.1"'},
            "an image has no driver for delegate 'libedgetpu.so.1' of unit 'cpu0'",
            "eprune deploy",
        ),
    ],
)
@pytest.mark.parametrize("target", ["kubernetes", "compose"])
def test_what_no_container_can_have_is_refused_by_name(chain, app, target, change, what, way_out):
    done = chain(target, **change, code=2)
    assert what in done.err
    assert way_out in done.err
    assert not (app / "out").exists()


def test_a_new_behaviour_makes_new_tags_and_nothing_else_does(chain):
    chain("compose")
    first = objects("out/compose.yaml")[0]["services"]
    chain("compose")
    assert objects("out/compose.yaml")[0]["services"] == first
    Path("behaviours.py").write_text(Path("behaviours.py").read_text() + "\n# changed\n")
    chain("compose")
    second = objects("out/compose.yaml")[0]["services"]
    assert all(first[name]["image"] != second[name]["image"] for name in first)  # they work only all together


def test_a_registry_that_is_none_is_refused(chain):
    assert "--registry 'Not one\\n': a prefix of names" in chain("compose", "--registry", "Not one\n", code=2).err


def test_json_has_what_was_written_and_what_was_not(chain):
    told = json.loads(chain("kubernetes", "--format", "json").out)
    assert told["target"] == "kubernetes"
    assert "kubernetes.yaml" in told["files"]
    assert "images/server/program.pyz" in told["files"]
    assert list(told["left_out"]) == ["cam_1"]


def test_names_become_names_of_dns():
    assert dns_label("Vehicle_2--x-") == "vehicle-2-x"
    assert dns_label("4-L5") == "app-4-l5"
    long = dns_label("a" * 100)
    assert len(long) == 63
    assert long != dns_label("a" * 101)


def carried_out(folder, root):
    """Do what a Dockerfile's COPY lines say, below ``root``; its command and its health check, with paths below it."""
    lines = (folder / "Dockerfile").read_text().splitlines()
    said = {}
    for line in lines:
        word, _, rest = line.partition(" ")
        if word == "COPY":
            source, target = rest.split()
            place = root / target.lstrip("/")
            place = place / source if target.endswith("/") and not (folder / source).is_dir() else place
            place.parent.mkdir(parents=True, exist_ok=True)
            subprocess.run(["cp", "-r", str(folder / source), str(place)], check=True)
        elif word == "ENTRYPOINT":
            said["command"] = json.loads(rest)
        elif word == "HEALTHCHECK":
            said["health"] = json.loads(rest.partition(" CMD ")[2])
    (root / "run/eprune").mkdir(parents=True)
    (root / "data").mkdir()

    def below(words):
        words = [re.sub(r"(?<![\w.])/(app|run|keys|data)\b", lambda found: f"{root}{found[0]}", word) for word in words]
        return [sys.executable, *words[1:]] if words[0] == "python3" else words

    return below(said["command"]), below(said["health"])


def test_what_the_images_hold_runs_and_answers_its_probes(chain, tmp_path):
    port = free_base_port(2)
    chain("kubernetes", "--insecure", security="none", port=port)
    images = Path("out/images").resolve()
    chain("compose", "--insecure", security="none", port=port)
    environment = {
        **os.environ, "EPRUNE_LINK_SERVER": "127.0.0.1", "EPRUNE_LINK_GATEWAY": "127.0.0.1",
        "EPRUNE_LINK_CAM_1": "127.0.0.1",
    }  # fmt: skip
    environment.pop("PYTHONPATH", None)
    started, probes = {}, {}
    for name in ("server", "gateway", "cam_1"):
        root = tmp_path / "containers" / name
        command, probes[name] = carried_out(images / name, root)
        started[name] = subprocess.Popen(
            [*command, "--insecure"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=root / "data",
            env=environment,
        )  # fmt: skip
        STARTED.append(started[name])
    frames = [json.loads(started["server"].stdout.readline()) for _ in range(4)]
    assert all(len(frame[0]) == 5 for frame in frames)
    assert finish(started["cam_1"])[0] == 0
    deadline = time.monotonic() + 60
    while (done := subprocess.run(probes["server"], capture_output=True, text=True, check=False)).returncode:
        assert time.monotonic() < deadline, done
        time.sleep(0.1)
    assert done.stdout.startswith("it ")
    for name in ("gateway", "server"):
        started[name].terminate()
        finish(started[name])
    for name in started:
        for line in (images / name / "requirements.txt").read_text().splitlines():
            Requirement(line)


def test_a_module_of_which_nobody_knows_the_package_is_asked_for(chain, app):
    (app / "behaviours.py").write_text("import nobody_knows\n" + (app / "behaviours.py").read_text())
    done = chain("compose", code=1)
    assert "name it with --require" in done.err
    chain("compose", "--require", "nobody-knows==1.0")
    assert "nobody-knows==1.0" in Path("out/images/server/requirements.txt").read_text().splitlines()


READER = """

class Reader(Ramp):
    PATHS = {"folder": "read"}

    def __init__(self, folder, count="4"):
        super().__init__(count)
        print(open(f"{folder}/a b.txt").read(), flush=True)
"""


def test_what_actors_read_is_packed(chain, app, tmp_path):
    (app / "behaviours.py").write_text((app / "behaviours.py").read_text() + READER)
    (app / "pictures").mkdir()
    (app / "pictures/a b.txt").write_text("a picture")
    reading = '<actor name="In" class="behaviours.py:Reader"><param name="folder" value="pictures"/>'
    graph = APPLICATION.replace('<actor name="In" class="behaviours.py:Ramp">', reading)
    assert "pictures, which is not packed: --with-inputs packs it" in chain("compose", graph=graph).err
    done = chain("compose", "--with-inputs", "--insecure", graph=graph, security="none", port=free_base_port(2))
    assert "not packed" not in done.err
    (app / "pictures/a b.txt").unlink()
    command, _ = carried_out(Path("out/images/cam_1").resolve(), tmp_path / "root")
    done = subprocess.run([*command, "--insecure", "--timeout=0.1"], capture_output=True, text=True, check=False)
    assert done.stdout == "a picture\n", done.stderr
