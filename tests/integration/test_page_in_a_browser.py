"""Pages of one, two and five runs in a real browser, from disk: they draw, they fit, they say what
the records say, anyone can use them, and they ask nobody for anything.

Needs the Debian packages chromium and chromium-driver. Screenshots stay in .ci-artifacts/pages/.
"""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from soakbed.report import formats
from soakbed.report.page import compose, render, write_report
from tests.golden.made_campaign import page_of_campaign
from tests.golden.make_run import make_run
from tests.golden.many_runs import comparison_of, five_runs, two_runs
from tests.golden.pretences import ETCD, REDIS, TIKV
from tests.golden.recorded import RECORDED, judged, shown_of

SCREENSHOTS = Path(__file__).resolve().parents[2] / ".ci-artifacts" / "pages"
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
WIDE, NARROW = 1280, 375
TALLEST = 16_000  # pixels of a screenshot; the browser draws no taller one


@dataclass(frozen=True)
class View:
    """A page as somebody looks at it."""

    page: str
    width: int
    dark: bool = False

    @property
    def name(self) -> str:
        return f"{self.page}-{self.width}-{'dark' if self.dark else 'light'}"


VIEWS = (
    View("one", WIDE),
    View("one", NARROW),
    View("two", WIDE),
    View("two", WIDE, dark=True),
    View("two", NARROW),
    View("five", WIDE),
    View("five", NARROW, dark=True),
    View("campaign", WIDE),
    View("campaign", NARROW, dark=True),
)
# axe takes 5 s for a page of several runs; structure depends on the page, contrast on the shade.
LOOKED_AT = (View("one", WIDE), View("two", WIDE), View("two", WIDE, dark=True), *VIEWS[-3:-1])
PLOTS = {"one": 9, "two": 18, "five": 16, "campaign": 9}


def of_one(folder: Path) -> Path:
    copy = Path(shutil.copytree(RECORDED, folder / "run"))
    return write_report(copy)


def of_several(make: Callable[[Path], list[Path]], folder: Path) -> Path:
    runs = make(folder)
    page = folder / "index.html"
    page.write_text(render(compose(shown_of(*runs, comparison=comparison_of(runs)))))
    return page


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[str, Path]:
    return {
        "one": of_one(tmp_path_factory.mktemp("one")),
        "two": of_several(two_runs, tmp_path_factory.mktemp("two")),
        "five": of_several(five_runs, tmp_path_factory.mktemp("five")),
        "campaign": page_of_campaign(tmp_path_factory.mktemp("campaign")),
    }


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}", "about:blank"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    # axe takes 5 s for a page of several runs; on two cores that others work on it took over 30.
    driver.set_script_timeout(120)
    try:
        yield driver
    finally:
        driver.quit()


def opened(browser: webdriver.Chrome, page: Path, *, width: int, dark: bool = False) -> None:
    """Open a page at a width, and wait until every plot is drawn."""
    shade = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [shade]})
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600},
    )
    for log in ("browser", "performance"):
        browser.get_log(log)
    browser.get(page.as_uri())
    WebDriverWait(browser, 60).until(
        lambda one: one.execute_script("return document.documentElement.dataset.drawn") == "yes"
    )


@pytest.fixture(scope="module", params=VIEWS, ids=lambda view: view.name)
def view(request, browser, pages) -> View:
    """One view, opened once for all tests that only look."""
    held: View = request.param
    opened(browser, pages[held.page], width=held.width, dark=held.dark)
    return held


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


def severe(browser: webdriver.Chrome) -> list[Any]:
    return [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]


def test_it_draws_everything_without_an_error_and_without_the_network(browser, view, pages):
    assert severe(browser) == []
    asked = requests_of(browser)
    assert pages[view.page].as_uri() in asked
    assert [url for url in asked if not url.startswith(("file://", "data:", "blob:"))] == []
    assert count(browser, "figure.plot") == PLOTS[view.page]
    empty = """return [...document.querySelectorAll('figure.plot')].filter(one =>
        !one.querySelector('.scatterlayer .trace path')).map(one => one.id)"""
    assert browser.execute_script(empty) == []


