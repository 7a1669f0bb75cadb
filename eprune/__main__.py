"""``python -m eprune``."""

from eprune.cli.main import main

main()
