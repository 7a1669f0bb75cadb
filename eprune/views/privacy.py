"""What ``eprune privacy`` says: a table, JSON, a page, and reconstructed pictures beside the true ones."""

from __future__ import annotations

import base64
import io
import json
from typing import Any, Optional

import numpy as np

from eprune.measure.attacks.base import find
from eprune.measure.privacy import Cut, Privacy
from eprune.model.samples import Share
from eprune.views.evaluate import share_data
from eprune.views.page import plain_page
from eprune.views.tables import Table, table

#: Pixels between pictures, of the names on the left, and by how much pictures are enlarged.
_GAP, _LEFT, _ZOOM = 4, 150, 2


def as_text(found: Privacy) -> str:
    """For people."""
    head, rows = _table(found)
    several = len(found.attacks) > 1
    lines = [
        _summary(found),
        *_accuracy(found),
        "",
        table(head, rows).rstrip("\n"),
        "",
        "* crosses platforms. More is revealed where PSNR, SSIM and what is told are higher than without a token.",
        "What resists these attacks may not resist a better one."
        if several
        else "These are one attack's figures: what resists it may not resist a better one.",
    ]
    return "\n".join(lines) + "\n"


def _summary(found: Privacy) -> str:
    """What was done."""
    names = [find(attack).LINE for attack in found.attacks]
    listed = " and ".join([*([", ".join(names[:-1])] if names[1:] else []), names[-1]])
    fitted = "which was fitted on" if len(names) == 1 else "which were fitted on"
    averaged = f", from the mean of {found.average} tokens each" if found.average > 1 else ""
    text = f"{found.application}: {found.pictures} test pictures reconstructed by {listed}, {fitted} "
    return f"{text}{found.attackers} others{averaged}"


def _accuracy(found: Privacy) -> list[str]:
    """How good the application is on these pictures, where that is known."""
    return [f"accuracy of the application: {100 * found.accuracy.value:.1f} %"] if found.labelled else []


def _table(found: Privacy) -> tuple[list[str], list[list[str]]]:
    """Header and rows; the attack is named where there are several."""
    several = len(found.attacks) > 1
    what = "label" if found.labelled else "own answer"
    head = ["FIFO", "from", "token", "bytes", *(["attack"] if several else []), "PSNR, dB", "SSIM", f"{what} told, %"]
    head += [f"{found.attribute} told, %"] if found.attribute else []
    rows = [_row(cut, cut.fifo + (" *" if cut.crosses else ""), several) for cut in found.cuts]
    return head, [*rows, _row(found.nothing, "(no token)", several)]


def _row(cut: Cut, name: str, several: bool) -> list[str]:
    told = [cut.label, *([cut.attribute] if cut.attribute is not None else [])]
    size = f"{cut.nbytes:.0f}" if cut.token else ""
    figures = [f"{cut.psnr:.1f}", f"{cut.ssim:.3f}", *(f"{100 * each.value:.1f}" for each in told)]
    return [name, cut.source, cut.token, size, *([cut.attack] if several else []), *figures]


def as_json(found: Privacy) -> str:
    """For programs."""
    data = {
        "application": found.application,
        "attacks": list(found.attacks),
        "average": found.average,
        "attackers": found.attackers,
        "pictures": found.pictures,
        "labelled": found.labelled,
        "accuracy": share_data(found.accuracy) if found.labelled else None,
        "attribute": found.attribute or None,
        "cuts": [
            {
                "fifo": cut.fifo,
                "from": cut.source,
                "token": cut.token,
                "bytes": cut.nbytes,
                "crosses": cut.crosses,
                "attack": cut.attack,
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
    several = len(found.attacks) > 1
    rows += [
        (f"{cut.fifo}{f' {cut.attack}' if several else ''}: SSIM {cut.ssim:.2f}", cut.pictures) for cut in found.cuts
    ]
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


def page(found: Privacy) -> str:
    """One HTML page that needs no other file: the table, and the pictures."""
    head, rows = _table(found)
    picture_data = base64.b64encode(picture(found)).decode()
    below = "Pictures of the test part, and below them what was reconstructed from their tokens at each cut."
    notes = [_summary(found), *_accuracy(found)]
    title, image = f"{found.application}: what cuts reveal", f"data:image/png;base64,{picture_data}"
    return plain_page(title, notes, Table("Cuts", head, rows), below, image)
