"""The page in a real browser, from disk: it draws, it fits, it says what summary.json says, and it
asks nobody for anything. Needs the Debian packages chromium and chromium-driver.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from soakbed.report import formats
from soakbed.report.page import write_report
from tests.golden.make_run import make_run
from tests.golden.pretences import ETCD, REDIS, TIKV
from tests.golden.recorded import RECORDED, judged

CHROMIUM, DRIVER = "/usr/bin/chromium", "/usr/bin/chromedriver"
# No first-run pages, updates or accounts: whatever is asked of the network, the page asked it.
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PLOTS = 6


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    copy = Path(shutil.copytree(RECORDED, tmp_path_factory.mktemp("page") / "run"))
    write_report(copy)
    return copy


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}", "about:blank"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    try:
        yield driver
    finally:
        driver.quit()


def opened(browser: webdriver.Chrome, run: Path, *, width: int, dark: bool = False) -> None:
    """Open the page at a width, and wait until every plot is drawn."""
    shade = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [shade]})
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600},
    )
    for log in ("browser", "performance"):
        browser.get_log(log)
    browser.get((run / "report" / "index.html").as_uri())
    WebDriverWait(browser, 60).until(
        lambda one: one.execute_script("return document.documentElement.dataset.drawn") == "yes"
    )


def requests_of(browser: webdriver.Chrome) -> list[str]:
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    return [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
        and not event["params"]["documentURL"].startswith("chrome://")
    ]


def count(browser: webdriver.Chrome, selector: str) -> int:
    return len(browser.find_elements(By.CSS_SELECTOR, selector))


@pytest.mark.parametrize("width", [1280, 375])
def test_the_page_draws_everything_without_an_error_and_without_the_network(browser, run, width):
    opened(browser, run, width=width)
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
    asked = requests_of(browser)
    assert (run / "report" / "index.html").as_uri() in asked
    assert [url for url in asked if not url.startswith(("file://", "data:", "blob:"))] == []
    assert count(browser, "figure.plot") == PLOTS
    assert count(browser, "figure.plot .scatterlayer .trace path.js-line") >= 2 * PLOTS


@pytest.mark.parametrize("width", [1280, 375])
def test_nothing_sticks_out_of_the_window(browser, run, width):
    opened(browser, run, width=width)
    page = "const page = document.documentElement; return page.scrollWidth <= page.clientWidth"
    assert browser.execute_script(page)
    if width == 1280:
        tables = """return [...document.querySelectorAll('.scroll')]
            .every(one => one.scrollWidth <= one.clientWidth)"""
        assert browser.execute_script(tables)


@pytest.mark.parametrize("width", [1280, 375])
def test_three_measured_targets_have_room_on_the_page(browser, tmp_path, width):
    folder = tmp_path / "run"
    judged(make_run(folder, targets=(ETCD, REDIS, TIKV), with_tikv=False))
    write_report(folder)
    opened(browser, folder, width=width)
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
    assert count(browser, "figure.plot .scatterlayer .trace path.js-line") >= 3 * PLOTS
    page = "const page = document.documentElement; return page.scrollWidth <= page.clientWidth"
    assert browser.execute_script(page)


def test_the_first_column_stays_while_a_narrow_table_scrolls(browser, run):
    opened(browser, run, width=375)
    left = """const box = document.querySelector('#table-glance').parentElement;
        box.scrollLeft = arguments[0];
        return document.querySelector('#table-glance tbody th').getBoundingClientRect().left;"""
    assert browser.execute_script(left, 400) == browser.execute_script(left, 0)


def shown(browser: webdriver.Chrome, key: str) -> tuple[str, str]:
    cell: Any = browser.find_element(By.CSS_SELECTOR, f'td[data-key="{key}"]')
    return cell.get_attribute("data-value"), cell.text


@pytest.mark.parametrize("target", ["etcd", "redis_cluster"])
def test_the_table_says_what_summary_json_says(browser, run, target):
    opened(browser, run, width=1280)
    held = json.loads((run / "summary.json").read_text())["targets"][target]
    for key in ("capacity_per_s", "offered_per_s", "throughput_per_s"):
        raw, text = shown(browser, f"{target}.{key}")
        assert float(raw) == held[key]
        assert formats.rate(held[key]) in text
    for operation in ("read", "write"):
        for key in ("response_p50_us", "response_p99_us", "response_p99_9_us", "service_p99_us"):
            raw, text = shown(browser, f"{target}.{operation}.{key}")
            value = held[operation][key]
            assert (raw, text) == ("" if value is None else str(value), formats.ms(value))


def test_the_target_that_was_not_measured_shows_its_reason(browser, run):
    opened(browser, run, width=1280)
    reason = json.loads((run / "summary.json").read_text())["targets"]["tikv"]["reason"]
    assert shown(browser, "tikv.reason")[1].startswith(reason)


def test_plots_take_the_colours_of_the_page_in_light_and_dark(browser, run):
    stroke = """return getComputedStyle(document.querySelector(
        '#curve-read .scatterlayer .trace path.js-line')).stroke"""
    paper = "return getComputedStyle(document.body).backgroundColor"
    opened(browser, run, width=1280)
    light = browser.execute_script(stroke), browser.execute_script(paper)
    opened(browser, run, width=1280, dark=True)
    dark = browser.execute_script(stroke), browser.execute_script(paper)
    assert light[0] != dark[0]
    assert light[1] != dark[1]


def test_every_table_can_be_read_aloud(browser, run):
    opened(browser, run, width=1280)
    assert count(browser, "table") == count(browser, "table > caption") > 3
    assert count(browser, "table th:not([scope])") == 0
    assert count(browser, "tbody tr:not(.section)") == count(browser, "tbody th[scope=row]")
    assert count(browser, "figure.plot .canvas:not([aria-label])") == 0