def test_nothing_sticks_out_of_the_window(browser, view):
    page = "const page = document.documentElement; return page.scrollWidth <= page.clientWidth"
    assert browser.execute_script(page)
    if view == View("one", WIDE):
        tables = """return [...document.querySelectorAll('.scroll')]
            .every(one => one.scrollWidth <= one.clientWidth)"""
        assert browser.execute_script(tables)


@pytest.mark.parametrize("view", LOOKED_AT, indirect=True, ids=lambda view: view.name)
def test_axe_finds_nothing_serious(browser, view):
    """axe-core looks for what keeps people out: contrast, names, roles, keyboard, structure.

    What is drawn inside a plot is one image with a description, and so left to that.
    """
    axe = (resources.files("axe_core_python") / "axe.min.js").read_text()
    browser.execute_script(axe)
    found = browser.execute_async_script(
        """const done = arguments[arguments.length - 1];
        axe.run({exclude: [['.canvas > *']]}, {resultTypes: ['violations']})
            .then(done, error => done(String(error)))"""
    )
    assert isinstance(found, dict), found
    grave = [
        (one["id"], one["impact"], [node["target"] for node in one["nodes"]][:5])
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
    ]
    assert grave == []


def test_every_table_can_be_read_aloud_and_every_plot_has_words(browser, view):
    assert count(browser, "table") == count(browser, "table > caption") >= 3
    assert count(browser, "table th:not([scope])") == 0
    assert count(browser, "tbody tr:not(.section)") == count(browser, "tbody th[scope=row]")
    assert count(browser, "figure.plot .canvas:not([aria-label])") == 0
    assert count(browser, "figure.plot .tabular[aria-controls]") == PLOTS[view.page]


def test_a_screenshot_of_each_view_is_kept(browser, view):
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    height = browser.execute_script("return document.documentElement.scrollHeight")
    clip = {"x": 0, "y": 0, "width": view.width, "height": min(height, TALLEST), "scale": 1}
    taken = browser.execute_cdp_cmd(
        "Page.captureScreenshot",
        {"format": "jpeg", "quality": 70, "clip": clip, "captureBeyondViewport": True},
    )
    kept = SCREENSHOTS / f"{view.name}.jpg"
    kept.write_bytes(base64.b64decode(taken["data"]))
    assert kept.stat().st_size > 50_000


# --- what somebody does with a page -----------------------------------------------------------


@pytest.fixture(scope="module")
def wide(browser, pages) -> webdriver.Chrome:
    """The page of two runs on a wide screen; each test leaves it as it found it."""
    opened(browser, pages["two"], width=WIDE)
    return browser


def x_range(browser: webdriver.Chrome, plot: str) -> list[float]:
    script = "return document.querySelector('#' + arguments[0] + ' .canvas').layout.xaxis.range"
    return [round(float(end), 3) for end in browser.execute_script(script, plot)]


def press(browser: webdriver.Chrome, selector: str, key: str = Keys.ENTER) -> None:
    """By keyboard alone, as somebody without a mouse would."""
    button = browser.find_element(By.CSS_SELECTOR, selector)
    browser.execute_script("arguments[0].focus()", button)
    button.send_keys(key)


TOGETHER = ("time-throughput", "time-p99-read", "time-p99-write", "time-achieved", "time-host-cpu")


def test_plots_zoom_together_by_mouse_and_come_back_together(wide):
    canvas = wide.find_element(By.CSS_SELECTOR, "#time-p99-read .canvas .nsewdrag")
    webdriver.ActionChains(wide).scroll_to_element(canvas).perform()
    chain = webdriver.ActionChains(wide).move_to_element_with_offset(canvas, -60, 0)
    chain.click_and_hold().move_by_offset(120, 0).release().perform()
    ranges = {plot: x_range(wide, plot) for plot in TOGETHER}
    assert len({tuple(one) for one in ranges.values()}) == 1, ranges
    low, high = ranges["time-throughput"]
    assert -2 < low < high < 12
    press(wide, "#time ~ .tools [data-zoom=whole]")
    assert {tuple(x_range(wide, plot)) for plot in TOGETHER} == {(-2.0, 12.0)}


