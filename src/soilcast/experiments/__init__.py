"""The experiments that come with soilcast, as YAML."""
