"""soilcast."""
