"""What tests of several rooms share: small data, writers of files, processes to kill."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""Of the repository."""

SHARED = ROOT.parent / "shared" / "data"
"""Folder of the real data."""
