"""`eprune certify`: certificates that programs accept, and none that is written over without being asked."""

from __future__ import annotations

import json
import ssl
import stat
from datetime import timedelta
from pathlib import Path

import pytest

from eprune.formats import certificates
from eprune.runtime.net.tls import Keys
from tests.kit import keys


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def until(name):
    return certificates.validity(Path("keys", f"{name}.crt").read_bytes()).end


def test_platforms_get_certificates_that_programs_take(eprune):
    done = eprune("certify", "keys", "endpoint", "server-2")
    assert (done.code, done.out) == (0, "")
    assert [line.partition(":")[0] for line in done.err.splitlines()] == [
        "keys/ca.crt",
        "keys/endpoint.crt",
        "keys/server-2.crt",
    ]
    for platform in ("endpoint", "server-2"):
        assert Keys("keys", platform).warning == ""
    for name in ("ca", "endpoint", "server-2"):
        assert stat.S_IMODE(Path("keys", f"{name}.key").stat().st_mode) == 0o600
    assert timedelta(days=364) < until("endpoint") - certificates.now() <= timedelta(days=365)
    assert until("ca") - until("endpoint") > timedelta(days=3000)


def test_a_name_of_any_length_is_told_apart(eprune):
    long = "p" * 100
    assert eprune("certify", "keys", long).code == 0
    assert Keys("keys", long)


def test_platforms_are_added_by_the_same_authority(eprune):
    eprune("certify", "keys", "endpoint")
    before = {path.name: path.read_bytes() for path in Path("keys").iterdir()}
    assert eprune("certify", "keys", "server", "--days", "7").code == 0
    assert {name: Path("keys", name).read_bytes() for name in before} == before
    assert Keys("keys", "server")
    assert until("server") - certificates.now() <= timedelta(days=7)


def test_nothing_is_written_over(eprune):
    eprune("certify", "keys", "endpoint")
    before = {path.name: path.read_bytes() for path in Path("keys").iterdir()}
    done = eprune("certify", "keys", "new", "endpoint")
    assert done.code == 2
    assert (
        "keys/endpoint.crt: error[FILE]: this is there already\n    hint: --renew gives endpoint new dates" in done.err
    )
    assert {path.name: path.read_bytes() for path in Path("keys").iterdir()} == before
    Path("keys/ca.crt").unlink()
    done = eprune("certify", "keys", "new")
    assert done.code == 2
    assert "keys/ca.key: error[FILE]: a key without its certificate ca.crt" in done.err


def test_renewing_keeps_the_keys_and_needs_no_platforms_key(eprune):
    eprune("certify", "keys", "endpoint", "server", "--days", "3")
    key = Path("keys/endpoint.key").read_bytes()
    Path("keys/endpoint.key").unlink()
    assert eprune("certify", "keys", "--renew").code == 0
    Path("keys/endpoint.key").write_bytes(key)
    for platform in ("endpoint", "server"):
        assert until(platform) - certificates.now() > timedelta(days=300)
        assert Keys("keys", platform)
    old = until("server")
    assert eprune("certify", "keys", "--renew", "endpoint", "--days", "400").code == 0
    assert until("endpoint") > old == until("server")
    assert eprune("certify", "keys", "--renew", "nobody").code == 2


def test_what_a_renewed_authority_has_signed_stays_signed(eprune):
    eprune("certify", "keys", "endpoint")
    old = Path("keys/ca.crt").read_bytes()
    done = eprune("certify", "keys", "--renew", "ca")
    assert done.code == 0
    assert "every device needs the new ca.crt" in done.err
    assert Path("keys/ca.crt").read_bytes() != old
    assert Keys("keys", "endpoint")


def test_an_authority_that_has_expired_signs_nothing(eprune):
    Path("keys").mkdir()
    pair = certificates.make_authority(keys.EXPIRED)
    Path("keys/ca.crt").write_bytes(pair.certificate)
    Path("keys/ca.key").write_bytes(pair.key)
    done = eprune("certify", "keys", "endpoint")
    assert done.code == 2
    assert "the authority is not valid now" in done.err
    assert "--renew FOLDER ca" in done.err
    assert eprune("certify", "keys", "--renew", "ca").code == 0
    assert eprune("certify", "keys", "endpoint").code == 0


def test_a_certificate_is_never_valid_for_longer_than_its_authority(eprune):
    Path("keys").mkdir()
    pair = certificates.make_authority(certificates.days_from(certificates.now(), 10))
    Path("keys/ca.crt").write_bytes(pair.certificate)
    Path("keys/ca.key").write_bytes(pair.key)
    done = eprune("certify", "keys", "endpoint")
    assert done.code == 0
    assert until("endpoint") == until("ca")
    assert "note: not for 365 days: the authority's own certificate ends then (--renew keys ca)" in done.err
    assert "note:" not in eprune("certify", "keys", "server", "--days", "10").err


def test_show_tells_what_expires_when(eprune):
    eprune("certify", "keys", "endpoint", "server", "--days", "30")
    done = eprune("certify", "keys", "--show")
    assert done.code == 0
    assert done.out.splitlines()[0].split() == ["certificate", "until", "days", "left"]
    assert [line.split()[0] for line in done.out.splitlines()[1:]] == ["ca", "endpoint", "server"]
    assert f"{until('server'):%Y-%m-%d}" in done.out
    told = json.loads(eprune("certify", "keys", "--show", "--format", "json").out)
    assert [each["name"] for each in told] == ["ca", "endpoint", "server"]
    assert told[1]["until"] == until("endpoint").isoformat()


def test_show_counts_what_has_expired_as_a_finding(eprune):
    keys.write(Path("keys"), keys.authority(), "endpoint", valid=keys.EXPIRED)
    done = eprune("certify", "keys", "--show")
    assert done.code == 1
    assert "expired" in done.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("keys",), "name the platforms"),
        (("keys", "--renew"), "there is nothing to renew"),
        (("keys", "../endpoint"), "'../endpoint' is not a name that a platform can have"),
        (("keys", "ca"), "stands for the authority"),
        (("keys", "--show"), "keys/ca.crt: error[FILE]: No such file or directory"),
        (("keys", "--show", "endpoint"), "--show takes neither platforms nor --renew"),
    ],
)
def test_what_makes_no_sense_is_said(eprune, arguments, message):
    done = eprune("certify", *arguments)
    assert done.code == 2
    assert message in done.err
    assert not Path("keys").exists()


@pytest.mark.parametrize("file", ["ca.crt", "ca.key", "endpoint.crt"])
def test_what_is_no_certificate_or_key_is_said(eprune, file):
    eprune("certify", "keys", "endpoint")
    Path("keys", file).write_bytes(b"nonsense")
    done = eprune("certify", "keys", "--renew")
    assert done.code == 2
    assert f"keys/{file}: error[FILE]: this is not a certificate or key" in done.err
    assert "INTERNAL" not in done.err


def test_openssl_agrees_that_it_is_for_both_ends(eprune):
    eprune("certify", "keys", "endpoint")
    for purpose in (ssl.Purpose.SERVER_AUTH, ssl.Purpose.CLIENT_AUTH):
        context = ssl.create_default_context(purpose, cafile="keys/ca.crt")
        context.load_cert_chain("keys/endpoint.crt", "keys/endpoint.key")
        assert [each["subject"] for each in context.get_ca_certs()] == [((("commonName", "eprune authority"),),)]
