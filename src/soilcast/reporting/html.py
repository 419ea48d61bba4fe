"""The HTML around everything: escaping, figures, the page. No script, nothing loaded from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from importlib.resources import files

from soilcast.reporting.maps import Scale

_ROUND = 20
"""Numbers beneath a colour scale that reaches as far have no decimals."""

# The browser itself then refuses any script and any request, whatever a text from a file may hold.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def page(title: str, subtitle: str, body: str, footer: str) -> str:
    """Assemble a whole HTML document.

    Parameters
    ----------
    title, subtitle, footer
        Plain text.
    body
        HTML.
    """
    style = files("soilcast.reporting").joinpath("data", "report.css").read_text(encoding="utf-8")
    return (
        "<!doctype html>\n"
        '<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f"<title>{escape(title)}</title><style>{style}</style></head><body>\n"
        f'<header class="page"><div><h1>{escape(title)}</h1><p>{escape(subtitle)}</p></div></header>\n'
        f"<main>{body}</main>\n<footer>{escape(footer)}</footer>\n</body></html>\n"
    )


def paragraph(text: str, *, note: bool = False) -> str:
    """Plain text as a paragraph."""
    return f"<p{' class=note' if note else ''}>{escape(text)}</p>"


def badge(text: str) -> str:
    """Short text in a coloured frame: what kind of data the numbers are of."""
    return f'<span class="badge">{escape(text)}</span>'


def verdict(first: str, rest: str) -> str:
    """Frame a sentence in bold, plain text, and what follows it, HTML."""
    return f'<div class="verdict">{paragraph(first)}{rest}</div>'


def heading(text: str, beside: str = "") -> str:
    """Heading of a group of figures; ``beside`` is HTML, the colour scale of a map."""
    return f'<div class="group"><h4>{escape(text)}</h4>{beside}</div>'


def picture(uri: str, caption: str, detail: str = "", *, wide: bool = False) -> str:
    """Picture with its caption above; a wide one scrolls on a narrow screen instead of shrinking."""
    image = f'<img src="{uri}" alt="{escape(f"{caption} {detail}".strip())}">'
    small = f" <small>{escape(detail)}</small>" if detail else ""
    inner = f'<div class="wide">{image}</div>' if wide else image
    return f"<figure><figcaption>{escape(caption)}{small}</figcaption>{inner}</figure>"


def panels(figures: Iterable[str], *, three: bool = False) -> str:
    """Figures side by side, as many as the screen has room for."""
    return f'<div class="panels{" three" if three else ""}">{"".join(figures)}</div>'


def legend(colours: Mapping[str, str], bars: Iterable[str] = (), *, squares: bool = False) -> str:
    """Name every colour; those in ``bars`` are drawn upright, classes of a map as squares with an edge."""
    kinds = dict.fromkeys(colours, " class=square" if squares else "") | dict.fromkeys(bars, " class=bar")
    items = (
        f'<li><span{kinds[name]} style="background:{colour}"></span>{escape(name)}</li>'
        for name, colour in colours.items()
    )
    return f'<ul class="legend">{"".join(items)}</ul>'


def colour_bar(scale: Scale, units: str) -> str:
    """Draw the colour scale of a metric's maps, with numbers, unit and what its ends mean."""
    reach = scale.high - scale.low
    decimals = 3 if reach < 1 else 2 if reach < _ROUND else 0
    ticks = [scale.low + (scale.high - scale.low) * share for share in (0, 0.25, 0.5, 0.75, 1)]
    numbers = "".join(f"<span>{tick:.{decimals}f}</span>".replace("-", "−") for tick in ticks)
    ends = f"<span>{escape(scale.style.low)}</span><span>{escape(units)}</span><span>{escape(scale.style.high)}</span>"
    return (
        f'<div class="scale"><div class="bar" style="background:linear-gradient(to right,{",".join(scale.gradient)})">'
        f'</div><div class="ticks">{numbers}</div><div class="words">{ends}</div></div>'
    )


def listed(lines: Iterable[str]) -> str:
    """Plain texts as a list; nothing for none."""
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<ul>{items}</ul>" if items else ""


def facts(rows: Mapping[str, str]) -> str:
    """Draw short facts as a list of terms and texts."""
    items = "".join(f"<div><dt>{escape(term)}</dt><dd>{escape(text)}</dd></div>" for term, text in rows.items() if text)
    return f'<dl class="facts">{items}</dl>'


def keys(rows: Mapping[str, str]) -> str:
    """Keys and values as a table of two columns."""
    items = "".join(f"<tr><th scope=row>{escape(k)}</th><td>{escape(v)}</td></tr>" for k, v in rows.items())
    return f'<div class="scroll"><table class="keys"><tbody>{items}</tbody></table></div>'


def folded(summary: str, inner: str) -> str:
    """HTML that opens on a click."""
    return f"<details><summary>{escape(summary)}</summary>{inner}</details>"
