"""Platform files become platforms and back."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eprune.formats.xml.platform import read_platform, write_platform
from eprune.model.platform import Engine, Link, Platform, Security, Unit

EXAMPLE = """<platform name="endpoint" host="me@pi" python="python3.11" folder="/srv" memory="512MiB" group="rack1 ups">
  <unit name="cpu0" core="0"/>
  <unit name="cpu" slowdown="7.5" watts="3.5W" idle="800mW" group="ups"/>
  <link to="server" address="192.168.1.10" port="5200" bandwidth="100Mbit/s" latency="1.49ms" watts="4W"/>
  <link to="other" ports="shared" security="tls" window="64KiB" group="cable"/>
</platform>
"""


def test_a_platform_is_read_with_units_defaults_and_lines(tmp_path: Path) -> None:
    path = tmp_path / "endpoint.xml"
    path.write_text(EXAMPLE, encoding="utf-8")
    platform = read_platform(str(path))
    assert platform == Platform(
        "endpoint",
        units=(Unit("cpu0", (0,)), Unit("cpu", slowdown=7.5, watts=3.5, idle=0.8, groups=("ups",))),
        links=(
            Link("server", "192.168.1.10", 5200, bandwidth=12.5e6, latency=1.49 * 1e-3, watts=4.0),
            Link("other", "127.0.0.1", 5100, shared=True, security=Security.TLS, window=65536, groups=("cable",)),
        ),
        memory=512 * 2**20,
        groups=("rack1", "ups"),
        host="me@pi",
        python="python3.11",
        folder="/srv",
    )
    assert [thing.where.line for thing in (platform, *platform.units, *platform.links)] == [1, 2, 3, 4, 5]
    assert write_platform(platform) == EXAMPLE


@pytest.mark.parametrize(
    ("bandwidth", "latency", "written"),
    [
        (11.2e6, 1.22e-3, 'bandwidth="11.2MB/s" latency="1.22ms"'),
        (12.5e6, 5e-4, 'bandwidth="100Mbit/s" latency="500us"'),
        (125e6, 1.0, 'bandwidth="1Gbit/s" latency="1s"'),
        (0.0, 0.0, 'bandwidth="0B/s" latency="0s"'),
        (1 / 3, 2e-9, 'bandwidth="0.3333333333333333B/s" latency="2ns"'),
    ],
)
def test_quantities_are_written_short_and_exact(bandwidth: float, latency: float, written: str) -> None:
    text = write_platform(Platform("p", links=(Link("s", bandwidth=bandwidth, latency=latency),)))
    assert f'<link to="s" {written}/>' in text


NAMES = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,6}", fullmatch=True)
RATES = st.none() | st.just(0.0) | st.floats(1e-9, 1e12) | st.integers(1, 2000).map(lambda n: n * 1e6 / 8)
TIMES = st.none() | st.just(0.0) | st.floats(1e-9, 1e6) | st.integers(1, 2000).map(lambda n: n / 100 * 1e-3)
WATTS = st.none() | st.just(0.0) | st.floats(1e-3, 1e4)
GROUPS = st.lists(NAMES, max_size=2, unique=True).map(tuple)
LINKS = st.builds(
    Link,
    to=NAMES,
    address=st.from_regex(r"[A-Za-z0-9_.:%-]{1,9}", fullmatch=True),
    port=st.integers(1, 65535),
    bandwidth=RATES,
    latency=TIMES,
    watts=WATTS,
    shared=st.booleans(),
    security=st.sampled_from(Security),
    window=st.integers(0, 2**40) | st.integers(1, 64).map(lambda n: n * 2**10),
    groups=GROUPS,
)
CORES = st.lists(st.integers(0, 20), max_size=6, unique=True).map(sorted).map(tuple)
UNITS = st.builds(
    Unit,
    NAMES,
    CORES,
    engine=st.sampled_from(Engine),
    threads=st.integers(1, 256),
    delegate=st.none() | st.just("/usr/lib/libvx_delegate.so") | st.just("libedgetpu.so.1"),
    opencl=st.none() | st.just("0:0") | st.just("Portable Computing:1"),
    options=st.dictionaries(NAMES, st.text("ab=1/,", max_size=3), max_size=2).map(lambda d: tuple(d.items())),
    slowdown=st.just(1.0) | st.floats(1, 999999),
    watts=WATTS,
    idle=WATTS,
    groups=GROUPS,
)
PLATFORMS = st.builds(
    Platform,
    name=NAMES,
    units=st.lists(UNITS, max_size=3).map(tuple),
    links=st.lists(LINKS, max_size=3).map(tuple),
    memory=st.none() | st.integers(0, 2**50) | st.integers(0, 64).map(lambda n: n * 2**30),
    groups=GROUPS,
    host=st.none()
    | st.sampled_from(["local", "pi", "pi@192.168.1.20", "ssh://me@h-1.example:2222", "me@[fe80::1%eth0]"]),
    python=st.none() | st.sampled_from(["python3.11", "/opt/my python/bin/python"]),
    folder=st.none() | st.sampled_from(["eprune", "/srv/a b", "./x+y"]),
)


@given(PLATFORMS)
def test_what_is_written_reads_back_equal(tmp_path_factory: pytest.TempPathFactory, platform: Platform) -> None:
    text = write_platform(platform)
    path = tmp_path_factory.getbasetemp() / "written.xml"
    path.write_text(text, encoding="utf-8")
    again = read_platform(str(path))
    assert again == platform
    assert write_platform(again) == text


def test_cores_are_numbers_and_ranges(tmp_path: Path) -> None:
    path = tmp_path / "p.xml"
    path.write_text('<platform name="p"><unit name="u" cores="4,0-2,1-2"/></platform>', encoding="utf-8")
    assert read_platform(str(path)).units[0].cores == (0, 1, 2, 4)
    assert 'cores="0-2,4"' in write_platform(read_platform(str(path)))


def test_the_brackets_of_an_address_are_no_part_of_it(tmp_path: Path) -> None:
    path = tmp_path / "p.xml"
    path.write_text('<platform name="p"><unit name="u"/><link to="q" address="[::1]"/></platform>', encoding="utf-8")
    (link,) = read_platform(str(path)).links
    assert link.address == "::1"
