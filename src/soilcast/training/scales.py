"""What takes normalised soil moisture to the space in which a loss counts, by cell, lead and layer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from soilcast.training.normalise import Scaling
from soilcast.training.soil_statistics import SoilStatistics

Array = npt.NDArray[np.float64]


def error_scale(space: str, scalings: Sequence[Scaling], statistics: SoilStatistics) -> Array | None:
    """Give what an error of normalised soil moisture is multiplied by, ``(cell, lead, layer)``; None for 1.

    Parameters
    ----------
    space
        ``loss.space``: ``normalised``, ``physical`` [m3 m-3], or ``persistence``, in which persistence errs by 1.
    scalings
        Of each layer.
    statistics
        Of the same cells.
    """
    if space == "normalised":
        return None
    if space == "persistence":
        return 1 / statistics.persistence_error
    leads = statistics.persistence_error.shape[1]
    scale = np.stack([scaling.scale for scaling in scalings], axis=-1)
    return np.repeat(scale[:, np.newaxis], leads, axis=1)


def column_depth(
    space: str, scalings: Sequence[Scaling], statistics: SoilStatistics, thickness: Array, guided: slice
) -> Array:
    """Give what takes changes of normalised soil moisture of layers to one change of water in the space of the loss.

    Parameters
    ----------
    space
        ``loss.space``. Of one layer the change is that of its normalised soil moisture, in [m3 m-3], or over the error
        of persistence one day ahead; of several the mean over their water, over their thickness, or over that error of
        all of their water.
    thickness
        ``(cell, layer)`` [m].
    guided
        The layers whose water it is; the others count 0.

    Returns
    -------
    ``(cell, layer)``.
    """
    scale = np.stack([scaling.scale for scaling in scalings], axis=-1)
    inside = np.zeros(scale.shape[-1])
    inside[guided] = 1.0
    depth = scale * thickness * inside
    if space == "normalised":
        unit = depth.sum(axis=1)
    elif space == "physical":
        unit = (thickness * inside).sum(axis=1)
    else:
        unit = np.sqrt(np.sum((depth * statistics.persistence_error[:, 0]) ** 2, axis=1))
    return np.asarray(depth / unit[:, np.newaxis])


def layer_bounds(scalings: Sequence[Scaling], statistics: SoilStatistics) -> Array:
    """Give the normalised soil moisture of dry soil and of full pores ``(cell, layer, 2)``; 0 where it is not known."""
    bounds = np.stack(
        [
            np.stack(
                [
                    (limit - scaling.offset) / scaling.scale
                    for limit in (np.zeros_like(scaling.offset), statistics.porosity[:, layer])
                ],
                axis=-1,
            )
            for layer, scaling in enumerate(scalings)
        ],
        axis=1,
    )
    return np.nan_to_num(bounds)
