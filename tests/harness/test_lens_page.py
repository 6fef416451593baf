"""The page of LayerLens: every figure leads to its record, each verdict stands as it is, what is missing says so, nothing runs."""

import json
import math
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from lens_examples import GAIN, KEY, WORTH, go, holes, hostile, no_go, undecided, without_lens
from report_examples import HOSTILE, Reader
from test_reports_browser import BROWSER, FRAME, _dump

from harness.reports import lens, lens_facts, lens_pictures, printing, write_all
from harness.reports.checklist import plain
from harness.reports.lens_facts import CONSTRAINTS, DIVERSITY, QUALITY, RANKS, TRUTH, VARIATION

EVERY = [go, undecided, no_go, holes, hostile]
in_a_browser = pytest.mark.skipif(BROWSER is None, reason="no chromium on this machine; apt-get install chromium")


@pytest.fixture(autouse=True)
def no_printing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(printing, "BROWSERS", ())


def _page(made: dict[str, Any]) -> str:
    return lens.render(plain(made))


def _pictures(page: str) -> list[str]:
    return re.findall(r"<svg .*?</svg>", page, re.S)


def _picture(page: str, title: str) -> str:
    return next(svg for svg in _pictures(page) if title in svg.split("</title>")[0])


def _part_of(page: str, name: str) -> str:
    return page.split(f'id="{name}"')[1].split("</section>")[0]


