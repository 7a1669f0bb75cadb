#!/usr/bin/env python3
"""Write graphs/ssd_mobilenet.xml and mappings/ssd_mobilenet_*/ for the network of graphs/ssd_mobilenet.tflite.

    python3 scripts/make_ssd_graph.py

They are kept in the repository; a test says when they are out of date. 53 actors and 69 FIFOs, as in the papers:
34 FIFOs from layer to layer, 12 from six layers to two heads each, 12 from the heads to the decoder, and 11 more.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path += [str(ROOT), str(ROOT / "scripts")]

from ssd_network import heads, layers  # noqa: E402

from eprune.formats.atomic import write_file  # noqa: E402
from eprune.formats.model_files import read_model  # noqa: E402
from eprune.formats.models.parts import Model  # noqa: E402

MODEL = "ssd_mobilenet.tflite"
FRAME, PICTURE = "uint8[1,360,480,3]", "float32[1,300,300,3]"
ANCHORS, KEPT = 1917, 32
BEFORE = ("Reader", "Resize")
AFTER = ("Decoder", "NMS", "Tracker")
#: folder -> the last of the layers that the endpoint runs, None for the whole network, and what the folder is about
CUTS = {
    "local": (None, "Everything on the endpoint: nothing leaves the device but the tracks."),
    "resize": ("", "Cut before the network: the endpoint only reads, resizes, and writes."),
    "dw9": ("dw9", "Cut after the 9th depthwise layer, the papers' best over Ethernet."),
    "dw12": ("dw12", "Cut after the 12th depthwise layer: the least that can be sent before the last layers."),
}

#: Where the mappings of the repository cut: a token of these is under way while one is written and one is read.
CUT, WINDOW = {"Resize.out", "dw9.out", "dw12.out", "boxes1.out", "scores1.out"}, ' window="1"'
HEADER = """\
<!-- SSD-MobileNet v1 with a multi-object tracker, as in the Edge-PRUNE papers: 53 actors, 69 FIFOs. 47 actors are the
     network, one convolution each; six are ours: Reader, Resize, Decoder, NMS, Tracker, Writer.
     See docs/reference/ssd_mobilenet.md. Written by scripts/make_ssd_graph.py. -->
"""
BEGINNING = f"""\
  <!-- Without a path, rendered traffic. For your own: a folder or a pattern of pictures, a video, a .npy file. -->
  <actor name="Reader" class="frame_reader.py:FrameReader">
    <param name="path" value=""/>
    <param name="count" value="100"/>
    <out name="out" token="{FRAME}"/>
    <out name="frame" token="{FRAME}"/>
  </actor>
  <actor name="Resize" class="resize.py:Resize">
    <param name="mean" value="0.5"/>
    <param name="std" value="0.5"/>
    <in name="in" token="{FRAME}"/>
    <out name="out" token="{PICTURE}"/>
  </actor>
"""
ENDING = f"""\
  <!-- The best box of each heap of boxes, at most {KEPT}; rows that are not needed are 0. -->
  <actor name="NMS" class="nms.py:NonMaximumSuppression">
    <param name="score" value="0.3"/>
    <param name="overlap" value="0.4"/>
    <in name="boxes" token="float32[{ANCHORS},4]"/>
    <in name="scores" token="float32[{ANCHORS},4]"/>
    <out name="kept_boxes" token="float32[{KEPT},4]"/>
    <out name="kept_classes" token="int32[{KEPT}]"/>
    <out name="kept_scores" token="float32[{KEPT}]"/>
  </actor>
  <!-- SORT. Identities count from 1. -->
  <actor name="Tracker" class="tracker.py:Tracker">
    <param name="score" value="0.4"/>
    <param name="min_hits" value="3"/>
    <param name="max_age" value="15"/>
    <in name="boxes" token="float32[{KEPT},4]"/>
    <in name="classes" token="int32[{KEPT}]"/>
    <in name="scores" token="float32[{KEPT}]"/>
    <out name="track_boxes" token="float32[{KEPT},4]"/>
    <out name="track_classes" token="int32[{KEPT}]"/>
    <out name="track_ids" token="int32[{KEPT}]"/>
  </actor>
  <!-- One line of JSON a frame, on standard output; with a folder in images, also the frames with boxes drawn in. -->
  <actor name="Writer" class="track_writer.py:TrackWriter">
    <param name="labels" value="car,bus,truck,motorcycle"/>
    <param name="images" value=""/>
    <in name="frame" token="{FRAME}"/>
    <in name="boxes" token="float32[{KEPT},4]"/>
    <in name="classes" token="int32[{KEPT}]"/>
    <in name="ids" token="int32[{KEPT}]"/>
  </actor>
