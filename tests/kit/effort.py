"""How many examples random tests try: all of them in `make test-long`, a quarter where the suite has ten minutes."""

from __future__ import annotations

import os


def examples(count: int) -> int:
    """So many of ``count``."""
    return count if os.environ.get("EPRUNE_ALL_EXAMPLES") else count // 4