def test_plots_zoom_and_move_by_keyboard(wide):
    press(wide, "#time ~ .tools [data-zoom=in]")
    assert {tuple(x_range(wide, plot)) for plot in TOGETHER} == {(1.5, 8.5)}
    press(wide, "#time ~ .tools [data-zoom=on]", Keys.SPACE)
    assert {tuple(x_range(wide, plot)) for plot in TOGETHER} == {(5.0, 12.0)}
    assert x_range(wide, "time-capacity") == [0, 6], "another axis stays"
    press(wide, "#time ~ .tools [data-zoom=back]")
    press(wide, "#time ~ .tools [data-zoom=out]")
    assert {tuple(x_range(wide, plot)) for plot in TOGETHER} == {(-2.0, 12.0)}
    press(wide, "#time ~ .tools [data-zoom=whole]")


def lines(browser: webdriver.Chrome, plot: str) -> int:
    return count(browser, f"#{plot} .scatterlayer .trace")


def test_a_switch_of_the_legend_takes_a_contender_out_of_every_plot_and_back(wide):
    before = {plot: lines(wide, plot) for plot in ("curve-read", *TOGETHER)}
    press(wide, "#curves ~ .legend [data-key=a-etcd]")
    pressed = "[data-key=a-etcd][aria-pressed=false]"
    assert count(wide, pressed) == count(wide, ".legend") == 4
    after = {plot: lines(wide, plot) for plot in before}
    assert after["curve-read"] == before["curve-read"] - 2  # response and service
    assert after["time-p99-read"] == before["time-p99-read"] - 2  # its line and its flags
    press(wide, "#time ~ .legend [data-key=a-etcd]")
    assert {plot: lines(wide, plot) for plot in before} == before


def test_a_switch_of_a_kind_hides_it_for_every_contender(wide):
    before = lines(wide, "curve-write")
    press(wide, "[data-role=service]")
    assert lines(wide, "curve-write") == before / 2
    press(wide, "[data-role=service]")
    assert lines(wide, "curve-write") == before


def rows_of(browser: webdriver.Chrome, plot: str) -> list[list[str]]:
    script = """return [...document.querySelectorAll('#' + arguments[0] + '-data tr')].map(row =>
        [...row.cells].map(cell => cell.textContent))"""
    return browser.execute_script(script, plot)


def test_every_plot_shows_its_own_data_as_a_table(wide):
    for button in wide.find_elements(By.CSS_SELECTOR, ".tabular"):
        wide.execute_script("arguments[0].click()", button)
    assert count(wide, "figure .data[hidden]") == 0
    assert count(wide, "figure .data table > caption") == PLOTS["two"]
    rows = rows_of(wide, "time-throughput")
    assert rows[0][0] == "seconds since the steady phase began"
    assert "A · etcd 3.5.16 ok, ops/s" in rows[0]
    drawn = wide.execute_script(
        "const line = document.querySelector('#time-throughput .canvas').data[0];"
        "return line.x.map((x, i) => [x, line.y[i]])"
    )
    shown = {float(row[0]): row[1] for row in rows[1:]}
    assert all(float(shown[x].replace(",", "")) == pytest.approx(y, rel=1e-3) for x, y in drawn)
    listed = wide.find_element(By.ID, "forest-1-data").get_attribute("textContent")
    assert "Read response time P99" in listed and "worse" in listed
    press(wide, "#time-throughput .tabular")
    assert count(wide, "#time-throughput-data[hidden]") == 1
    assert severe(wide) == []


