"""How xarray itself opens cubes and forecasts: ``xr.open_dataset(path)``, whatever the folder is called."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import xarray as xr
from xarray.backends import BackendEntrypoint, ZarrBackendEntrypoint

_MARK = b'"soilcast_kind"'


class SoilcastBackend(BackendEntrypoint):
    """Opens the Zarr folders that soilcast writes; its NetCDF files need nothing of their own."""

    description = "Open cubes and forecasts of soilcast (Zarr folders)"

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        """Whether it is a folder of soilcast; asked of everything that is opened, and so quick."""
        if not isinstance(filename_or_obj, str | Path):
            return False
        metadata = Path(filename_or_obj) / "zarr.json"
        return metadata.is_file() and _MARK in metadata.read_bytes()

    def open_dataset(
        self,
        filename_or_obj: Any,
        *,
        drop_variables: Any = None,
        mask_and_scale: bool = True,
        decode_times: bool = True,
        decode_coords: Any = True,
        decode_timedelta: Any = None,
        use_cftime: Any = None,
        concat_characters: bool = True,
    ) -> xr.Dataset:
        """Open a folder lazily."""
        # Imported here, else every use of xarray would import all of this.
        from soilcast.cube.cf import keep_to_cf
        from soilcast.cube.identity import MANIFEST, check_store

        check_store(Path(filename_or_obj))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of files that lie beside the arrays, of types that Zarr calls unstable
            opened: xr.Dataset = ZarrBackendEntrypoint().open_dataset(
                filename_or_obj,
                drop_variables=drop_variables,
                mask_and_scale=mask_and_scale,
                decode_times=decode_times,
                decode_coords=decode_coords,
                decode_timedelta=decode_timedelta,
                use_cftime=use_cftime,
                concat_characters=concat_characters,
            )
        opened.attrs.pop(MANIFEST, None)
        keep_to_cf(opened)
        return opened
