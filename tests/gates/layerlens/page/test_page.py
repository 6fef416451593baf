"""The page of LayerLens: every figure leads to its record, each verdict stands as it is, what is missing says so, nothing runs."""

import html
import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from gonogo.gates.layerlens.page import PAGE
from gonogo.gates.layerlens.page.facts import (
    CONSTRAINTS,
    DIVERSITY,
    QUALITY,
    RANKS,
    TRUTH,
    VARIATION,
)
from gonogo.harness.reports import write_all
from gonogo.harness.reports.checklist import plain
from gonogo.harness.reports.page import printing
from gonogo.harness.reports.page.facts import rows_of_system

from tests.gates.layerlens.page.examples import (
    KEY,
    go,
    holes,
    hostile,
    no_go,
    undecided,
    without_lens,
)
from tests.harness.reports.examples import HOSTILE, Reader
from tests.whole.reports.test_browser import BROWSER, FRAME, _dump

EVERY = [go, undecided, no_go, holes, hostile]


@pytest.fixture(autouse=True)
def no_printing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(printing, "BROWSERS", ())


def _page(made: dict[str, Any]) -> str:
    return PAGE.show(rows_of_system(plain(made), "layerlens"))


def _pictures(page: str) -> list[str]:
    return re.findall(r"<svg .*?</svg>", page, re.S)


def _picture(page: str, title: str) -> str:
    return next(svg for svg in _pictures(page) if title in svg.split("</title>")[0])


def _part_of(page: str, name: str) -> str:
    return page.split(f'id="{name}"')[1].split("</section>")[0]


def _words(source: str) -> str:
    return html.unescape(" ".join(re.sub(r"<[^>]*>", " ", source).split()))


def _record(made: dict[str, Any], identity: str) -> str:
    return f"record-{[each['id'] for each in made['rows'] if each['id'].startswith('layerlens.')].index(identity)}"


# ── the page and its records ─────────────────────────────────────────────────────────────────────────────────────────
def test_the_page_is_written_and_linked_with_rows_of_layerlens_and_not_without(
    tmp_path: Path,
) -> None:
    assert "layerlens" not in write_all(without_lens(), tmp_path)
    assert not (tmp_path / "layerlens.html").exists()
    assert 'href="layerlens.html"' not in (tmp_path / "launch-checklist.html").read_text("utf-8")
    assert write_all(go(), tmp_path)["layerlens"] == tmp_path / "layerlens.html"
    assert 'href="layerlens.html"' in (tmp_path / "launch-checklist.html").read_text("utf-8")
    assert 'href="launch-checklist.html"' in (tmp_path / "layerlens.html").read_text("utf-8")
    assert not (tmp_path / "safe.html").exists()


@pytest.mark.parametrize("make", EVERY)
def test_every_figure_leads_to_a_record_of_the_page(make: Any) -> None:
    page = _page(make())
    Reader(page)
    linked = re.findall(r'class="figure" href="#([^"]*)"', page)
    assert set(linked) <= set(re.findall(r'id="(record-\w+)"', page))
    assert len(linked) > 5


def test_a_figure_leads_to_the_record_it_was_read_from() -> None:
    made = go()
    page = _page(made)
    for identity, words in (
        (VARIATION, "0.51 [0.48, 0.54]"),
        (CONSTRAINTS, "35,800"),
        (RANKS, "38.4"),
        (TRUTH, "0.987"),
        (QUALITY, "−0.004 [−0.008, 0] accuracy"),
        (DIVERSITY, "adapter 2"),
        (CONSTRAINTS, "−0.007576"),
    ):
        assert f'href="#{_record(made, identity)}">{words}</a>' in page
        assert identity in page.split(f'id="{_record(made, identity)}"')[1].split("</article>")[0]


def test_a_record_has_its_key_and_the_command_that_shows_it() -> None:
    page = _page(go())
    assert page.count("SELECT criterion, verdict FROM verdicts WHERE evidence_key") == len(
        go()["rows"]
    )
    assert KEY in page
    assert _page(hostile()).count("SELECT criterion") == 1  # the one row whose key is one


def test_only_layerlens_own_rows_are_on_the_page() -> None:
    made = go()
    made["rows"] = [*without_lens()["rows"], *made["rows"]]
    page = _page(made)
    assert "core.freeze" not in page
    assert f'href="#{_record(made, TRUTH)}">0.987</a>' in page


@pytest.mark.parametrize("make", EVERY)
def test_nothing_runs_and_nothing_is_loaded(make: Any) -> None:
    page = _page(make())
    found = Reader(page)
    assert not {"script", "img", "iframe", "link", "object"} & set(found.tags)
    assert not [name for name, _ in found.attributes if name.startswith("on") or name == "src"]
    assert "default-src 'none'" in page
    assert not re.search(r"(url\(|@import|https?://(?!www\.w3\.org/2000/svg))", page)


# ── verdicts ─────────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("make", "word"), [(go, "GO"), (undecided, "UNDECIDED"), (no_go, "NO-GO"), (holes, "NO-GO")]
)
def test_the_headline_is_the_word_over_the_criteria(make: Any, word: str) -> None:
    headline = _page(make()).split('<h1 id="launch">')[1].split("</h1>")[0]
    assert headline.split("</span>")[1].strip() == word


