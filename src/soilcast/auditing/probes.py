"""The probes of an audit, by name."""

from __future__ import annotations

from collections.abc import Callable

from soilcast.auditing.bounds import bounds
from soilcast.auditing.deep_layers import deep_layers
from soilcast.auditing.dry_down import dry_down
from soilcast.auditing.findings import Finding
from soilcast.auditing.rain_pulse import rain_pulse
from soilcast.auditing.sensitivity import sensitivity
from soilcast.auditing.subject import Subject

PROBES: dict[str, Callable[[Subject], Finding]] = {
    "rain_pulse": rain_pulse,
    "deep_layers": deep_layers,
    "dry_down": dry_down,
    "bounds": bounds,
    "sensitivity": sensitivity,
}
"""What can be asked of a run -> what finds it, in the order of the page."""
