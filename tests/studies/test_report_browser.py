"""The report as a browser shows it."""

import pytest
from browser import CHROMIUM, Browser

from fashionreg.studies.report import write_combined_report, write_report
from sample_studies import write_study

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium, and there is none"),
]

LONG = "a variant whose name is far too long for any table, with batch norm + dropout=0.3 + weight_decay=0.0001"

FOUND = """({
  width: window.innerWidth,
  page_width: document.documentElement.scrollWidth,
  pictures: [...document.querySelectorAll("svg")].map(picture => picture.getBoundingClientRect().width),
  inks: [...new Set([...document.querySelectorAll("svg")].map(picture => getComputedStyle(picture).fill))],
  dark: matchMedia("(prefers-color-scheme: dark)").matches,
  background: getComputedStyle(document.body).backgroundColor,
  requests: performance.getEntriesByType("resource").map(entry => entry.name),
  text: document.body.innerText,
})"""


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reports")
    factorial = {f"a{a} b{b}": {"a": a, "b": b} for a in (0, 1) for b in (0, 1)}
    write_report(write_study(folder / "few"))
    write_study(folder / "many", ["plain", *(f"variant {n}" for n in range(6)), LONG], name="many", validation=True)
    write_study(folder / "factorial", factorial, name="factorial", seeds=range(3))
    write_combined_report([folder / "many", folder / "factorial"], folder / "both")
    return folder


@pytest.mark.parametrize("width", [1280, 390])
def test_a_table_that_is_cut_off_says_that_it_scrolls(reports, width):
    ask = """[...document.querySelectorAll(".wide")].map(table => [table.scrollWidth > table.clientWidth,
      [...table.querySelectorAll(".scrolls")].some(hint => getComputedStyle(hint).display != "none")])"""
    with Browser(width) as browser:
        seen = []
        for name in ("few", "many", "both"):
            browser.open((reports / name / "report.html").as_uri())
            seen += browser.ask(ask)
    assert all(hinted for cut_off, hinted in seen if cut_off)
    assert any(cut_off for cut_off, _ in seen)
    assert width < 400 or not all(hinted for _, hinted in seen)


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("dark", [False, True])
def test_nothing_overflows_is_missing_or_fails(reports, width, dark):
    with Browser(width, dark=dark) as browser:
        for name in ("few", "many", "both"):
            browser.open((reports / name / "report.html").as_uri())
            found = browser.ask(FOUND)
            assert found["width"] == width
            assert found["page_width"] <= width
            assert len(found["pictures"]) >= 5
            assert all(200 < pixels < width for pixels in found["pictures"])
            assert found["inks"] == ["rgb(230, 237, 243)" if dark else "rgb(27, 31, 36)"]
            assert found["dark"] == dark
            assert (found["background"] == "rgb(255, 255, 255)") != dark
            assert all(address.startswith("data:") for address in found["requests"])
            assert "Verdict" in found["text"]
            assert "nan" not in found["text"].split()
        assert browser.errors == []


def test_a_page_that_is_broken_is_seen_to_be(tmp_path):
    page = tmp_path / "page.html"
    page.write_text(
        '<!DOCTYPE html><div style="width: 900px">wide</div><img src="missing.png"><script>console.error("oh")</script>'
        "<script>throw Error('ah')</script>"
    )
    with Browser(390) as browser:
        browser.open(page.as_uri())
        found = browser.ask(FOUND)
        assert found["page_width"] >= 900
        assert found["pictures"] == []
        assert any("oh" in error for error in browser.errors)
        assert any("Uncaught" in error for error in browser.errors)
        assert any("missing.png" in error for error in browser.errors)
