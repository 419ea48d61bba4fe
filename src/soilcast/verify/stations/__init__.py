"""Forecasts at stations: by place and depth, matched to the climate of the station, scored with intervals."""
