"""Speed and memory, each side by side with a reference in one run: ``python -m benchmarks`` runs them all."""
