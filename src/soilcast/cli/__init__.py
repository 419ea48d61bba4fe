"""The command line: every command is one call of a public function."""

import os

# Threads that spin long while they wait cost many times their gain on a machine that is busy with other work, threads
# that never spin cost more than they gain on one that is not: a step of training is made of many short pieces. The
# OpenMP runtime of torch's Linux builds reads this once, when torch is first imported (docs/performance.md).
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

# Commands are registered as they are imported, in the order of the help.
from soilcast.cli import experiments, data, runs, judging, services  # noqa: F401, I001
from soilcast.cli.options import app as app
from soilcast.cli.running import main as main