def _words(source: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", source).split())


def _record(made: dict[str, Any], identity: str) -> str:
    return f"record-{[each['id'] for each in made['rows'] if each['id'].startswith('layerlens.')].index(identity)}"


# ── the page and its records ─────────────────────────────────────────────────────────────────────────────────────────
def test_the_page_is_written_and_linked_with_rows_of_layerlens_and_not_without(tmp_path: Path) -> None:
    assert "lens" not in write_all(without_lens(), tmp_path)
    assert not (tmp_path / "layerlens.html").exists()
    assert 'href="layerlens.html"' not in (tmp_path / "launch-checklist.html").read_text("utf-8")
    assert write_all(go(), tmp_path)["lens"] == tmp_path / "layerlens.html"
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
    for identity, words in ((VARIATION, "0.51 [0.48, 0.54]"), (CONSTRAINTS, "35,800"), (RANKS, "38.4"), (TRUTH, "0.987"), (QUALITY, "−0.004 [−0.008, 0] accuracy"), (DIVERSITY, "adapter 2")):
        assert f'href="#{_record(made, identity)}">{words}</a>' in page
        assert identity in page.split(f'id="{_record(made, identity)}"')[1].split("</article>")[0]


def test_a_record_has_its_key_and_the_command_that_shows_it() -> None:
    page = _page(go())
    assert page.count("SELECT criterion, verdict FROM verdicts WHERE evidence_key") == len(go()["rows"])
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
@pytest.mark.parametrize(("make", "word"), [(go, "GO"), (undecided, "UNDECIDED"), (no_go, "NO-GO"), (holes, "NO-GO")])
def test_the_headline_is_the_word_over_the_criteria(make: Any, word: str) -> None:
    headline = _page(make()).split('<h1 id="launch">')[1].split("</h1>")[0]
    assert headline.split("</span>")[1].strip() == word


def test_a_no_go_stands_with_what_was_seen_its_bound_and_why() -> None:
    told = _words(_part_of(_page(no_go()), "lines"))
    assert "✗ NO-GO" in told
    assert "−0.041 [−0.045, −0.037] accuracy" in told
    assert "&gt; -0.01 against uniform@sst2" in told
    assert "worse than uniform" in told
    assert "layerlens.rank.range missing missing not in this session" in told


def test_what_is_undecided_says_what_would_decide_it() -> None:
    told = _words(_part_of(_page(undecided()), "lines"))
    assert "? UNDECIDED nothing can be said before this holds: cells ≥ 10; wanted: about 8 more cells" in told
    assert "wanted: about 2 more seeds" not in told
    assert "about 2 more seeds" in told


def test_a_criterion_left_out_takes_the_go_away() -> None:
    made = go()
    made["rows"] = [each for each in made["rows"] if each["id"] != "layerlens.rank.range"]
    assert _page(made).split('<h1 id="launch">')[1].split("</span>")[1].strip().startswith("UNDECIDED")


def test_every_criterion_says_why_it_is_what_it_is_and_one_of_no_line_is_shown_too() -> None:
    made = go()
    made["rows"][0] |= {"id": "layerlens.new.one", "why": "because of this"}
    told = _part_of(_page(made), "lines")
    assert "<small>because of this</small>" in told
    assert "layerlens.new.one" in told


# ── pictures ─────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_fisher_stands_with_its_interval_and_utility_beside_it() -> None:
    """Modules' errors 0.1 and 0.3: a layer's is at most 0.4, so ± 1.645 · 0.4."""
    svg, told = _picture(_page(go()), "Fisher trace and utility"), _words(_part_of(_page(go()), "importance"))
    assert [f">layer {n}<" in svg for n in range(6)] == [True] * 6
    assert "3 12 0.658 6" in told
    lows, highs = zip(*((float(a), float(b)) for a, b in re.findall(r'<line x1="([\d.]+)" y1="[\d.]+" x2="([\d.]+)" y2="[\d.]+" style="stroke:[^;]*;stroke-width:2.5', svg)), strict=True)
    middles = [float(x) for x in re.findall(r'<circle cx="([\d.]+)"', svg)]
    assert [(low + high) / 2 for low, high in zip(lows, highs, strict=True)] == pytest.approx(middles, abs=0.11)
    unit = (middles[3] - middles[1]) / (12 - 2)
    assert highs[0] - lows[0] == pytest.approx(2 * 0.658 * unit, abs=0.3)
    bars = [float(wide) for wide in re.findall(r'width="([\d.]+)" height="12"', svg)]
    assert [wide / bars[3] for wide in bars] == pytest.approx([value / 6 for value in WORTH], abs=0.01)


def test_without_standard_errors_no_interval_is_drawn() -> None:
    svg = lens_pictures.importance([(1.0, None), (2.0, math.nan), (math.nan, 0.1)], [1.0, math.inf])
    assert "stroke-width:2.5" not in svg
    assert svg.count("not a number") == 2
    assert "No standard errors are in the record" in _page(holes())
    assert lens_pictures.importance([(math.nan, 0.1)], [math.nan]) == ""


def test_a_layer_with_a_module_without_number_has_none() -> None:
    assert lens_facts.summed([[1.0, 2.0], [0.5, 0.25]]) == [1.5, 2.25]
    assert [math.isnan(value) for value in lens_facts.summed([[math.nan, 1.0, 2.0], [1.0, 1.0]])] == [True, False, True]
    assert lens_facts.summed([]) == []


def test_the_heat_map_has_a_cell_per_module_and_layer() -> None:
    svg = _picture(_page(go()), "modules in")
    assert len(re.findall(r"<rect [^>]*><title>", svg)) == 12
    assert "attention.self.query" in svg
    assert float(re.search(r'opacity:([\d.]+)"><title>4.5<', svg)[1]) == 1.0  # type: ignore[index]
    bare = lens_pictures.heat([], [[1.0, math.nan]], "nats")
    assert "stroke-dasharray:2 2" in bare
    assert "module 0" in bare
    assert lens_pictures.heat(["a"], [[math.nan]], "nats") == ""


def test_a_plan_stands_beside_the_utility_of_its_layers() -> None:
    svg = _picture(_page(go()), "what the plan gives")
    lines = re.findall(r">layer (\d)</text><text [^>]*>([^<]*)</text>", svg)
    assert lines == [("0", "prefix 8"), ("1", "nothing"), ("2", "nothing"), ("3", "LoRA 4"), ("4", "LoRA 4"), ("5", "adapter 2")]
    bars = [float(wide) for wide in re.findall(r'width="([\d.]+)" height="12"', svg)]
    assert [wide / bars[3] for wide in bars] == pytest.approx([value / 6 for value in WORTH], abs=0.01)
    assert lens_facts.plan(lens_facts.of(holes()), DIVERSITY) == []


def test_equal_numbers_lie_on_the_diagonal() -> None:
    svg = lens_pictures.scatter([(1.0, 1.0), (2.0, 3.0)], ("x", "y"), "t", True)
    ends = re.findall(r"[\d.]+", re.search(r'points="([^"]*)"', svg)[1])  # type: ignore[index]
    assert f'cx="{ends[0]}" cy="{ends[1]}"' in svg
    assert "polyline" not in lens_pictures.scatter([(1.0, 1.0)], ("x", "y"), "t")
    assert lens_pictures.scatter([(math.nan, 1.0)], ("x", "y"), "t") == ""
    told = _words(_part_of(_page(go()), "plans"))
    assert "1 1.31 1.32 −0.007576" in told
    assert "1 300 310 −0.03226" in told
    assert "parameters 35,800 – 36,864 0.97 ratio" in told
    assert "MB 310 420 0.9 0.81 ratio" in told


# ── solo gains ───────────────────────────────────────────────────────────────────────────────────────────────────────
def test_the_layers_with_the_most_gain_are_marked_and_counted() -> None:
    svg = _picture(_page(go()), "Solo gain against utility")
    discs = re.findall(r"<title>(\d)[^<]*</title><circle [^>]*style=\"fill:var\(--curve", svg)
    assert sorted(discs) == ["3", "4", "5"]
    seen = lens_facts.truth(lens_facts.of(go()), "sst2")
    assert (seen.utility, seen.gain, len(seen.by_seed)) == (WORTH, GAIN, 3)
    assert lens_facts.hits(seen) == 3


def test_layers_are_ranked_by_the_sum_over_their_sites() -> None:
    sites = ["0.q", "0.v", "1.q", "1.v", "2.q", "2.v", "3.q", "3.v"]
    assert lens_facts.top(sites, [3.0, 3.0, 5.0, 0.0, 1.0, 1.5, 2.0, 2.0]) == ["0", "1", "3"]
    assert lens_facts.top(sites, [math.nan] * 8) == []
    assert lens_facts.top(sites, [1.0]) == []
    four = ["0", "1", "2", "3"]
    assert lens_facts.hits(lens_facts.Truth(four, [4.0, 3.0, 2.0, 1.0], [1.0, 2.0, 3.0, 4.0], [])) == 2
    assert lens_facts.hits(lens_facts.Truth(four, [], [1.0, 2.0, 3.0, 4.0], [])) is None


def test_every_score_stands_with_its_correlation_and_those_of_the_same_gradients_are_called_circular() -> None:
    told = _part_of(_page(go()), "truth")
    heads = re.findall(r'<th scope="col">([^<]*)</th>', told)
    circular = {head.removesuffix(" (circular)").lower() for head in heads if "circular" in head}
    assert circular == {"fisher trace", "gradient norm", "taylor", "gradient of b"}
    assert {"utility", "output energy", "between seeds"} <= set(heads)
    assert "sst2 6 3 0.9 0.87 0.84 0.81 0.78 0.75 0.987" in _words(told)


# ── trained arms ─────────────────────────────────────────────────────────────────────────────────────────────────────
def test_an_arm_that_another_beats_is_not_on_the_front() -> None:
    points = {"a": (10.0, 0.8), "b": (20.0, 0.9), "c": (30.0, 0.9), "d": (10.0, 0.7), "e": (5.0, 0.1)}
    assert lens_facts.front(points) == ["a", "b", "e"]
    assert lens_facts.front({"a": (1.0, 0.5), "b": (1.0, 0.5)}) == ["a", "b"]
    told = _words(_part_of(_page(go()), "arms"))
    assert "On the front, dashed: full fine-tuning, uniform LoRA, AdaLoRA, LayerLens' plan" in told.replace("&#x27;", "'")


def test_the_front_is_drawn_on_a_logarithmic_axis() -> None:
    svg = lens_pictures.pareto({"full": (1e6, 0.9, [0.89, 0.91]), "layerlens": (1e4, 0.8, []), "uniform": (1e5, 0.7, [])}, ["full", "layerlens"])
    disc, ring = (float(re.search(rf'<circle cx="([\d.]+)" cy="[\d.]+" r="5" style="fill:{fill}', svg)[1]) for fill in (r"var\(--curve", r"var\(--paper"))  # type: ignore[index]
    square = float(re.search(r'<rect x="([\d.]+)"', svg)[1]) + 4.5  # type: ignore[index]
    assert ring - disc == pytest.approx(square - ring, abs=0.2)
    assert svg.count('r="1.8"') == 2
    assert all(f">{word}<" in svg for word in ("10,000", "100,000", "1 M", "full fine-tuning", "uniform LoRA"))
    assert lens_pictures.pareto({"full": (0.0, 0.9, []), "uniform": (1e5, math.nan, [])}, []) == ""


def test_all_cells_and_arms_stand_in_one_table() -> None:
    told = _words(_part_of(_page(go()), "arms")).replace("&#x27;", "'")
    assert "sst2 LayerLens' plan 0.869 35,800 61.5 410 0.001577" in told
    assert "digits adapters alone 0.862 36,000 61.5 410 0.001586" in told
    assert lens_facts.by_seed(lens_facts.of(go()), "digits", "full") == pytest.approx([0.881, 0.883, 0.885])


def test_a_cell_without_arms_is_told() -> None:
    page = _page(holes())
    assert "modules no trained arms missing" in _words(_part_of(page, "arms"))
    absent = _words(_part_of(page, "absent"))
    for told in ("modules : trained arms missing", "sst2 : solo gains missing", "smollm2: compared with nothing", "declare it", "layerlens.rank.range : not in this session", "the sample is empty"):
        assert told in absent
    assert "without a number: full fine-tuning, LayerLens" in _words(_part_of(page, "arms"))


# ── what is missing, and what others wrote ───────────────────────────────────────────────────────────────────────────
def test_what_is_missing_says_so_and_is_never_zero() -> None:
    page = _page(holes())
    figures = re.findall(r'class="figure" href="#record-\w+">([^<]*)</a>', page)
    assert not {"nan", "nan accuracy"} & set(figures)
    assert figures.count("0") == 1  # the uniform arm's parameters, which are counted as 0
    assert "not a number" in figures
    assert page.count('class="missing"') > 10
    for name in ("Rank against utility: missing", "The plan against importance: missing", "Predicted against measured: seconds of a request: missing"):
        assert name in page


@pytest.mark.parametrize("name", ["utility by module", "fisher by module", "gain@sst2", "utility@sst2", "rank", "utility", "predicted and measured flops"])
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
    assert all(value and re.fullmatch(r"#[\w-]+|launch-checklist\.html", value) for name, value in page.attributes if name == "href")
    assert "<script>alert(1)</script>" in page.words
    assert not {"\u202e", "\x1b", "\ud800"} & set(source)
    assert " ".join(HOSTILE.split())[:20] in page.words


def test_a_flood_of_text_and_numbers_floods_no_page() -> None:
    made, flood = hostile(), "x" * 100_000
    for each in made["rows"]:
        each |= {"reason": flood, "claim": flood, "findings": [flood] * 500}
        each["arrays"] |= {name: [float(n) for n in range(3_000)] for name in ("rank", "utility", "gain@sst2", "utility@sst2")}
        each["arrays"] |= {f"gain@{n}": [1.0] for n in range(500)}
        each["counts"] |= {f"arm{n}@cell{n} mean": 0.5 for n in range(500)}
        each["digests"] |= {"plan": json.dumps([{"layer": n, "method": flood[:99]} for n in range(2_000)])}
    made["rows"][0]["arrays"] |= {f"{name} by module": [[1.0] * 300] * 100 for name in ("utility", "fisher", "fisher error")}
    assert len(_page(made)) < 4_000_000


@in_a_browser
@pytest.mark.parametrize("make", [go, hostile])
def test_the_page_is_no_wider_than_a_phone(make: Any, tmp_path: Path) -> None:
    page = write_all(make(), tmp_path)["lens"]
    (tmp_path / "frame.html").write_text(FRAME.format(page=page.as_uri()), "utf-8")
    shown = _dump(tmp_path / "frame.html", tmp_path / "profile", "--allow-file-access-from-files")
    wide, room = map(int, re.findall(r"wide (\d+) of (\d+)", shown)[0])
    assert 0 < wide <= room <= 390
