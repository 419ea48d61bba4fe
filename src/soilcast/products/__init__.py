"""Products of a forecast: what a value means in the climate of its cell."""

from soilcast.products.adding import add_products

__all__ = ["add_products"]
