"""Regions: polygons from files, how much of each cell lies in each, and soil moisture of their means."""
