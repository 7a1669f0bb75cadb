"""Two applications on one device: what each takes is told, and what cannot be is refused before anything is changed."""

import json

from eprune.deploy.neighbours import Share, together
from tests.kit import fleet as kit
from tests.kit.commands import call

MIB = 1 << 20
OTHER = {"cores": [1, 2], "listens": [5100], "memory": 30 * MIB}


def found(share, limit=None, total=100 * MIB, **neighbours):
    return together(share, limit, {"neighbours": neighbours, "memory_total": total})


def test_alone_there_is_nothing_to_say():
    assert found(Share((0,), (5100,), 500 * MIB)) == ([], [])


def test_what_a_neighbour_takes_is_told():
    problems, notes = found(Share((0, 1), (5200,), 10 * MIB), other=OTHER)
    assert problems == []
    assert notes == [
        "beside other, which takes cores 1, 2 and 30.0 MiB for buffers and weights",
        "core 1 is taken by other, too",
    ]
    assert found(Share(), plain={})[1] == ["beside plain, which takes any core and 0.0 MiB for buffers and weights"]


def test_memory_is_that_of_both():
    share = Share((), (), 80 * MIB)
    told = "M3: with other, buffers and weights take 110 MiB, and there are {}"
    assert found(share, other=OTHER)[0] == [told.format(100)]
    assert found(share, limit=60 * MIB, other=OTHER)[0] == [told.format(60)]
    assert found(share, limit=200 * MIB, other=OTHER)[0] == []


def test_two_cannot_listen_on_one_port():
    problems, _ = found(Share((), (5100, 5101)), other=OTHER)
    assert problems == ["other listens on port 5100: state another port for the link in both platform files"]


def test_neighbours_are_found_on_the_device(tmp_path):
    with kit.local(tmp_path) as fleet:
        fleet.write()
        version = fleet.device("server") / "alarm" / "server" / "versions" / "0123456789ab"
        version.mkdir(parents=True)
        (version / "deployment.json").write_text(json.dumps({**OTHER, "listens": [fleet.port]}))
        (version.parent.parent / "current").symlink_to("versions/0123456789ab")
        done = call("deploy", "doctor", fleet.system, "--format", "json")
        assert done.code == 1
        assert "note: server (this machine): beside alarm/server, which takes cores 1, 2 and 30.0 MiB" in done.err
        platforms = json.loads(done.out)["platforms"]
        assert platforms["camera"]["problems"] == []
        assert platforms["server"]["problems"] == [
            f"alarm/server listens on port {fleet.port}: state another port for the link in both platform files"
        ]
        done = call("deploy", fleet.system, "--service", "plain")
        assert done.code == 1
        assert fleet.current("server") is None
