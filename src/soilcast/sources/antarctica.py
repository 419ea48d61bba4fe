"""Antarctica, which is left out of every grid unless it is asked for."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from soilcast.errors import SoilcastError

_NORTHERN_EDGE = -60.0  # degrees north, as in the paper


def without_antarctica(
    lat: npt.NDArray[np.floating], *, keep: bool, where: str
) -> tuple[npt.NDArray[np.bool_], tuple[str, ...]]:
    """Leave out the points of a grid that lie south of 60 °S.

    Parameters
    ----------
    lat
        Latitude of each point ``(point,)`` [degrees north].
    keep
        Leave out none.
    where
        The files, for the message.

    Returns
    -------
    Whether each point stays ``(point,)``, and what is to be said of the others.

    Raises
    ------
    SoilcastError
        None stays.
    """
    south = lat < _NORTHERN_EDGE
    if keep or not south.any():
        return np.ones_like(south), ()
    count = f"{south.sum():,} of {len(lat):,} grid points lie south of 60 °S (Antarctica)"
    if south.all():
        raise SoilcastError(f"{where}: {count}, which is left out: keep it with --antarctica")
    return ~south, (f"{count} and are left out (--antarctica keeps them)",)


def listed_in_antarctica(lat: npt.NDArray[np.floating]) -> tuple[str, ...]:
    """Say how many places of a list, which the user has chosen and so are kept, lie south of 60 °S.

    Parameters
    ----------
    lat
        Latitude of each place ``(cell,)`` [degrees north].
    """
    south = int(np.count_nonzero(lat < _NORTHERN_EDGE))
    return (f"{south:,} of {len(lat):,} listed cells lie south of 60 °S (Antarctica) and are kept",) * bool(south)
