"""What an HDF5 file asks for before a value is read: groups, compression filters, and other files."""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO

import h5py

from soilcast.errors import SoilcastError

# Registered filters of HDF5 that NetCDF is written with (https://github.com/HDFGroup/hdf5_plugins).
_FILTERS = {4: "szip", 307: "bzip2", 32000: "lzf", 32001: "blosc", 32004: "lz4", 32008: "bitshuffle"}
_FILTERS |= {32013: "zfp", 32015: "zstd", 32017: "sz", 32022: "granular bit rounding", 32026: "blosc2"}


def examine_hdf5(content: Path | BinaryIO, where: str) -> bool:
    """Look through the objects of an HDF5 file, and load the filters that its variables need.

    Parameters
    ----------
    content
        The file, or a stream of it, which is left at its beginning.
    where
        Its name, for the messages.

    Returns
    -------
    Whether variables lie in groups.

    Raises
    ------
    SoilcastError
        Values lie in other files, which the file's writer, not its reader, would choose; or a filter is missing.
    OSError
        It is damaged.
    """
    in_groups = False

    def examine_link(name: str, link: Any) -> str | None:
        # What these functions give ends the visit; h5py loses what they raise.
        return f"{name} is a link into other files: {_ONE_FILE}" if isinstance(link, h5py.ExternalLink) else None

    def examine_item(name: str, item: Any) -> str | None:
        nonlocal in_groups
        if not isinstance(item, h5py.Dataset):
            return None
        in_groups |= "/" in name
        if item.external or item.is_virtual:
            return f"{name} keeps its values in other files: {_ONE_FILE}"
        creation = item.id.get_create_plist()
        codes = [creation.get_filter(number)[0] for number in range(creation.get_nfilters())]
        missing = next((code for code in codes if not _is_available(code)), None)
        if missing is None:
            return None
        title = _FILTERS.get(missing, f"number {missing}")
        return f"{name} is compressed with the HDF5 filter {title}, which is not installed: {_DEFLATE}"

    with h5py.File(content, "r") as file:
        fault = file.visititems_links(examine_link) or file.visititems(examine_item)
    if fault:
        raise SoilcastError(f"{where}: {fault}")
    if not isinstance(content, Path):
        content.seek(0)
    return in_groups


_ONE_FILE = "write it as one file (nccopy IN OUT, h5repack IN OUT)"
_DEFLATE = "rewrite it with deflate (nccopy -F '*,1,5' IN OUT, or ncks -7 -L 5 IN OUT)"


def _is_available(code: int) -> bool:
    if not h5py.h5z.filter_avail(code):
        import hdf5plugin  # noqa: F401  (it registers its filters)
    return bool(h5py.h5z.filter_avail(code))
