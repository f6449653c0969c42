"""The page about a broken promise in a real browser: drawn, told on hover, reached by keyboard.

Needs the Debian packages chromium and chromium-driver.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from soakbed.report.page import write_report
from tests.golden.broken_word import with_broken_word
from tests.integration import test_page_in_a_browser as pages
from tests.integration.test_page_in_a_browser import (
    NARROW,
    WIDE,
    count,
    opened,
    press,
    requests_of,
    rows_of,
    severe,
)

browser = pages.browser  # the same fixture


@pytest.fixture(scope="module")
def violation(tmp_path_factory) -> Path:
    """The page about a target that broke its word, beside the report that leads there."""
    run = with_broken_word(tmp_path_factory.mktemp("broken"))
    return write_report(run).parent / "violation-redis_cluster.html"


@pytest.mark.parametrize(("width", "dark"), [(WIDE, False), (NARROW, True)], ids=["wide", "narrow"])
def test_a_violation_is_drawn_process_by_process_without_the_network(
    browser, violation, width, dark
):
    opened(browser, violation, width=width, dark=dark)
    assert severe(browser) == []
    assert [url for url in requests_of(browser) if not url.startswith(("file://", "data:"))] == []
    page = "const page = document.documentElement; return page.scrollWidth <= page.clientWidth"
    assert browser.execute_script(page)
    rows = count(browser, "#table-linearizable-1-rows tbody tr")
    assert count(browser, "#linearizable-1 .points path.point") == rows
    assert count(browser, "#linearizable-1 .errorbar") == rows, "a bar from sent to done for each"
    marked = count(browser, "#table-linearizable-1-rows tr.witness")
    assert 2 <= marked <= 4
    drawn = browser.execute_script(
        """return document.querySelector('#linearizable-1 .canvas').data
            .filter(one => one.meta.role === 'marked').flatMap(one => one.text)"""
    )
    assert len(drawn) == marked
    assert any("the older value, after that" in one for one in drawn), "told on hover"
    press(browser, "#linearizable-1 .tabular")
    assert len(rows_of(browser, "linearizable-1")) == rows + 1


def test_the_headline_leads_to_the_violation_by_keyboard(browser, violation):
    opened(browser, violation.parent / "index.html", width=WIDE)
    tables = """return [...document.querySelectorAll('.scroll')]
        .every(one => one.scrollWidth <= one.clientWidth)"""
    assert browser.execute_script(tables)
    press(browser, 'td[data-key="redis_cluster.violations"] a')
    WebDriverWait(browser, 60).until(lambda one: one.current_url == violation.as_uri())
    assert "did not keep its word" in browser.find_element(By.TAG_NAME, "h1").text
