"""The page in a real browser: Chromium without a window, driven through its own driver. Nothing is downloaded."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from torchstone.results import Kind, Store
from torchstone.results.leaderboard.page import leaderboard

if TYPE_CHECKING:
    from selenium.webdriver import Chrome
    from selenium.webdriver.remote.webelement import WebElement

pytest.importorskip("selenium", reason="selenium is not installed; pip install torchstone[test]")

from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER),
    reason="there is no browser to look with: apt-get install chromium chromium-driver",
)
SCRIPT = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def chrome() -> Iterator[Chrome]:
    from selenium.webdriver import Chrome, ChromeOptions, ChromeService

    options = ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = Chrome(options, ChromeService(str(DRIVER)))
    yield driver
    driver.quit()


@pytest.fixture
def look(chrome: Chrome) -> Iterator[Callable[..., Chrome]]:
    """``look(path, width=390, scheme="dark")``: the page as it is seen; at the end nothing may be on the console."""

    def at(path: Path, width: int = 1280, scheme: str = "light") -> Chrome:
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        colours = [{"name": "prefers-color-scheme", "value": scheme}]
        chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": colours})
        chrome.get(path.as_uri())
        return chrome

    chrome.get_log("browser")
    yield at
    assert [entry for entry in chrome.get_log("browser") if entry["level"] == "SEVERE"] == []


@pytest.fixture
def index(make, keep, certify, verdict, folder, tmp_path, rng, environment) -> Path:
    """A page with ties, seeds, bounds, families, a certificate, a history and a model that would be a script."""
    base = rng.normal(90, 10, 200)
    for seed in range(7):
        keep(base + 5 + 0.1 * seed, model="pixelcnn", seed=seed, seconds=30.0)
    keep(base + 20, model="mixture", seconds=1.0)
    keep(base + 20.3 + np.tile([3, -3], 100), model=SCRIPT, family=SCRIPT)
    keep(base + 10, model="vae", family="explicit-approximate", kind=Kind.UPPER_BOUND)
    Store(folder).write(certify(verdict("enumeration", "pass", "A"), model="pixelcnn"))
    for day, commit in enumerate("ab", 1):
        where = dataclasses.replace(environment, git_commit=commit * 40, git_dirty=False)
        keep(base + 30 - day, model="flow", identity="f", environment=where, started=f"2026-01-0{day}T00:00:00Z")
    return leaderboard(folder, tmp_path / "board").index


def block(page: Chrome, number: int = 1) -> WebElement:
    return page.find_element(By.ID, f"table-{number}")


def column(page: Chrome, place: int, number: int = 1) -> list[str]:
    """The texts of a column as they are seen."""
    return [
        row.find_elements(By.XPATH, "*")[place].text
        for row in block(page, number).find_elements(By.CSS_SELECTOR, "tbody tr")
    ]


def models(page: Chrome, number: int = 1) -> list[str]:
    return [name.text for name in block(page, number).find_elements(By.CSS_SELECTOR, "tbody .name")]


def header(page: Chrome, text: str, number: int = 1) -> WebElement:
    return block(page, number).find_element(By.XPATH, f".//thead//button[normalize-space()='{text}']")


def sorting(button: WebElement) -> str | None:
    return button.find_element(By.XPATH, "..").get_attribute("aria-sort")


def test_rows_are_sorted_by_a_click_on_a_head(index, look):
    page = look(index)
    assert models(page) == ["pixelcnn", "mixture", SCRIPT, "flow"]
    assert sorting(header(page, "nll")) == "ascending"
    header(page, "nll").click()
    assert models(page) == ["flow", SCRIPT, "mixture", "pixelcnn"]
    assert sorting(header(page, "nll")) == "descending"
    header(page, "model").click()
    assert models(page)[1:] == ["flow", "mixture", "pixelcnn"]
    assert sorting(header(page, "nll")) is None and sorting(header(page, "model")) == "ascending"
    for button in block(page).find_elements(By.CSS_SELECTOR, "thead button"):
        button.click()
        assert sorting(button)
        assert sorted(models(page)) == sorted([SCRIPT, "flow", "mixture", "pixelcnn"])


def test_what_is_tied_shares_a_rank(index, look):
    assert column(look(index), 0) == ["1", "2", "2", "4"]


def test_families_are_filtered_and_words_are_searched_in_all_tables(index, look):
    from selenium.webdriver.support.select import Select

    page = look(index)
    family, status = Select(page.find_element(By.ID, "family")), page.find_element(By.ID, "status")
    assert status.text == "6 rows in 3 tables"
    family.select_by_visible_text("explicit-approximate")
    assert models(page, 2) == ["vae"] and not block(page).is_displayed()
    assert status.text == "1 row in 1 table"
    family.select_by_visible_text("all families")
    search = page.find_element(By.ID, "search")
    search.send_keys("MIXT digits")
    assert models(page) == ["mixture"] and not block(page, 2).is_displayed()
    search.send_keys(" nowhere")
    assert page.find_element(By.ID, "nothing").is_displayed()
    search.clear()
    search.send_keys(" ")
    assert status.text == "6 rows in 3 tables" and not page.find_element(By.ID, "nothing").is_displayed()


def test_links_lead_to_the_record_and_to_the_certificate(index, look):
    page = look(index)
    (mixture,) = [row for row in block(page).find_elements(By.CSS_SELECTOR, "tbody tr") if "mixture" in row.text]
    mixture.find_element(By.CSS_SELECTOR, ".records a").click()
    assert page.current_url.endswith(".json") and '"model": "mixture"' in page.find_element(By.TAG_NAME, "body").text
    page.back()
    block(page).find_element(By.LINK_TEXT, "A").click()
    assert page.find_element(By.TAG_NAME, "h1").text == "Audit certificate: pixelcnn on digits"


def test_many_seeds_are_folded(index, look):
    page = look(index)
    seeds = block(page).find_element(By.CSS_SELECTOR, "tbody details")
    assert seeds.text == "7 seeds"
    seeds.find_element(By.TAG_NAME, "summary").click()
    links = seeds.find_elements(By.TAG_NAME, "a")
    assert [link.accessible_name for link in links] == [f"record of pixelcnn, seed {seed}" for seed in range(7)]


def test_a_model_that_is_called_a_script_is_text(index, look):
    page = look(index)
    assert SCRIPT in models(page)
    header(page, "family").click()
    assert SCRIPT in models(page) and SCRIPT in page.find_element(By.ID, "family").text
    assert len(page.find_elements(By.TAG_NAME, "script")) == 2


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_is_as_wide_as_the_window_in_both_colours(index, look, width, scheme):
    page = look(index, width, scheme)
    assert page.execute_script("return document.documentElement.scrollWidth <= innerWidth && innerWidth") == width
    table = page.find_element(By.CSS_SELECTOR, ".scroll")
    wider = page.execute_script("return arguments[0].scrollWidth > arguments[0].clientWidth", table)
    assert wider or width > 390
    paper, ink = colours(page)
    assert (sum(paper) < sum(ink)) is (scheme == "dark")
    assert contrast(paper, ink) > 7


def colours(page: Chrome) -> tuple[list[int], list[int]]:
    script = "const s = getComputedStyle(document.body); return [s.backgroundColor, s.color]"
    paper, ink = page.execute_script(script)
    return tuple([int(part) for part in text[4:-1].split(",")] for text in (paper, ink))


def contrast(first: list[int], second: list[int]) -> float:
    """The ratio of relative luminances, as the Web Content Accessibility Guidelines 2.2 define it."""

    def luminance(colour: list[int]) -> float:
        parts = [each / 255 for each in colour]
        linear = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in parts]
        return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))

    dark, bright = sorted(map(luminance, (first, second)))
    return (bright + 0.05) / (dark + 0.05)


def test_the_colours_can_be_chosen(index, look):
    page = look(index, scheme="light")
    button = page.find_element(By.ID, "theme")
    seen = []
    for _ in range(3):
        button.click()
        paper, ink = colours(page)
        seen.append((button.text, "dark" if sum(paper) < sum(ink) else "light"))
    assert seen == [
        ("Colours: light", "light"), ("Colours: dark", "dark"), ("Colours: as the system", "light"),
    ]  # fmt: skip


def test_a_keyboard_is_enough(index, look):
    page = look(index)
    reached = []
    for _ in range(40):
        page.switch_to.active_element.send_keys(Keys.TAB)
        now = page.switch_to.active_element
        reached.append(now.accessible_name)
        if reached[-1] == "nll":
            break
    assert {"Skip to the tables", "Colours: as the system", "Search", "Family"} <= set(reached)
    assert reached[-1] == "nll"
    style = "const s = getComputedStyle(arguments[0]); return s.outlineStyle !== 'none' && parseFloat(s.outlineWidth)"
    assert page.execute_script(style, now) >= 2
    now.send_keys(Keys.ENTER)
    assert models(page)[0] == "flow" and sorting(now) == "descending"
    assert page.switch_to.active_element == now
    now.send_keys(Keys.SPACE)
    assert models(page)[0] == "pixelcnn"


def test_marks_that_a_name_stacks_stay_in_their_own_row(keep, folder, tmp_path, look):
    """A row looks the same whether or not the name below it has forty marks, one upon the other."""
    seen = []
    for marks in (0, 40):
        store = folder / str(marks)
        for number, model in enumerate(("above", "z" + "\u0301" * marks)):
            Store(store).write(keep([1.0 + number, 2.0 + number], model=model, kept=False))
        page = look(leaderboard(store, tmp_path / f"board{marks}").index)
        row = block(page).find_element(By.CSS_SELECTOR, "tbody tr")
        assert row.find_element(By.TAG_NAME, "b").text == "above"
        seen.append(row.screenshot_as_png)
    assert seen[0] == seen[1]


def test_pictures_have_words(index, look):
    page = look(index)
    pictures = block(page).find_elements(By.TAG_NAME, "svg")
    assert [picture.accessible_name.split(" ")[0] for picture in pictures] == ["nll", "Histograms", "nll"]
    assert all(picture.aria_role in ("image", "img") and picture.size["height"] > 100 for picture in pictures)


def test_without_a_script_the_rows_are_there(index, look):
    page = look(index)
    page.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        look(index)
        assert models(page) == ["pixelcnn", "mixture", SCRIPT, "flow"]
        assert not page.find_element(By.ID, "controls").is_displayed()
    finally:
        page.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


ROWS = 10_000
SECOND = 1000  # milliseconds


@pytest.mark.slow
def test_ten_thousand_rows_open_and_sort_in_a_second(make, folder, tmp_path, look):
    folder.mkdir()
    for number in range(ROWS):
        (folder / f"{number}.json").write_text(make(model=f"m{number}", bits=1 + number % 997 / 100).to_json())
    index = leaderboard(folder, tmp_path / "board").index
    times = []
    for _ in range(3):
        page = look(index)
        opened = page.execute_script("const [n] = performance.getEntriesByType('navigation'); return n.loadEventEnd")
        assert page.find_element(By.ID, "status").text == f"{ROWS:,} rows in 1 table"
        script = """
          const done = arguments[arguments.length - 1], start = performance.now();
          arguments[0].click();
          requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - start)));
        """
        times.append((opened, page.execute_async_script(script, header(page, "bits_per_dim"))))
    assert min(opened for opened, _ in times) < SECOND, times
    assert min(sorted_ for _, sorted_ in times) < SECOND, times
    assert len(models(page)) == 100
    block(page).find_element(By.CSS_SELECTOR, ".more button").click()
    assert len(block(page).find_elements(By.CSS_SELECTOR, "tbody tr")) == 600
