"""Forecasting: a run over a cube, block by block of cells, streamed to a forecast."""

from soilcast.forecasting.produce import forecast

__all__ = ["forecast"]
