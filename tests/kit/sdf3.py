"""SDF graphs of the literature in SDF3's XML, from their published rates and times.

A channel is written "A 2 3 B", or "A 2 3 B 4" with 4 initial tokens: A writes 2 a firing, B reads 3. Topologies and
rates are those of Bhattacharyya, Murthy and Lee (modem, sample rate converter) and of Stuijk (H.263 and MP3 decoders).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def xml(name: str, channels: Sequence[str], times: Mapping[str, object], serial: Sequence[str] = ()) -> str:
    """SDF3's XML; the actors of ``serial`` get a self-loop with one token, so that their firings do not overlap."""
    ports: dict[str, list[str]] = {actor: [] for actor in times}
    lines = []
    for number, channel in enumerate([*channels, *(f"{actor} 1 1 {actor} 1" for actor in serial)]):
        source, produced, consumed, target, *tokens = channel.split()
        for actor, kind, rate in ((source, "out", produced), (target, "in", consumed)):
            ports[actor].append(f'<port name="{kind}{number}" type="{kind}" rate="{rate}"/>')
        initial = f' initialTokens="{tokens[0]}"' if tokens else ""
        lines.append(
            f'<channel name="c{number}" srcActor="{source}" srcPort="out{number}" '
            f'dstActor="{target}" dstPort="in{number}"{initial}/>'
        )
    actors = [f'<actor name="{actor}" type="t">{"".join(own)}</actor>' for actor, own in ports.items()]
    properties = [
        f'<actorProperties actor="{actor}"><processor type="p" default="true"><executionTime time="{time}"/>'
        "</processor></actorProperties>"
        for actor, time in times.items()
    ]
    return "\n".join(
        [
            f'<sdf3 type="sdf" version="1.0"><applicationGraph name="{name}">',
            f'<sdf name="{name}" type="t">',
            *actors,
            *lines,
            "</sdf>",
            "<sdfProperties>",
            *properties,
            "</sdfProperties></applicationGraph></sdf3>\n",
        ]
    )


def h263decoder(macroblocks: int = 594) -> str:
    channels = [f"vld {macroblocks} 1 iq", "iq 1 1 idct", f"idct 1 {macroblocks} mc"]
    times = {"vld": 26018, "iq": 559, "idct": 486, "mc": 10958}
    return xml("h263decoder", channels, times, serial=("vld", "iq", "mc"))


def samplerate() -> str:
    times = {"a": 5, "b": 2, "c": 3, "d": 1, "e": 4, "f": 6}
    return xml("samplerate", ["a 1 1 b", "b 2 3 c", "c 2 7 d", "d 8 7 e", "e 5 1 f"], times, serial=tuple(times))


def modem() -> str:
    channels = [
        "in 1 1 filt", "filt 1 8 hil", "hil 2 4 eq", "eq 2 2 mul1", "mul1 2 2 deci", "deci 2 2 deco", "deco 1 1 out",
        "deci 2 2 mul2", "mul2 2 2 eq 2", "deci 1 1 fork1 1", "fork1 1 1 biq", "fork1 1 1 bi", "biq 1 1 add",
        "bi 1 1 add", "add 1 1 ac", "ac 2 1 fork2", "fork2 1 2 conj", "fork2 1 2 mul1", "conj 2 2 mul2",
    ]  # fmt: skip
    actors = dict.fromkeys(channel.split()[end] for channel in channels for end in (0, 3))
    return xml("modem", channels, dict.fromkeys(actors, 1), serial=tuple(actors))


def mp3decoder() -> str:
    """The one that works on whole granules; only Huffman decoding and requantization may not overlap themselves."""
    channels, times = [], {"huffman": 236070, "stereo": 73618}
    for side in "01":
        times.update({f"req{side}": 139325, f"reorder{side}": 69385, f"alias{side}": 13088, f"imdct{side}": 711744})
        times.update({f"freqinv{side}": 157184, f"synth{side}": 1866138})
        channels += [f"huffman 2 1 req{side}", f"req{side} 1 1 reorder{side}", f"req{side} 1 1 stereo"]
        channels += [f"reorder{side} 1 1 stereo", f"stereo 1 1 alias{side}", f"stereo 1 1 imdct{side}"]
        channels += [f"alias{side} 1 1 imdct{side}", f"imdct{side} 1 1 freqinv{side}", f"freqinv{side} 1 1 synth{side}"]
    return xml("mp3decoder", channels, times, serial=("huffman", "req0", "req1"))