def test_a_no_go_stands_with_what_was_seen_its_bound_and_why() -> None:
    told = _words(_part_of(_page(no_go()), "lines"))
    assert "✗ NO-GO" in told
    assert "−0.041 [−0.045, −0.037] accuracy" in told
    assert "> -0.01 against uniform@sst2" in told
    assert "worse than uniform" in told
    assert "layerlens.rank.range missing missing not in this session" in told


def test_what_is_undecided_says_what_would_decide_it() -> None:
    told = _words(_part_of(_page(undecided()), "lines"))
    assert (
        "? UNDECIDED nothing can be said before this holds: cells ≥ 10; wanted: about 8 more cells"
        in told
    )
    assert "wanted: about 2 more seeds" not in told
    assert "about 2 more seeds" in told


def test_a_criterion_left_out_takes_the_go_away() -> None:
    made = go()
    made["rows"] = [each for each in made["rows"] if each["id"] != "layerlens.rank.range"]
    assert (
        _page(made).split('<h1 id="launch">')[1].split("</span>")[1].strip().startswith("UNDECIDED")
    )


def test_every_criterion_says_why_it_is_what_it_is_and_one_of_no_line_is_shown_too() -> None:
    made = go()
    made["rows"][0] |= {"id": "layerlens.new.one", "why": "because of this"}
    told = _part_of(_page(made), "lines")
    assert "<small>because of this</small>" in told
    assert "layerlens.new.one" in told


# ── what is missing, and what others wrote ───────────────────────────────────────────────────────────────────────────
def test_what_is_missing_says_so_and_is_never_zero() -> None:
    page = _page(holes())
    figures = re.findall(r'class="figure" href="#record-\w+">([^<]*)</a>', page)
    assert not {"nan", "nan accuracy"} & set(figures)
    assert figures.count("0") == 1  # the uniform arm's parameters, which are counted as 0
    assert "not a number" in figures
    assert page.count('class="missing"') > 10
    for name in (
        "Rank against utility: missing",
        "The plan against importance: missing",
        "Predicted against measured cost: missing",
    ):
        assert name in page


@pytest.mark.parametrize(
    "name",
    [
        "utility by module",
        "fisher by module",
        "gain@sst2",
        "utility@sst2",
        "rank",
        "utility",
        "predicted and measured flops",
    ],
)
def test_a_missing_array_costs_its_own_picture_alone(name: str) -> None:
    made, whole = go(), len(_pictures(_page(go())))
    for each in made["rows"]:
        each["arrays"].pop(name, None)
    page = _page(made)
    assert whole - 2 <= len(_pictures(page)) < whole or name == "fisher by module"
    assert "missing" in _words(page)


@pytest.mark.parametrize("make", EVERY)
def test_no_picture_draws_what_is_not_a_number(make: Any) -> None:
    drawn = _pictures(_page(make()))
    for svg in drawn:
        ElementTree.fromstring(svg)
        assert not re.search(r'="[^"]*(?:nan|inf)\b[^"]*"', re.sub(r'aria-label="[^"]*"', "", svg))
    assert drawn


def test_hostile_texts_stay_texts() -> None:
    source = _page(hostile())
    page = Reader(source)
    assert all(
        value and re.fullmatch(r"#[\w-]+|launch-checklist\.html", value)
        for name, value in page.attributes
        if name == "href"
    )
    assert "<script>alert(1)</script>" in page.words
    assert not {"\u202e", "\x1b", "\ud800"} & set(source)
    assert " ".join(HOSTILE.split())[:20] in page.words
    for svg in _pictures(source):
        ElementTree.fromstring(svg)
    assert any(
        "&lt;script&gt;" in svg.split("</title>", 1)[1]
        for svg in _pictures(source)
        if "Solo gain" in svg
    )


def test_a_flood_of_text_and_numbers_floods_no_page() -> None:
    made, flood = hostile(), "x" * 100_000
    for each in made["rows"]:
        each |= {"reason": flood, "claim": flood, "findings": [flood] * 500}
        each["arrays"] |= {
            name: [float(n) for n in range(3_000)]
            for name in ("rank", "utility", "gain@sst2", "utility@sst2")
        }
        each["arrays"] |= {f"gain@{n}": [1.0] for n in range(500)}
        each["counts"] |= {f"arm{n}@cell{n} mean": 0.5 for n in range(500)}
        each["digests"] |= {
            "plan": json.dumps([{"layer": n, "method": flood[:99]} for n in range(2_000)])
        }
    made["rows"][0]["arrays"] |= {
        f"{name} by module": [[1.0] * 300] * 100 for name in ("utility", "fisher", "fisher error")
    }
    assert len(_page(made)) < 4_000_000


@pytest.mark.services
@pytest.mark.parametrize("make", [go, hostile])
def test_the_page_is_no_wider_than_a_phone(make: Any, tmp_path: Path) -> None:
    page = write_all(make(), tmp_path)["layerlens"]
    (tmp_path / "frame.html").write_text(FRAME.format(page=page.as_uri()), "utf-8")
    shown = _dump(tmp_path / "frame.html", tmp_path / "profile", "--allow-file-access-from-files")
    wide, room = map(int, re.findall(r"wide (\d+) of (\d+)", shown)[0])
    assert 0 < wide <= room <= 390
