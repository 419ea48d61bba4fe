"""How Sphinx builds these pages: `make docs` writes them to build/docs.

The pages are written for two readers, GitHub and Sphinx. Whatever differs between the two is settled here, so that no
page says a thing twice. Nothing is fetched, neither while building nor while browsing.
"""

from __future__ import annotations

import os
import re
import tomllib
from html import escape
from itertools import pairwise
from pathlib import Path

import ziamath
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.writers.html5 import HTML5Translator

ROOT = Path(__file__).resolve().parents[1]

logger = logging.getLogger("docs")

# What soilcast's command line sets for itself; here it is for the notebooks, which may run beside each other.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
# IPython as it comes, whatever the reader's own profile says, and without its advice on ports of shared machines.
PROFILE = ROOT / "build" / "ipython" / "profile_default"
PROFILE.mkdir(parents=True, exist_ok=True)
(PROFILE / "ipython_kernel_config.py").write_text("get_config().IPKernelApp.log_level = 40\n", encoding="utf-8")
os.environ["IPYTHONDIR"] = str(PROFILE.parent)

project = "soilcast"
author = "The soilcast developers"
release = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]

extensions = [
    "myst_nb",  # Markdown, and the notebooks, which the build executes
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",  # numpydoc's sections
    "sphinx.ext.viewcode",
]
highlight_language = "text"
templates_path = ["_templates"]
exclude_patterns = ["_templates"]

# Markdown as GitHub writes it: $`...`$ and ```math, anchors of headings.
myst_enable_extensions = ["dollarmath"]
myst_fence_as_directive = ["math"]
myst_heading_anchors = 4

nb_execution_mode = "force"
nb_execution_in_temp = True
nb_execution_timeout = 600  # seconds a cell
nb_execution_raise_on_error = True
nb_merge_streams = True

toc_object_entries_show_parents = "hide"
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_type_aliases = {"Geometries": "numpy.ndarray"}  # its underscore would be a link
autodoc_typehints_description_target = "documented"
python_use_unqualified_type_names = True
napoleon_use_rtype = False
napoleon_use_ivar = True
default_role = "py:obj"
smartquotes = False  # or --option would become –option

html_title = f"soilcast {release}"
html_theme = "pydata_sphinx_theme"
html_static_path = ["_static"]
html_css_files = ["soilcast.css"]
html_sidebars = {"**": ["all-pages"]}
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "navbar_center": [],
    "navbar_end": ["theme-switcher"],
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "show_toc_level": 2,
}
project_copyright = "the soilcast developers, Apache License 2.0"
html_math_renderer = "svg"


PAGES_OF_ROOT = {"README.md": "start.md", "CHANGELOG.md": "changelog.md"}
"""Pages of the root that are included here."""


def link_from_docs(app: Sphinx, included: Path, docname: str, text: list[str]) -> None:
    """Let the links of README.md and CHANGELOG.md, which are relative to the root, lead on from docs/."""

    def from_docs(link: re.Match[str]) -> str:
        path = link[1]
        if path in PAGES_OF_ROOT:
            return f"]({PAGES_OF_ROOT[path]})"
        return f"]({path.removeprefix('docs/')})" if path.startswith("docs/") else f"](../{path})"

    text[0] = re.sub(r"\]\((?![a-z]+:|#)([^)]+)\)", from_docs, text[0])


_kept: dict[str, list[str]] = {}


def keep_prose(app: Sphinx, what: str, name: str, of: object, options: object, lines: list[str]) -> None:
    """Take prose away from napoleon, which reads lines below Returns, and "X: y" of a constant, as types and texts."""
    if what in ("attribute", "data", "property"):
        _kept[name] = lines.copy()
        lines.clear()
    heads = [n for n in range(len(lines) - 1) if lines[n] and set(lines[n + 1]) == {"-"}] + [len(lines)]
    for head, end in pairwise(heads):
        if lines[head] == "Returns":
            _kept[name] = [":returns:", *(f"    {line}".rstrip() for line in lines[head + 2 : end]), ""]
            del lines[head:end]
            return


def give_prose(app: Sphinx, what: str, name: str, of: object, options: object, lines: list[str]) -> None:
    """Put it back; below Returns it is one field."""
    lines += _kept.pop(name, [])


def _svg(text: str, *, inline: bool) -> str:
    # The index of a wide hat would come under it, unless something stands between the two.
    drawn = ziamath.Latex(re.sub(r"(\\widehat\{\w+\})_", r"\1{}_", text), size=17, inline=inline, color="currentColor")
    label = f'role="img" aria-label="{escape(text)}" style="vertical-align: {drawn.getyofst():.1f}px"'
    return drawn.svg().replace("<svg ", f"<svg {label} ", 1)


def draw_math(self: HTML5Translator, node: nodes.math) -> None:
    """Draw inline mathematics, which GitHub takes between $` and `$."""
    self.body.append(_svg(node.astext().strip("`"), inline=True))
    raise nodes.SkipNode


def draw_math_block(self: HTML5Translator, node: nodes.math_block) -> None:
    """Draw an equation, with its number beside it."""
    text, tag, number = node.astext().strip().partition(r"\tag")
    beside = f'<span class="eqno">({number.strip("{}")})</span>' if tag else ""
    self.body.append(f'<div class="equation">{_svg(text, inline=False)}{beside}</div>')
    raise nodes.SkipNode


_FETCHED = re.compile(
    r"""<(?:script|link|img|iframe|source)\b[^>]*\b(?:src|href)=["'](?:https?:)?//"""
    r"""|(?:url\(\s*|@import\s+)["']?(?:https?:)?//"""
)


def refuse_requests(app: Sphinx, exception: Exception | None) -> None:
    """Fail the build if a page or a style would fetch anything from elsewhere when it is looked at."""
    for path in [] if exception else sorted(Path(app.outdir).rglob("*")):
        if path.suffix in (".html", ".css") and (found := _FETCHED.search(path.read_text(encoding="utf-8"))):
            logger.warning("%s fetches from elsewhere: %s", path.name, found[0])


def draw_dashes(app: Sphinx, doctree: nodes.document) -> None:
    """Write the dash between a parameter and its meaning as one, which smart quotes would do."""
    for body in doctree.findall(nodes.field_body):
        for text in list(body.findall(nodes.Text)):
            if text == " -- ":
                text.parent.replace(text, nodes.Text(" – "))


def setup(app: Sphinx) -> None:
    """Register what is above."""
    app.connect("include-read", link_from_docs)
    app.connect("autodoc-process-docstring", keep_prose, priority=400)  # before napoleon
    app.connect("autodoc-process-docstring", give_prose, priority=600)  # after it
    app.connect("doctree-read", draw_dashes)
    app.connect("build-finished", refuse_requests)
    app.add_html_math_renderer("svg", (draw_math, None), (draw_math_block, None))
