"""What is judged, next-day forecasts or outlooks, and so how."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import xarray as xr
import zarr

from soilcast.errors import SoilcastError
from soilcast.verify.entries import FORECAST
from soilcast.verify.evaluate import evaluate_forecasts
from soilcast.verify.outlook_entries import OUTLOOK
from soilcast.verify.outlooks import evaluate_outlooks

EVALUATIONS: dict[str, Callable[..., xr.Dataset]] = {
    FORECAST.name: evaluate_forecasts,
    OUTLOOK.name: evaluate_outlooks,
}
"""What an artifact says of itself -> how it is judged."""


def evaluate(
    forecasts: Sequence[str | Path],
    cube: str | Path,
    out: str | Path,
    *,
    dask: str | None = None,
    overwrite: bool = False,
    progress: bool = False,
) -> xr.Dataset:
    """Score forecasts or outlooks against the cube that they were made for, with the baselines beside them.

    Parameters
    ----------
    forecasts
        What `forecast` wrote: next-day forecasts, or outlooks of several leads.
    cube, out, dask, overwrite, progress
        See `soilcast.verify.evaluate.evaluate_forecasts`.

    Returns
    -------
    The scores: see `soilcast.verify.evaluate.evaluate_forecasts` and `soilcast.verify.outlooks.evaluate_outlooks`.

    Raises
    ------
    SoilcastError
        Both kinds at once, and what these raise.
    """
    kinds = [kind_of(Path(path)) for path in forecasts]
    first = next((kind for kind in kinds[:1] if kind in EVALUATIONS), FORECAST.name)
    for path, kind in zip(forecasts, kinds, strict=True):
        if kind in EVALUATIONS and kind != first:
            raise SoilcastError(
                f"{path}: of the kind {kind}, but {forecasts[0]} of the kind {first}: forecasts that are judged "
                "together need the same; evaluate them apart"
            )
    return EVALUATIONS[first](forecasts, cube, out, dask=dask, overwrite=overwrite, progress=progress)


def kind_of(path: Path) -> str | None:
    """What an artifact says that it is; None for what cannot be read, of which whoever opens it says why."""
    try:
        if path.is_dir():
            kind = zarr.open_group(path, mode="r").attrs.get("soilcast_kind")
        else:
            with xr.open_dataset(path, engine="h5netcdf") as opened:
                kind = opened.attrs.get("soilcast_kind")
    except Exception:
        return None
    return kind if isinstance(kind, str) else None
