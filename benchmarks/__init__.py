"""Speed and memory, each side by side with a reference in one run: ``python -m benchmarks`` runs them all."""

# Sets how long waiting threads spin, as the command does, before any benchmark imports torch.
import soilcast.cli  # noqa: F401
