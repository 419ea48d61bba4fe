"""See that no text of a figure lies on another or leaves the figure, for every figure that is drawn meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.text import Text

from soilcast.reporting.map_names import overlap

_SLACK = 1.5
"""Pixels at 100 dots an inch by which boxes may overlap: glyphs do not fill them."""

Corners = np.ndarray


@contextmanager
def watched_figures(monkeypatch: pytest.MonkeyPatch, keep: Path | None = None) -> Iterator[list[Figure]]:
    """Check every figure that is written or drawn inside; fail at the end with all that is wrong.

    Those of pages are checked in place of being written: their pages hold none.

    ``keep`` is a folder for pictures of the figures that fail, for a person to look at.
    """
    seen: list[Figure] = []
    faults: list[str] = []
    originals = {
        (FigureCanvasSVG, "print_svg"): FigureCanvasSVG.print_svg,
        (FigureCanvasPdf, "print_pdf"): FigureCanvasPdf.print_pdf,
        (FigureCanvasAgg, "print_png"): FigureCanvasAgg.print_png,
        (FigureCanvasAgg, "draw"): FigureCanvasAgg.draw,
    }
    busy = False

    def watching(original):  # type: ignore[no-untyped-def]
        def write(canvas, *args, **options):  # type: ignore[no-untyped-def]
            nonlocal busy
            is_of_page = original is originals[FigureCanvasSVG, "print_svg"]
            if not busy and canvas.figure not in seen:
                busy = True
                found = text_faults(canvas.figure, originals[FigureCanvasAgg, "draw"])
                if found and keep is not None:
                    originals[FigureCanvasAgg, "print_png"](FigureCanvasAgg(canvas.figure), keep / f"{len(seen)}.png")
                faults.extend(f"figure {len(seen)}: {fault}" for fault in found)
                seen.append(canvas.figure)
                busy = False
                canvas.figure.set_canvas(canvas)
            return None if is_of_page else original(canvas, *args, **options)

        return write

    with monkeypatch.context() as patched:
        for (kind, name), original in originals.items():
            patched.setattr(kind, name, watching(original))
        yield seen
    assert not faults, "\n".join(faults)


def text_faults(figure: Figure, draw: object = FigureCanvasAgg.draw) -> list[str]:
    """Texts of a figure that lie on another or leave it, in words."""
    texts = drawn_texts(figure, draw)
    dots = figure.dpi / 100
    width, height = figure.bbox.width, figure.bbox.height
    faults = [
        f"{text.get_text()!r} leaves the figure"
        for text, box in texts
        if box.min() < -_SLACK * dots or (box.max(axis=0) > np.array([width, height]) + _SLACK * dots).any()
    ]
    for (one, first), (other, second) in combinations(texts, 2):
        if overlap(_shrunk(first, _SLACK * dots), _shrunk(second, _SLACK * dots)):
            faults.append(f"{one.get_text()!r} lies on {other.get_text()!r}")
    return faults


def drawn_texts(figure: Figure, draw: object = FigureCanvasAgg.draw) -> list[tuple[Text, Corners]]:
    """Texts that are drawn, each with the corners of its box ``(corner, 2)`` [pixels]."""
    drawn: list[Text] = []
    original = Text.draw

    def noted(text: Text, renderer: object) -> None:
        if text.get_visible() and text.get_text().strip():
            drawn.append(text)
        original(text, renderer)  # type: ignore[arg-type]

    canvas = FigureCanvasAgg(figure)
    Text.draw = noted  # type: ignore[method-assign, assignment]
    try:
        draw(canvas)  # type: ignore[operator]
    finally:
        Text.draw = original  # type: ignore[method-assign]
    renderer = canvas.get_renderer()
    unique = list({id(text): text for text in drawn}.values())
    return [(text, _corners(text, renderer)) for text in unique]


def _corners(text: Text, renderer: object) -> Corners:
    """Corners of the box of a text, turned as it is; without the arrow of an annotation."""
    rotation = text.get_rotation()
    box = Text.get_window_extent(text, renderer)  # type: ignore[arg-type]
    middle = np.array([(box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2])
    text.set_rotation(0)
    flat = Text.get_window_extent(text, renderer)  # type: ignore[arg-type]
    text.set_rotation(rotation)
    cos, sin = np.cos(np.radians(rotation)), np.sin(np.radians(rotation))
    half = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * [flat.width / 2, flat.height / 2]
    return np.asarray(half @ np.array([[cos, sin], [-sin, cos]]) + middle)


def _shrunk(box: Corners, by: float) -> Corners:
    middle = box.mean(axis=0)
    half = np.abs(box - middle).max()
    return middle + (box - middle) * max(0.05, 1 - by / half) if half > by else box
