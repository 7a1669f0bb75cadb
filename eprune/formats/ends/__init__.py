"""Kinds of inputs and outputs of models: which source reads a user's files for an input, which sink shows an output.

Each kind is a module with an entry in one of the two tables here. The first that fits is taken.
"""

from __future__ import annotations

from eprune.formats.ends import arrays, images, sounds
from eprune.formats.ends.base import InputKind, OutputKind
from eprune.formats.ends.classes import classes
from eprune.formats.ends.detections import detections
from eprune.formats.ends.rows import rows
from eprune.formats.ends.segments import segments

#: By the suffixes of files.
INPUTS: tuple[InputKind, ...] = (images.KIND, sounds.KIND, arrays.KIND)
#: In this order; each is asked again for what is left.
OUTPUTS: tuple[OutputKind, ...] = (detections, rows, segments, classes)
