"""From values to colours: one scale of a variable for all issue days and leads of a collection, and its legend."""

from __future__ import annotations

import io
import math
import threading
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageColor, ImageDraw, ImageFont

from soilcast.colours import CHANGE, CLASSES, DROUGHT_COLOURS, Colouring, colouring_of, product_of, robust_limits
from soilcast.products.indices import NOT_REACHED
from soilcast.products.variables import DAYS_TO_DRY
from soilcast.serving.catalogue import Collection
from soilcast.serving.forecast_files import QUANTILE, Variable

Values = npt.NDArray[np.floating]
Indices = npt.NDArray[np.uint8]

TRANSPARENT = 255
"""Position in a palette of what is missing."""

_LEVELS = 250
_STEPS = 10
_MEAN = "_mean"
_WIDE, _TALL, _ROW = 320, 58, 20


@dataclass(frozen=True)
class Scale:
    """Limits of a variable and its colours.

    Parameters
    ----------
    low, high
        Ends [its unit]; what is beyond has the colour of the end.
    colouring
        Its colours and words.
    last
        Of days until it is dry the longest lead [d], else None.
    """

    low: float
    high: float
    colouring: Colouring
    last: int | None = None

    @property
    def is_of_classes(self) -> bool:
        """Whether each whole number has a colour of its own."""
        return not isinstance(self.colouring.colours, str)

    @property
    def palette(self) -> bytes:
        """RGB of each index below `TRANSPARENT`."""
        if isinstance(self.colouring.colours, str):
            table = matplotlib.colormaps[self.colouring.colours](np.linspace(0, 1, _LEVELS), bytes=True)[:, :3]
        else:
            table = np.array([ImageColor.getrgb(colour) for colour in self.colouring.colours], dtype=np.uint8)
        return bytes(np.ascontiguousarray(table))

    def indices(self, values: Values) -> Indices:
        """Position of each value in the palette, `TRANSPARENT` where it is missing."""
        count = len(self.colouring.colours) if self.is_of_classes else _LEVELS
        if self.last is not None:
            values = np.where(values == NOT_REACHED, self.last + 1, values)
        position = np.clip((values - self.low) * (count / (self.high - self.low)), 0, count - 1)
        return np.where(np.isfinite(values), np.nan_to_num(position), TRANSPARENT).astype(np.uint8)

    def hues(self, values: Values) -> list[str | None]:
        """Colour of each value ``(place,)`` as CSS writes it, None where it is missing."""
        palette = self.palette
        found = self.indices(values).tolist()
        return [None if one == TRANSPARENT else f"#{palette[3 * one : 3 * one + 3].hex()}" for one in found]

    def legend(self) -> list[dict[str, Any]]:
        """Give colours with the values from and to which they stand, and words where they have some."""
        if not isinstance(self.colouring.colours, str):
            return [
                {"from": number - 0.5, "to": number + 0.5, "colour": colour, "label": label}
                for number, (label, colour) in DROUGHT_COLOURS.items()
            ]
        edges = np.linspace(self.low, self.high, _STEPS + 1)
        colours = matplotlib.colormaps[self.colouring.colours]((np.arange(_STEPS) + 0.5) / _STEPS, bytes=True)
        labels = [self.colouring.low, *[""] * (_STEPS - 2), self.colouring.high]
        return [
            {
                "from": _rounded(edges[at]),
                "to": _rounded(edges[at + 1]),
                "colour": "#" + bytes(colours[at][:3]).hex(),
                "label": labels[at],
            }
            for at in range(_STEPS)
        ]


class Scales:
    """The scales of what is served, each found once."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str, bool], Scale] = {}
        self._lock = threading.Lock()

    def of(self, collection: Collection, variable: Variable, sample: Any, *, is_change: bool = False) -> Scale:
        """Give the scale of a variable, or of its change.

        Parameters
        ----------
        sample
            Gives values from which the limits follow, if they do: called once.
        """
        name = variable.name.removesuffix(QUANTILE).removesuffix(_MEAN)
        key = collection.id, name, is_change
        with self._lock:
            if key in self._found:
                return self._found[key]
            scale, is_known = _scale(collection, name, sample, is_change=is_change)
            if is_known:
                self._found[key] = scale
            return scale


def _scale(collection: Collection, name: str, sample: Any, *, is_change: bool) -> tuple[Scale, bool]:
    """A scale, and whether there was a value from which it follows."""
    colouring = CHANGE if is_change else colouring_of(name)
    last = collection.newest.file.leads[-1]
    if product_of(name) is DAYS_TO_DRY:
        return Scale(1.0, last + 1.0, colouring, last), True
    if colouring.limits is not None:
        return Scale(*colouring.limits, colouring), True
    limits = robust_limits(sample(), centred=colouring.centred)
    if limits is None:
        return Scale(-1.0 if colouring.centred else 0.0, 1.0, colouring), False
    return Scale(*_outward(*limits), colouring), True


def _outward(low: float, high: float) -> tuple[float, float]:
    """Round limits outward to what is easily read."""
    step = 10 ** math.floor(math.log10((high - low) / 2))
    step = next(one for one in (step / 2, step, step * 2, step * 5) if (high - low) / one <= 12)
    return _rounded(math.floor(low / step + 1e-6) * step), _rounded(math.ceil(high / step - 1e-6) * step)


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")


def draw_legend(scale: Scale, title: str, units: str) -> bytes:
    """Draw a legend as PNG: a bar with its ends, or a row for each class."""
    entries = scale.legend()
    font = ImageFont.load_default(12)
    height = _TALL if not scale.is_of_classes else _ROW * (len(entries) + 1) + 4
    image = Image.new("RGB", (_WIDE, height), "white")
    draw = ImageDraw.Draw(image)
    heading = title if units in ("", "1") else f"{title} [{units}]"
    draw.text((4, 3), _fitted(heading, font), fill="#111827", font=font)
    if scale.colouring is CLASSES:
        for row, entry in enumerate(entries, start=1):
            top = row * _ROW
            draw.rectangle((4, top + 2, 28, top + _ROW - 2), fill=entry["colour"], outline="#9aa1ab")
            draw.text((36, top + 3), str(entry["label"]), fill="#111827", font=font)
    else:
        wide = (_WIDE - 8) / len(entries)
        for at, entry in enumerate(entries):
            draw.rectangle((4 + at * wide, 22, 4 + (at + 1) * wide, 36), fill=entry["colour"])
        low, high = (f"{one:g}" for one in (scale.low, scale.high))
        draw.text((4, 40), f"{low} {scale.colouring.low}", fill="#111827", font=font)
        text = f"{scale.colouring.high} {high}"
        draw.text((_WIDE - 4 - font.getlength(text), 40), text, fill="#111827", font=font)
    stream = io.BytesIO()
    image.save(stream, format="PNG")
    return stream.getvalue()


def _fitted(text: str, font: Any) -> str:
    """Cut a text where the picture ends."""
    while len(text) > 1 and font.getlength(text) > _WIDE - 8:
        text = text[:-2].rstrip() + "…"
    return text
