"""Forecasts over HTTP: a map in the browser, tiles, and OGC API Environmental Data Retrieval."""

from soilcast.serving.running import serve

__all__ = ["serve"]
