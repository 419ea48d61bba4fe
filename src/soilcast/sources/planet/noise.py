"""Seeded random fields on the sphere that are smooth, remember yesterday and drift with the prevailing wind.

A field lives as zonal Fourier coefficients on rows two degrees apart, whatever the resolution of the cells: the weather
of a seed is the same at every resolution, and a drift is an exact turn of phase that loses no variance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse

from soilcast.cube.contract import SECONDS_PER_DAY
from soilcast.cube.grid import EARTH_RADIUS, Grid

Complex = npt.NDArray[np.complex128]
Floats = npt.NDArray[np.float64]

_ROW_STEP = 2.0
_ROWS = int(180 / _ROW_STEP)
_LATITUDE: Floats = -90.0 + _ROW_STEP * (np.arange(_ROWS, dtype=np.float64) + 0.5)
# Waves that the smoothing leaves less than exp(-8) of are left out.
_NEGLIGIBLE = 4.0


@dataclass(frozen=True)
class Texture:
    """How a random field looks and moves.

    Parameters
    ----------
    length
        Standard deviation of its smoothing kernel [m]; features are about four times as wide.
    memory
        Time in which its autocorrelation, seen from the moving air, falls to 1/e [days].
    drift
        How much of `zonal_drift` it moves with: 0 stays in place, 1 goes along.
    """

    length: float
    memory: float
    drift: float


def zonal_drift(latitude: Floats) -> Floats:
    """Speed at which weather moves, eastward positive [m s-1]: easterlies in the tropics, westerlies beyond."""
    westerlies = np.exp(-(((np.abs(latitude) - 48.0) / 16.0) ** 2))
    easterlies = np.exp(-((latitude / 17.0) ** 2))
    return np.asarray(9.0 * westerlies - 6.0 * easterlies)


class MovingField:
    """A stationary Gaussian field that is carried on from day to day.

    Parameters
    ----------
    texture
        Its length and memory.
    seed
        What makes it this field and no other.
    """

    def __init__(self, texture: Texture, seed: np.random.SeedSequence) -> None:
        self._random = np.random.Generator(np.random.PCG64(seed))
        self.wavenumber = np.arange(int(_NEGLIGIBLE * EARTH_RADIUS / texture.length) + 1)
        # A wave has a real and an imaginary part that share its variance; the mean, wave 0, is real.
        deviation = np.full((2, len(self.wavenumber)), np.sqrt(0.5))
        deviation[:, 0] = (1.0, 0.0)
        self._deviation = deviation[:, np.newaxis]
        radius = EARTH_RADIUS * np.cos(np.radians(_LATITUDE))[:, np.newaxis]
        self._zonal = np.exp(-0.5 * (texture.length * self.wavenumber / radius) ** 2)
        apart = np.radians(_LATITUDE[:, np.newaxis] - _LATITUDE) * EARTH_RADIUS
        self._meridional = np.exp(-0.5 * (apart / texture.length) ** 2)
        self._kept = np.exp(-1.0 / texture.memory)
        angle = texture.drift * zonal_drift(_LATITUDE)[:, np.newaxis] * SECONDS_PER_DAY / radius
        self._turn = np.exp(-1j * angle * self.wavenumber)
        self.coefficients: Complex = self._innovation()

    def step(self) -> None:
        """Carry the field on by one day."""
        fresh = np.sqrt(1.0 - self._kept**2) * self._innovation()
        self.coefficients = self._kept * self._turn * self.coefficients + fresh

    def covariance(self) -> Complex:
        """Stationary covariance of the coefficients between rows, ``(wavenumber, row, row)``.

        The sum over all past days of what each has left, turned by the difference of the rows' drifts.
        """
        alike = self._meridional @ self._meridional.T
        shear = self._turn.T[:, :, np.newaxis] * self._turn.T.conj()[:, np.newaxis, :]
        remains = (1.0 - self._kept**2) / (1.0 - self._kept**2 * shear)
        zonal = self._zonal.T[:, :, np.newaxis] * self._zonal.T[:, np.newaxis, :]
        return np.asarray(alike * zonal * remains)

    def _innovation(self) -> Complex:
        white = self._deviation * self._random.standard_normal((2, _ROWS, len(self.wavenumber)))
        real, imaginary = self._zonal * (self._meridional @ white)
        return np.asarray(real + 1j * imaginary)


@dataclass(frozen=True)
class View:
    """How a field, or a gradient of it, is seen at the cells of a grid: with mean 0 and variance 1.

    Parameters
    ----------
    rows
        Takes the field's rows to the grid's, ``(grid row, field row)``, scaled to unit variance.
    phase
        Takes each wave to the grid's first column, and to its zonal gradient if that is seen, ``(wavenumber,)``.
    columns
        Points along a circle of latitude that are worked out; every ``stride`` th is a column of the grid.
    stride
        See ``columns``.
    index
        Position of the cells in the grid.
    """

    rows: sparse.csr_array
    phase: Complex
    columns: int
    stride: int
    index: npt.NDArray[np.int64]

    def __call__(self, field: MovingField) -> Floats:
        """Values at the cells, ``(cell,)``."""
        waves = np.asarray(self.rows @ field.coefficients) * self.phase
        grid = np.fft.irfft(waves, n=self.columns, axis=1, norm="forward")[:, :: self.stride]
        return np.asarray(grid.ravel()[self.index])


def view(field: MovingField, grid: Grid, gradient: str = "none") -> View:
    """Prepare to see a field at the cells of a grid.

    Parameters
    ----------
    field
        The field.
    grid
        The grid and its cells.
    gradient
        ``"none"`` for the field itself, ``"eastward"`` or ``"northward"`` for that gradient of it.
    """
    rows = _interpolation(grid.lat)
    if gradient == "northward":
        rows = _interpolation(grid.lat + _ROW_STEP / 2) - _interpolation(grid.lat - _ROW_STEP / 2)
    columns = len(grid.lon)
    stride = -(-2 * len(field.wavenumber) // columns)
    phase = np.exp(1j * np.radians(180.0 + grid.lon[0]) * field.wavenumber)
    if gradient == "eastward":
        phase = phase * 1j * field.wavenumber
    # In a sum of waves each counts for itself and for its mirror image, the mean only once.
    count = np.where(field.wavenumber == 0, 1.0, 2.0) * np.abs(phase) ** 2
    row_covariance = np.einsum("mrs,m->rs", field.covariance().real, count)
    variance = np.einsum("gr,rs,gs->g", rows, row_covariance, rows)
    # Sparse, since a row is seen between two or four of the field's: a dense product costs far more, and its threads
    # stand in each other's way on a busy machine.
    scaled = sparse.csr_array(rows / np.sqrt(variance)[:, np.newaxis])
    return View(scaled, phase, columns * stride, stride, grid.index)


def _interpolation(latitude: Floats) -> Floats:
    """Linear interpolation from the field's rows to latitudes, ``(latitude, row)``."""
    at = np.clip((latitude - _LATITUDE[0]) / _ROW_STEP, 0.0, _ROWS - 1.0)
    return np.asarray(np.maximum(0.0, 1.0 - np.abs(at[:, np.newaxis] - np.arange(_ROWS))))
