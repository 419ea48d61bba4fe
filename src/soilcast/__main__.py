"""``python -m soilcast`` is the command line."""

from soilcast.cli import main

main()
