"""A system, a title and lines are a page."""

import re
from pathlib import Path

from gonogo.harness.reports.page import Page
from gonogo.harness.reports.page.tags import section

from tests.harness.reports.examples import HOSTILE, Reader, checklist, part, row

LINES = {"Rows": ("Every split has rows enough.", ("toy.rows.enough",))}
PAGE = Page("toy", "Toy: rows are counted", LINES)


def made(outcome: str = "NO-GO", *more: dict) -> dict:
    few = part(
        "rows", "≥ 8", 3.0, outcome, unit="rows", rule="at_least", reason="rows: 3 rows; wanted ≥ 8"
    )
    toy = row("toy.rows.enough", outcome, few, system="toy", why="Fewer rows cannot be split.")
    return checklist(outcome, toy, *more)


def words(page: str) -> str:
    return Reader(page).words


def test_system_title_and_lines_are_a_page_with_verdict_figures_and_records(tmp_path: Path) -> None:
    page = PAGE.render(made(), tmp_path)
    assert (
        page.split('<h1 id="launch">')[1].split("</h1>")[0].split("</span>")[1].strip() == "NO-GO"
    )
    for told in (
        "Toy: rows are counted",
        "Every split has rows enough.",
        "3 rows",
        "≥ 8",
        "rows: 3 rows; wanted ≥ 8",
    ):
        assert told in words(page)
    assert re.findall(r'class="figure" href="#(record-\d+)">3 rows</a>', page)[0] in re.findall(
        r'id="([^"]*)"', page
    )


def test_a_row_of_no_line_is_shown_and_a_line_without_a_row_is_missed(tmp_path: Path) -> None:
    other = row("toy.rows.new", "GO", part("m", "≤ 1", 0.5), system="toy")
    page = words(
        Page("toy", "Toy", {"A": ("It holds.", ("toy.gone",))}).render(made("GO", other), tmp_path)
    )
    assert "Criteria of no line." in page
    assert "toy.rows.new" in page
    assert "toy.gone: not in this session" in page
    assert "toy.rows.new" in words(Page("toy", "Toy").render(made("GO", other), tmp_path))


def test_a_page_is_written_under_its_system_s_name_with_its_own_sections(tmp_path: Path) -> None:
    own = Page("toy", "Toy", LINES, (lambda data: section("own", "Own", HOSTILE),))
    paths = own.write(made(), tmp_path)
    assert paths == {"toy": tmp_path / "toy.html"}
    page = Reader(paths["toy"].read_text("utf-8"))
    assert "<script>alert(1)</script>" in page.words
    assert not {"script", "img"} & set(page.tags)
