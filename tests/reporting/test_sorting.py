"""Tables are sorted by their headings, by the one script that a page allows; without it nothing is missing."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from soilcast.reporting import html as pages
from soilcast.reporting.drought import drought_table
from soilcast.reporting.forecasts import load_forecast
from tests.helpers.html_page import Page, loads_nothing_and_only_sorts
from tests.helpers.scores_factory import make_forecast

NAMES = ("b10", "b9", "a")
VALUES = ("0.5", "−12.25", "–")  # a minus sign, and a dash where there is none
RANGES = ("75 % (60–80)", "< 0.001", "100 %")
WORDS = ("2020-02-01", "2020-01-15", "2019-12-31")

CHROMIUM = shutil.which("chromium")


def table() -> str:
    heads = [pages.Cell("Value", "m"), "Share", "Day"]
    rows = [
        ("network", name, [pages.Cell(value, "9"), share, day])
        for name, value, share, day in zip(NAMES, VALUES, RANGES, WORDS, strict=True)
    ]
    return pages.page(
        "report.html.j2",
        title="made",
        subtitle="",
        command="a test",
        chapters=[{"name": "made", "summary": "", "drawn": [(_Section(), pages.table("Model", heads, rows))],
                   "left_out": ""}],
    )  # fmt: skip


class _Section:
    heading, anchor = "Table", "table"


def test_without_its_script_a_page_is_whole() -> None:
    page = Page(table())
    loads_nothing_and_only_sorts(page)
    assert "button" not in {tag for tag, _ in page.tags}
    assert [next(cell.strip() for cell in row) for row in page.rows] == ["Model", *NAMES]


def test_a_table_that_adds_up_is_not_sorted() -> None:
    forecast = load_forecast(make_forecast(cells=5, leads=2, targets=("swvl1",)), Path("forecast"))
    assert "sortable" not in drought_table(forecast, "swvl1")
    assert 'class="scores narrow sortable"' in pages.table("Model", ["A"], [("", "one", ["1"])])


PRESS = """
const frame = document.querySelector("iframe");
frame.addEventListener("load", () => {
  const page = frame.contentDocument, heads = [...page.querySelectorAll("table.sortable thead th")];
  const state = () => ({
    order: [...page.querySelectorAll("table.sortable tbody th")].map((head) => head.textContent.trim()),
    sorts: heads.map((head) => head.getAttribute("aria-sort")),
    focus: page.activeElement.textContent.trim(),
  });
  const states = [state()];
  for (const at of PRESSES) {
    const button = heads[at].querySelector("button");
    button.focus();
    button.click();
    states.push(state());
  }
  document.querySelector("pre").textContent = JSON.stringify(states);
});
"""
"""Of a page around the one that is looked at: press its headings, and write down what then is to be seen."""


def pressed(folder: Path, headings: list[int]) -> list[dict[str, object]]:
    """Press headings one after the other in a browser: the order of the rows before and after each."""
    around = folder / "around.html"
    script = PRESS.replace("PRESSES", json.dumps(headings))
    around.write_text(
        f'<meta charset="utf-8"><pre></pre><iframe srcdoc="{html.escape(table())}"></iframe><script>{script}</script>',
        encoding="utf-8",
    )
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}", "--virtual-time-budget=5000"]
    done = subprocess.run(
        [str(CHROMIUM), *options, "--dump-dom", around.as_uri()],
        check=True, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    found = re.search(r"<pre>(.*?)</pre>", done.stdout, re.DOTALL)
    assert found is not None
    return json.loads(html.unescape(found[1]))


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium to look at a page with: apt-get install chromium")
def test_headings_sort_ascending_descending_and_as_it_was(tmp_path: Path) -> None:
    states = pressed(tmp_path, [0, 1, 1, 1, 2, 3])
    b10, b9, a = NAMES
    assert [state["order"] for state in states] == [
        [b10, b9, a],
        [a, b9, b10],  # by name, with numbers in their order
        [b9, b10, a],  # by value; what has none is last
        [b10, b9, a],
        [b10, b9, a],
        [b9, b10, a],  # 0.001, 75 and 100
        [a, b9, b10],  # days are no numbers
    ]
    assert [state["sorts"] for state in states[:5]] == [
        ["none", "none", "none", "none"],
        ["ascending", "none", "none", "none"],
        ["none", "ascending", "none", "none"],
        ["none", "descending", "none", "none"],
        ["none", "none", "none", "none"],
    ]
    assert [state["focus"] for state in states[1:3]] == ["Model", "Valuem"]
    assert np.unique([sorted(map(str, state["order"])) for state in states], axis=0).shape[0] == 1  # type: ignore[call-overload]