"""


def main() -> int:
    model = read_model(str(ROOT / "graphs" / MODEL))
    for path, text in files(model).items():
        (ROOT / path).parent.mkdir(exist_ok=True)
        write_file(str(ROOT / path), text)
    return 0


def files(model: Model) -> dict[str, str]:
    """Path below the repository's root -> text, of the graph and all mappings."""
    found = {"graphs/ssd_mobilenet.xml": graph_text(model)}
    for name, (last, about) in CUTS.items():
        for platform in ("endpoint",) if last is None else ("endpoint", "server"):
            found[f"mappings/ssd_mobilenet_{name}/{platform}.xml"] = mapping_text(platform, last, about)
    return found


def graph_text(model: Model) -> str:
    """The application graph."""
    network, answers = layers(), heads()
    operator = {part.name: number for number, part in enumerate((*network, *answers))}
    tokens = {name: str(model.tensors[model.operators[k].outputs[0]].token) for name, k in operator.items()}
    lines = ["  <!-- The network: a convolution, 13 pairs of a depthwise and a 1x1 one, and 8 extra layers. -->"]
    edges = [("Reader.out", "Resize.in"), ("Resize.out", "conv1.in")]
    before = PICTURE
    for number, layer in enumerate(network):
        readers = [f"{network[number + 1].name}.in"] if number + 1 < len(network) else []
        ports = ["out"] if readers else []
        for head in answers:
            if head.tap == layer.name:
                ports.append(head.name)
                readers.append(f"{head.name}.in")
        # Ports that carry the same tensor name it; an only port needs no name.
        tensor = f' tensor="{model.operators[number].outputs[0]}"' if len(ports) > 1 else ""
        lines += _actor(
            layer.name, number, before, [f'"{port}" token="{tokens[layer.name]}"{tensor}' for port in ports]
        )
        edges += [(f"{layer.name}.{port}", reader) for port, reader in zip(ports, readers)]
        before = tokens[layer.name]
    lines.append("  <!-- The heads: where boxes are, and what is in them, at six scales. -->")
    decoder = ['  <actor name="Decoder" class="box_decoder.py:BoxDecoder">']
    for head in answers:
        token = tokens[head.name]
        lines += _actor(head.name, operator[head.name], tokens[head.tap], [f'"out" token="{token}"'])
        decoder.append(f'    <in name="{head.name}" token="{token}"/>')
        edges.append((f"{head.name}.out", f"Decoder.{head.name}"))
    decoder += [f'    <out name="{name}" token="float32[{ANCHORS},4]"/>' for name in ("boxes", "scores")]
    decoder.append("  </actor>")
    edges += [(f"Decoder.{name}", f"NMS.{name}") for name in ("boxes", "scores")]
    edges += [(f"NMS.kept_{name}", f"Tracker.{name}") for name in ("boxes", "classes", "scores")]
    edges += [(f"Tracker.track_{name}", f"Writer.{name}") for name in ("boxes", "classes", "ids")]
    cut = {source for source, _ in edges if source in CUT or source.startswith("Tracker.")}
    fifos = [
        f'  <fifo name="f{k}" from="{source}" to="{target}"{WINDOW * (source in cut)}/>'
        for k, (source, target) in enumerate(edges, 1)
    ]
    fifos.append("  <!-- Past the network, so with room for the frames that are on their way through it. -->")
    fifos.append(f'  <fifo name="f{len(edges) + 1}" from="Reader.frame" to="Writer.frame" capacity="8"/>')
    body = "\n".join([*lines, "  <!-- A box and a score a class for each of the 1917 anchors. -->", *decoder]) + "\n"
    application = '<application name="ssd_mobilenet">\n'
    return HEADER + application + BEGINNING + body + ENDING + "\n" + "\n".join(fifos) + "\n</application>\n"


def _actor(name: str, operator: int, token: str, outs: list[str]) -> list[str]:
    """An actor of one operator."""
    return [
        f'  <actor name="{name}" model="{MODEL}" operators="{operator}">',
        f'    <in name="in" token="{token}"/>',
        *(f"    <out name={out}/>" for out in outs),
        "  </actor>",
    ]


def mapping_text(platform: str, last: str | None, about: str) -> str:
    """The mapping of one platform; ``last`` as in ``CUTS``. The writer stays with the reader: frames do not travel."""
    names = [layer.name for layer in layers()]
    count = len(names) if last is None else names.index(last) + 1 if last else 0
    near = {*BEFORE, "Writer", *names[:count]}
    near |= {head.name for head in heads() if head.tap in near}
    if last is None:
        near |= set(AFTER)
    unit = {"endpoint": "cpu0", "server": "cpu1"}[platform]
    lines = [f"<!-- {about} -->", f'<mapping application="ssd_mobilenet" platform="{platform}">']
    for name in (*BEFORE, *names, *(head.name for head in heads()), *AFTER, "Writer"):
        home = "endpoint" if name in near else "server"
        place = f'unit="{unit}"' if home == platform else f'platform="{home}"'
        lines.append(f'  <map actor="{name}" {place}/>')
    return "\n".join([*lines, "</mapping>", ""])


if __name__ == "__main__":
    raise SystemExit(main())
