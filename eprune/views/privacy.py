"""What ``eprune privacy`` says: a table, JSON, and reconstructed pictures beside the true ones."""

from __future__ import annotations

import io
import json
from typing import Any, Optional

import numpy as np

from eprune.measure.evaluate import Share
from eprune.measure.privacy import Cut, Privacy
from eprune.views.evaluate import share_data
from eprune.views.tables import table

#: Pixels between pictures, of the names on the left, and by how much pictures are enlarged.
_GAP, _LEFT, _ZOOM = 4, 150, 2


def as_text(found: Privacy) -> str:
    """For people."""
    what = "label" if found.labelled else "own answer"
    head = ["FIFO", "from", "token", "bytes", "PSNR, dB", "SSIM", f"{what} told, %"]
    head += [f"{found.attribute} told, %"] if found.attribute else []
    rows = [_row(cut, cut.fifo + (" *" if cut.crosses else "")) for cut in found.cuts]
    rows.append(_row(found.nothing, "(no token)"))
    lines = [
        f"{found.application}: {found.pictures} test pictures reconstructed by ridge regression, which was fitted on "
        f"{found.attackers} others",
        "",
        table(head, rows).rstrip("\n"),
        "",
        "* crosses platforms. More is revealed where PSNR, SSIM and what is told are higher than without a token.",
        "These are one attack's figures: what resists it may not resist a better one.",
    ]
    return "\n".join(lines) + "\n"


def _row(cut: Cut, name: str) -> list[str]:
    told = [cut.label, *([cut.attribute] if cut.attribute is not None else [])]
    size = f"{cut.nbytes:.0f}" if cut.token else ""
    figures = [f"{cut.psnr:.1f}", f"{cut.ssim:.3f}", *(f"{100 * each.value:.1f}" for each in told)]
    return [name, cut.source, cut.token, size, *figures]


def as_json(found: Privacy) -> str:
    """For programs."""
    data = {
        "application": found.application,
        "attack": "ridge",
        "attackers": found.attackers,
        "pictures": found.pictures,
        "labelled": found.labelled,
        "attribute": found.attribute or None,
        "cuts": [
            {
                "fifo": cut.fifo,
                "from": cut.source,
                "token": cut.token,
                "bytes": cut.nbytes,
                "crosses": cut.crosses,
                **_figures(cut),
            }
            for cut in found.cuts
        ],
        "nothing": _figures(found.nothing),
        "interpreter": found.interpreter,
    }
    return json.dumps(data, indent=2) + "\n"


def _figures(cut: Cut) -> dict[str, Any]:
    return {
        "psnr_db": round(cut.psnr, 3),
        "ssim": round(cut.ssim, 4),
        "label": share_data(cut.label),
        "attribute": _share(cut.attribute),
    }


def _share(share: Optional[Share]) -> Optional[dict[str, float]]:
    return None if share is None else share_data(share)


def picture(found: Privacy) -> bytes:
    """A PNG file: a row of true pictures, and below it a row for each cut."""
    from PIL import Image, ImageDraw

    rows = [("pictures", found.originals)]
    rows += [(f"{cut.fifo}: SSIM {cut.ssim:.2f}", cut.pictures) for cut in (*found.cuts, found.nothing) if cut.fifo]
    rows.append((f"no token: SSIM {found.nothing.ssim:.2f}", found.nothing.pictures))
    height, width = (_ZOOM * size for size in found.originals.shape[1:3])
    count = len(found.originals)
    sheet = Image.new("RGB", (_LEFT + count * (width + _GAP), len(rows) * (height + _GAP)), "white")
    draw = ImageDraw.Draw(sheet)
    for line, (name, pictures) in enumerate(rows):
        top = line * (height + _GAP)
        draw.text((4, top + height // 2 - 6), name, fill="black")
        for place, each in enumerate(pictures):
            pixels = np.rint(255 * each).astype(np.uint8)
            one = Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[:, :, 0]).convert("RGB")
            sheet.paste(one.resize((width, height), Image.Resampling.NEAREST), (_LEFT + place * (width + _GAP), top))
    stream = io.BytesIO()
    sheet.save(stream, "PNG")
    return stream.getvalue()
