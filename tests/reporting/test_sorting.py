"""Tables are sorted by their headings, by the one script that a page allows; without it nothing is missing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from soilcast.reporting import html as pages
from soilcast.reporting.drought import drought_table
from soilcast.reporting.forecasts import load_forecast
from tests.helpers.html_page import Page, loads_nothing_and_only_sorts
from tests.helpers.scores_factory import make_forecast

if TYPE_CHECKING:
    from playwright.sync_api import Browser
    from playwright.sync_api import Page as BrowserPage

NAMES = ("b10", "b9", "a")
VALUES = ("0.5", "−12.25", "–")  # a minus sign, and a dash where there is none
RANGES = ("75 % (60–80)", "< 0.001", "100 %")
WORDS = ("2020-02-01", "2020-01-15", "2019-12-31")


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


# In a browser


@dataclass
class Shown:
    """A page in a browser, and what its console said."""

    page: BrowserPage
    said: list[str]

    def state(self) -> tuple[list[str], list[str | None]]:
        """Names of the rows in their order, and what the headings say of it."""
        rows = [text.strip() for text in self.page.locator("table.sortable tbody th").all_text_contents()]
        return rows, [head.get_attribute("aria-sort") for head in self.page.locator("table.sortable thead th").all()]


@pytest.fixture
def shown(browser: Browser, tmp_path: Path) -> Iterator[Shown]:
    context = browser.new_context()
    page, said = context.new_page(), []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    (tmp_path / "page.html").write_text(table(), encoding="utf-8")
    page.goto((tmp_path / "page.html").as_uri())
    yield Shown(page, said)
    context.close()


@pytest.mark.slow
@pytest.mark.browser
def test_headings_sort_ascending_descending_and_as_it_was(shown: Shown) -> None:
    b10, b9, a = NAMES
    none = "none"
    assert shown.state() == ([b10, b9, a], [none] * 4)
    expected = [
        ("Model", [a, b9, b10], ["ascending", none, none, none]),  # numbers within names in their order
        ("Value", [b9, b10, a], [none, "ascending", none, none]),  # what has no value is last
        ("Value", [b10, b9, a], [none, "descending", none, none]),
        ("Value", [b10, b9, a], [none] * 4),
        ("Share", [b9, b10, a], [none, none, "ascending", none]),  # 0.001, 75 and 100
        ("Day", [a, b9, b10], [none, none, none, "ascending"]),  # days are no numbers
    ]
    for heading, order, sorts in expected:
        shown.page.get_by_role("button", name=heading).click()
        assert shown.state() == (order, sorts)
    assert not shown.said


@pytest.mark.slow
@pytest.mark.browser
def test_headings_are_reached_and_pressed_by_the_keyboard(shown: Shown) -> None:
    for _ in range(3):  # past the link to the section and the first heading
        shown.page.keyboard.press("Tab")
    shown.page.keyboard.press("Enter")
    assert shown.state()[1] == ["none", "ascending", "none", "none"]
    shown.page.keyboard.press("Space")
    assert shown.state()[1] == ["none", "descending", "none", "none"]
    assert shown.page.evaluate("document.activeElement.textContent") == "Valuem"


@pytest.mark.slow
@pytest.mark.browser
def test_the_browser_refuses_any_other_script(shown: Shown, tmp_path: Path) -> None:
    evil = '<script>document.title = "run"</script><img src="x" onerror="document.title = \'run\'">'
    (tmp_path / "evil.html").write_text(table().replace("</main>", f"{evil}</main>"), encoding="utf-8")
    shown.page.goto((tmp_path / "evil.html").as_uri())
    shown.page.get_by_role("button", name="Model").click()
    assert shown.page.title() == "made"
    assert shown.state()[1][0] == "ascending"
    assert sum("Content Security Policy" in text for text in shown.said) >= 2
