"""Extract the part of the Delaware set that soilcast ships.

    python tools/build_delaware_data.py ../shared/data/prms_delaware/prms_drb_daily_1979_1980.nc \
        src/soilcast/sources/delaware/data/delaware.nc

Kept are the variables that the mapping names, the remaining stores of water, and every fourth of the units that the
mapping selects. Depths of water are
rounded to 0.001 mm, temperatures to 0.01 degrees, radiation to 0.1 W m-2, and stored as integers.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import xarray as xr

from soilcast.sources.table.mapping import Mapping, Term, read_mapping
from soilcast.sources.table.terms import RULES

MAPPING = Path(__file__).parents[1] / "src/soilcast/sources/table/mappings/prms_delaware.yaml"
EVERY = 4
# Stores that no variable of the contract takes, so that the balance of the whole column can be checked.
BALANCE = ("sm_total", "st_canopy", "st_imperv", "st_dprst")
PRECISION = {"mm": 0.001, "mm d-1": 0.001, "degC": 0.01, "W m-2": 0.1}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("whole", type=Path, help="prms_drb_daily_1979_1980.nc")
    parser.add_argument("out", type=Path, help="NetCDF file to write")
    arguments = parser.parse_args()
    with xr.open_dataset(arguments.whole, engine="h5netcdf") as dataset:
        part = cut(dataset, read_mapping(MAPPING))
        write(part, arguments.out)
    print(f"{arguments.out}: {dict(part.sizes)}, {arguments.out.stat().st_size / 1e6:.2f} MB")


def cut(dataset: xr.Dataset, mapping: Mapping) -> xr.Dataset:
    """Keep the named variables and every fourth selected unit, in the order of the set."""
    selected = np.ones(dataset.sizes["nhm_id"], dtype=bool)
    for name, rule in mapping.cells.select.items():
        for comparison, limit in rule.model_dump(exclude_none=True).items():
            selected &= RULES[comparison](dataset[name].to_numpy(), limit)
    positions = np.flatnonzero(selected)[::EVERY]
    names = sorted({*variable_names(mapping), *BALANCE} - {"nhm_id"})
    part = dataset[names].isel(nhm_id=positions).load()
    # Rounded like the stores that they bound, layer by layer, so that no layer is more than full.
    upper = part["soil_rechr_max_mm"].round(3)
    part["soil_moist_max_mm"] = upper + (part["soil_moist_max_mm"] - part["soil_rechr_max_mm"]).round(3)
    part["soil_rechr_max_mm"] = upper
    part.attrs = {
        "title": f"Part of: {dataset.attrs['title']}",
        "source": dataset.attrs["source"],
        "license": "CC0 1.0",
        "comment": "land-model output under observed weather; every fourth unit of those with vegetation and two soil "
        "layers; depths of water rounded to 0.001 mm, temperatures to 0.01 degC, radiation to 0.1 W m-2",
    }
    return part


def variable_names(mapping: Mapping) -> Iterator[str]:
    """All names of variables in the mapping."""
    yield from (mapping.cells.lat, mapping.cells.lon, *mapping.cells.select)
    terms: list[Term] = [*mapping.variables.values()]
    terms += [mapped.thickness for mapped in mapping.variables.values() if mapped.thickness]
    terms += [mapping.cells.area] if mapping.cells.area else []
    while terms:
        term = terms.pop()
        if term.name:
            yield term.name
        terms += [*term.add, *term.subtract, *term.multiply_by, *term.divide_by]


def write(part: xr.Dataset, out: Path) -> None:
    """Store integers; shuffled bytes of small integers compress to little more than their information."""
    encoding = {}
    for name, variable in part.variables.items():
        variable.encoding = {}
        stored: dict[str, object] = {"zlib": True, "complevel": 9, "shuffle": True}
        if "time" in variable.dims and variable.ndim == 2:
            precision = PRECISION[variable.attrs["units"]]
            small = float(np.abs(variable).max()) / precision < 32000
            dtype = "int16" if small else "int32"
            stored |= {"dtype": dtype, "scale_factor": precision, "_FillValue": np.iinfo(dtype).min}
            variable.attrs["comment"] = f"rounded to {precision:g} {variable.attrs['units']}"
            stored["chunksizes"] = variable.shape
        encoding[name] = stored
    part.to_netcdf(out, engine="h5netcdf", encoding=encoding)


if __name__ == "__main__":
    main()
