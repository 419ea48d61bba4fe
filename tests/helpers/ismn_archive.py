"""Small archives in the two formats of the ISMN, from a known truth of hourly soil moisture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class MadeSensor:
    """A sensor to write: hourly times [UTC], values [m3 m-3] and a flag each, or one for all."""

    times: npt.NDArray[np.datetime64]
    values: npt.NDArray[np.float64]
    flags: str | Sequence[str] = "G"
    network: str = "NET"
    station: str = "Oak"
    lat: float = 48.0
    lon: float = 11.0
    elevation: float = 500.0
    depth: tuple[float, float] = (0.05, 0.05)
    instrument: str = "Probe-A"
    variable: str = "sm"


def write_sensor(root: Path, sensor: MadeSensor, form: str = "header_values") -> Path:
    """Write the file of a sensor where an archive has it."""
    times = sensor.times.astype("datetime64[s]")
    first, last = (str(times[at].astype("datetime64[D]")).replace("-", "") for at in (0, -1))
    upper, lower = sensor.depth
    depths = (f"{upper:.6f}", f"{lower:.6f}")
    name = "_".join(
        [sensor.network, sensor.network, sensor.station, sensor.variable, *depths, sensor.instrument, first, last]
    )
    file = root / sensor.network / sensor.station / f"{name}.stm"
    file.parent.mkdir(parents=True, exist_ok=True)
    place = f"{sensor.lat:.5f} {sensor.lon:.5f} {sensor.elevation:.2f} {upper:.2f} {lower:.2f}"
    flags = [sensor.flags] * len(times) if isinstance(sensor.flags, str) else sensor.flags
    stamps = [str(time).replace("-", "/").replace("T", " ")[:16] for time in times]
    if form == "header_values":
        head = [f"{sensor.network} {sensor.network} {sensor.station} {place} {sensor.instrument}"]
        rows = [f"{s} {v:8.4f} {f} M" for s, v, f in zip(stamps, sensor.values, flags, strict=True)]
    else:
        head = []
        who = f"{sensor.network} {sensor.network} {sensor.station} {place}"
        rows = [f"{s} {s} {who} {v:8.4f} {f} M" for s, v, f in zip(stamps, sensor.values, flags, strict=True)]
    file.write_text("\n".join([*head, *rows]) + "\n", encoding="ascii")
    return file


def hours(first: str, days: int) -> npt.NDArray[np.datetime64]:
    """Every hour of some days."""
    return np.datetime64(first, "h") + np.arange(24 * days)
