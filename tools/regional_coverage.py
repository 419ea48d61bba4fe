"""How much intervals of regional means hold, beside the means of the cells' quantiles (docs/regions.md).

    python -m tools.regional_coverage FORECAST CUBE

FORECAST is one over a test period, such as `soilcast compare` makes of the experiments multiday_*. Regions are all
cells, and four parts of them by their places.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import shapely
import xarray as xr
from scipy.cluster.vq import kmeans2
from scipy.sparse import csr_array

from soilcast.cube import open_cube, open_forecast
from soilcast.regions.forecasts import forecast_cells, regional_forecast
from soilcast.regions.means import regional_mean
from soilcast.regions.weights import Regions

_PARTS = 4
_SEED = 0


def parts_of(forecast: xr.Dataset, parts: int, layer: str) -> Regions:
    """Divide the cells of a forecast into parts by their places; all cells count alike."""
    lat, lon = (forecast[axis].to_numpy().astype(np.float64) for axis in ("lat", "lon"))
    everywhere = csr_array(np.ones((1, len(lat))))
    whole = Regions("all cells", ("all",), np.array([shapely.box(-180, -90, 180, 90)], dtype=object), everywhere)
    inside = forecast_cells(forecast, layer, whole)
    places = np.column_stack([lat, lon * np.cos(np.radians(lat.mean()))])
    part = np.zeros(len(lat), dtype=np.int64)
    if parts > 1:
        part = kmeans2(places, parts, seed=_SEED, minit="++")[1]
    weights = np.stack([(part == number) & inside for number in range(parts)]).astype(np.float64)
    shapes = np.repeat(whole.geometry, parts)
    return Regions("parts", tuple(f"part {number}" for number in range(1, parts + 1)), shapes, csr_array(weights))


def coverage(truth: npt.NDArray[np.floating], low: npt.NDArray[np.floating], high: npt.NDArray[np.floating]) -> float:
    """Share of the observations that are known and lie between two quantiles."""
    known = np.isfinite(truth) & np.isfinite(low) & np.isfinite(high)
    return float(np.mean(((truth >= low) & (truth <= high))[known]))


def main(forecast_path: Path, cube_path: Path) -> None:
    """Print the share of days in the 90 % interval, by both ways, and the ratio of the widths."""
    with open_forecast(forecast_path) as forecast, open_cube(cube_path) as cube:
        layer = str(forecast.attrs["targets"]).split(",")[0]
        at = np.searchsorted(cube["time"].to_numpy(), forecast["valid_time"].to_numpy())
        for parts in (1, _PARTS):
            regions = parts_of(forecast, parts, layer)
            truth = regional_mean(cube, layer, regions)[:, at]
            ends = {"quantile": [0.05, 0.95]}
            found = regional_forecast(forecast, regions)[f"{layer}_quantile"].sel(ends, method="nearest").to_numpy()
            chosen = forecast.sel(ends, method="nearest")
            averaged = regional_mean(chosen, f"{layer}_quantile", regions)
            ratio = np.nanmean(averaged[..., 1] - averaged[..., 0]) / np.nanmean(found[..., 1] - found[..., 0])
            shares = [coverage(truth, one[..., 0], one[..., 1]) for one in (found, averaged)]
            print(f"{parts} region(s): mean {shares[0]:.3f}, averaged quantiles {shares[1]:.3f}, width {ratio:.2f}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
