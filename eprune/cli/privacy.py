"""``eprune privacy``: what do the tokens of a cut reveal of the picture?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Optional

import click

from eprune.cli import datasets, options
from eprune.cli.printing import show
from eprune.measure.attacks import ATTACKS, chosen_attacks


@click.command("privacy", cls=options.Command, short_help="Reconstruct pictures from what a cut sends.")
@click.argument("application", metavar="APP.xml|MODEL")
@options.deployment_options(required=False)
@options.outside_option
@click.option("--data", required=True, metavar="DATA", help="Your pictures: a folder, or an .npz file.")
@click.option(
    "--labels", default="", metavar="NAMES", help="Names of the classes: car,bus or a file with one per line."
)
@click.option(
    "--attribute",
    metavar="NAME",
    help="A second property of the pictures that should stay unknown: an array of the .npz file, or a column of "
    "labels.csv.",
)
@click.option(
    "--attack",
    "attacks",
    type=click.Choice(ATTACKS),
    multiple=True,
    help="How to reconstruct; may be repeated (ridge).",
)
@click.option(
    "--average",
    type=click.IntRange(min=1),
    default=1,
    metavar="N",
    help="The attacker sees each picture N times, and averages its tokens (1).",
)
@click.option("--every", is_flag=True, help="Attack what every slice gives, not only what crosses platforms.")
@click.option(
    "--frames", type=click.IntRange(min=8), default=300, metavar="N", help="At most N pictures of each part (300)."
)
@click.option("--split", type=click.FloatRange(0, 1), default=0.5, metavar="SHARE", help="The attacker's share (0.5).")
@click.option("--seed", type=click.IntRange(min=0), default=1, help="Determines the parts (default: 1).")
@datasets.interpreter_option
@options.format_option
@click.option(
    "-o", "--output", metavar="FILE.png|FILE.html", help="Also show pictures, and below them what was reconstructed."
)
@click.option("-q", "--quiet", is_flag=True, help="No progress on stderr.")
def command(
    application: str,
    platforms: Sequence[str],
    mappings: Sequence[str],
    data: str,
    labels: str,
    attribute: Optional[str],
    attacks: Sequence[str],
    average: int,
    every: bool,
    frames: int,
    split: float,
    seed: int,
    interpreter: str,
    fmt: str,
    output: Optional[str],
    quiet: bool,
) -> int:
    """Tell what the tokens of a cut reveal of the picture, by an attack that is trained on your own pictures.

    The attacker has the calibration part of the data, and reconstructs the pictures of the test part from their tokens.
    How near he comes is said in PSNR and SSIM, and by how often the application gives a reconstruction the right class.
    Of a cut that codes or defends its tokens, he has what the receiver has. What resists these attacks may not resist a
    better one.

    \b
    ridge     learns by ridge regression how pixels follow from tokens
    network   the same by a small inverse network (scikit-learn)
    whitebox  looks for a picture with these features, by gradients of the head (TensorFlow)
    shadow    neither knows the head nor asks it, and trains a shadow of it behind the true tail (TensorFlow)

    \b
    Examples:
      eprune privacy app.xml -p platforms -m mappings/split --data photos -o seen.png
      eprune privacy model.tflite --data faces.npz --attribute smiling
      eprune privacy model.tflite --data photos --every --attack ridge --attack network --format json > revealed.json
    """
    from eprune.cli.progress import progress
    from eprune.formats.atomic import write_file
    from eprune.measure.data import read_data
    from eprune.measure.privacy import privacy, read_attribute
    from eprune.views import privacy as view

    if output and not output.lower().endswith((".png", ".html")):
        raise click.UsageError(f"-o {output}: expected FILE.png or FILE.html")
    pictures = read_data(data)
    told = read_attribute(pictures, attribute) if attribute else None
    with datasets.system_at(application, platforms, mappings) as system:
        shown = progress(1, len(pictures), quiet)
        given: dict[str, Any] = {"labels": labels, "attribute": told, "interpreter": interpreter, "progress": shown}
        given.update(attacks=chosen_attacks(attacks), average=average)
        try:
            found = privacy(system, pictures, every, frames, split, seed, **given)
        except ValueError as error:
            raise click.UsageError(f"{application}: {error}") from None
        finally:
            shown.clear()
    show(view.as_json(found) if fmt == "json" else view.as_text(found), fmt)
    if output:
        write_file(output, view.page(found) if output.lower().endswith(".html") else view.picture(found))
    return 0
