"""Crops of photographs, as data without labels: NAME_cropN.png, so that all crops of a photograph are of one source.

python -m scripts.robust.crops PHOTOS... -o build/robust/crops --count 500
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

SEED = 2002
#: Rows and columns of a crop that is written; how much of the shorter side it shows.
SIZE, SHARES = 160, (0.35, 0.9)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, nargs="+", help="files")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR")
    parser.add_argument("--count", type=int, default=500, help="crops of all photographs together (500)")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    for number in range(options.count):
        photo = options.photos[number % len(options.photos)]
        crop(photo, number).save(options.output / f"{photo.stem}_crop{number}.png")


def crop(photo: Path, number: int) -> Image.Image:
    """A square of a photograph, at a random place, every other one mirrored."""
    rng = np.random.default_rng([SEED, number])
    with Image.open(photo) as image:
        picture = image.convert("RGB")
    side = int(min(picture.size) * rng.uniform(*SHARES))
    left, top = (int(rng.integers(0, length - side + 1)) for length in picture.size)
    found = picture.crop((left, top, left + side, top + side)).resize((SIZE, SIZE), Image.Resampling.BILINEAR)
    return found.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if number % 2 else found


if __name__ == "__main__":
    main()