def test_the_first_column_stays_while_a_narrow_table_scrolls(browser, pages):
    opened(browser, pages["one"], width=NARROW)
    left = """const box = document.querySelector('#table-glance').parentElement;
        box.scrollLeft = arguments[0];
        return document.querySelector('#table-glance tbody th').getBoundingClientRect().left;"""
    assert browser.execute_script(left, 400) == browser.execute_script(left, 0)


def shown(browser: webdriver.Chrome, key: str) -> tuple[str, str]:
    cell: Any = browser.find_element(By.CSS_SELECTOR, f'td[data-key="{key}"]')
    return cell.get_attribute("data-value"), cell.text


def test_the_table_says_what_summary_json_says(browser, pages):
    opened(browser, pages["one"], width=WIDE)
    summary = json.loads((RECORDED / "summary.json").read_text())["targets"]
    for target in ("etcd", "redis_cluster"):
        held = summary[target]
        for key in ("capacity_per_s", "offered_per_s", "throughput_per_s"):
            raw, text = shown(browser, f"{target}.{key}")
            assert float(raw) == held[key]
            assert formats.rate(held[key]) in text
        for operation in ("read", "write"):
            for key in ("response_p50_us", "response_p99_us", "response_p99_9_us"):
                raw, text = shown(browser, f"{target}.{operation}.{key}")
                value = held[operation][key]
                assert raw == ("" if value is None else str(value))
                assert text.splitlines()[0] == formats.ms(value)
    assert shown(browser, "tikv.reason")[1].startswith(summary["tikv"]["reason"])


def test_three_measured_targets_have_room_on_the_page(browser, tmp_path):
    folder = tmp_path / "run"
    judged(make_run(folder, targets=(ETCD, REDIS, TIKV), with_tikv=False))
    opened(browser, write_report(folder), width=NARROW)
    assert severe(browser) == []
    assert count(browser, "#time-throughput .scatterlayer .trace path.js-line") == 6
    page = "const page = document.documentElement; return page.scrollWidth <= page.clientWidth"
    assert browser.execute_script(page)


def test_an_effect_is_read_level_by_level_and_a_target_can_be_put_out(browser, pages):
    opened(browser, pages["campaign"], width=WIDE)
    plot = "effect-capacity_per_s-all-connections"
    press(browser, f"#{plot} .tabular")
    rows = rows_of(browser, plot)
    assert rows[0] == ["connections", "etcd, ops/s", "Redis Cluster, ops/s"]
    assert [row[0] for row in rows[1:]] == ["16", "64"]
    values = [[float(cell.replace(",", "")) for cell in row[1:]] for row in rows[1:]]
    assert [high / low for low, high in zip(*values, strict=True)] == pytest.approx([2, 2], rel=0.1)
    press(browser, ".legend [data-key=etcd]")
    press(browser, ".legend [data-role=cell]")
    assert lines(browser, plot) == 1 and severe(browser) == []


def test_colours_follow_when_the_reader_turns_to_dark(browser, pages):
    stroke = """return getComputedStyle(document.querySelector(
        '#curve-read .scatterlayer .trace path.js-line')).stroke"""
    paper = "return getComputedStyle(document.body).backgroundColor"
    opened(browser, pages["one"], width=WIDE)
    light = browser.execute_script(stroke), browser.execute_script(paper)
    shade = {"name": "prefers-color-scheme", "value": "dark"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [shade]})
    WebDriverWait(browser, 20).until(lambda one: one.execute_script(stroke) != light[0])
    assert browser.execute_script(paper) != light[1]
    assert severe(browser) == []


def test_print_opens_what_is_folded_and_leaves_out_what_cannot_be_pressed(browser, pages):
    opened(browser, pages["two"], width=WIDE)
    browser.execute_script("window.dispatchEvent(new Event('beforeprint'))")
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert count(browser, "details:not([open])") == 0
    for selector in (".tools", "nav", ".tabular"):
        assert not browser.find_element(By.CSS_SELECTOR, selector).is_displayed()
    assert browser.find_element(By.CSS_SELECTOR, "#curves ~ .legend").is_displayed()
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    assert severe(browser) == []
