"""Map projections: from longitude and latitude to its plane and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]


class Projection(Protocol):
    """A map projection; both directions take and give arrays of any one shape."""

    def forward(self, lon: Values, lat: Values) -> tuple[Values, Values]:
        """Position on the map of a longitude and latitude [degrees]."""

    def inverse(self, x: Values, y: Values) -> tuple[Values, Values]:
        """Longitude and latitude [degrees] of a position on the map; NaN outside the world."""


@dataclass(frozen=True)
class EqualEarth:
    """Equal Earth: an equal-area projection of the whole world (Savric, Patterson and Jenny 2019, Eq. 7-8)."""

    _A = (1.340264, -0.081106, 0.000893, 0.003796)

    def _height(self, theta: Values) -> tuple[Values, Values]:
        a1, a2, a3, a4 = self._A
        y = theta * (a1 + a2 * theta**2 + theta**6 * (a3 + a4 * theta**2))
        derivative = a1 + 3 * a2 * theta**2 + theta**6 * (7 * a3 + 9 * a4 * theta**2)
        return y, derivative

    def forward(self, lon: Values, lat: Values) -> tuple[Values, Values]:
        """Position on the map, in radii of the Earth."""
        theta = np.arcsin(np.sqrt(3) / 2 * np.sin(np.radians(lat)))
        y, derivative = self._height(theta)
        return 2 * np.sqrt(3) * np.radians(lon) * np.cos(theta) / (3 * derivative), y

    def inverse(self, x: Values, y: Values) -> tuple[Values, Values]:
        """Longitude and latitude [degrees], by Newton's iteration."""
        limit = np.pi / 3  # theta at the poles
        theta = np.clip(np.asarray(y, dtype=np.float64) / self._A[0], -limit, limit)
        for _ in range(8):
            height, derivative = self._height(theta)
            theta = np.clip(theta - (height - y) / derivative, -limit, limit)
        height, derivative = self._height(theta)
        lon = np.degrees(3 * x * derivative / (2 * np.sqrt(3) * np.cos(theta)))
        lat = np.degrees(np.arcsin(np.clip(2 / np.sqrt(3) * np.sin(theta), -1, 1)))
        outside = (np.abs(lon) > 180) | (np.abs(height - y) > 1e-6)
        return np.where(outside, np.nan, lon), np.where(outside, np.nan, lat)


@dataclass(frozen=True)
class Regional:
    """Equirectangular, true to scale along one parallel: shapes of a region look right around it.

    Parameters
    ----------
    parallel
        Latitude of that parallel [degrees north].
    """

    parallel: float

    @property
    def _stretch(self) -> float:
        return max(float(np.cos(np.radians(self.parallel))), 0.05)

    def forward(self, lon: Values, lat: Values) -> tuple[Values, Values]:
        """Position on the map, in degrees of latitude."""
        return np.asarray(lon) * self._stretch, np.asarray(lat) * 1.0

    def inverse(self, x: Values, y: Values) -> tuple[Values, Values]:
        """Longitude and latitude [degrees]."""
        outside = np.abs(y) > 90
        return np.where(outside, np.nan, x / self._stretch), np.where(outside, np.nan, y)
