"""The page of the LoRA study: every figure leads to its record, what is missing says so, nothing runs."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from gonogo.gates.lora.page import PAGE, facts, pictures
from gonogo.harness.evidence import Store
from gonogo.harness.reports import write_all
from gonogo.harness.reports.checklist import plain
from gonogo.harness.reports.page import printing
from gonogo.harness.reports.page.facts import rows_of_system

from tests.gates.lora.page.examples import KEY, STEPS, go, holes, hostile, no_go, without_the_study
from tests.harness.reports.examples import Reader
from tests.whole.reports.test_browser import BROWSER, FRAME, _dump

EVERY = [go, no_go, holes, hostile]


@pytest.fixture
def no_browser(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(printing, "BROWSERS", ())


def _page(made: dict[str, Any]) -> str:
    return PAGE.show(rows_of_system(plain(made), "lora"))


def _pictures(page: str) -> list[str]:
    return re.findall(r"<svg .*?</svg>", page, re.S)


def _part_of(page: str, name: str) -> str:
    return page.split(f'id="{name}"')[1].split("</section>")[0]


@pytest.mark.usefixtures("no_browser")
def test_the_page_is_written_with_the_rows_of_the_study_and_not_without(tmp_path: Path) -> None:
    assert "lora" not in write_all(without_the_study(), tmp_path)
    assert not (tmp_path / "lora.html").exists()
    assert 'href="lora.html"' not in (tmp_path / "launch-checklist.html").read_text("utf-8")
    assert write_all(go(), tmp_path)["lora"] == tmp_path / "lora.html"
    assert 'href="lora.html"' in (tmp_path / "launch-checklist.html").read_text("utf-8")
    assert not (tmp_path / "lora.pdf").exists()


def test_only_the_study_s_own_rows_are_on_the_page() -> None:
    made = go()
    made["rows"] += without_the_study()["rows"]
    assert "core." not in _page(made)


@pytest.mark.parametrize("make", EVERY)
def test_every_figure_leads_to_a_record_of_the_page(make: Any) -> None:
    page = _page(make())
    Reader(page)
    records = set(re.findall(r'id="(record-\d+)"', page))
    linked = re.findall(r'class="figure" href="#([^"]*)"', page)
    assert set(linked) <= records
    assert len(linked) > 5


def test_a_figure_leads_to_the_record_it_was_read_from() -> None:
    page = _page(go())
    place = [row["id"] for row in go()["rows"]].index("lora.h2.drift")
    assert f'href="#record-{place}">0.62 [0.55, 0.7] times</a>' in page
    assert f'id="record-{place}"' in page
    assert "lora.h2.drift" in page.split(f'id="record-{place}"')[1].split("</article>")[0]


@pytest.mark.parametrize(("make", "word"), [(go, "GO"), (no_go, "NO-GO"), (holes, "NOT RUN")])
def test_the_headline_is_the_composite_s_verdict(make: Any, word: str) -> None:
    headline = _page(make()).split('<h1 id="launch">')[1].split("</h1>")[0]
    assert headline.split("</span>")[1].strip() == word


def test_the_hypotheses_stand_with_estimate_interval_bound_p_and_what_would_decide() -> None:
    table = _part_of(_page(no_go()), "hypotheses")
    for told in (
        "H1 performance",
        "H2 drift",
        "H3 deployment",
        "H1 and (H2 or H3)",
        "1.64 [1.6, 1.68] times",
        "≤ 1.3",
        "0.0131",
        "0.97",
    ):
        assert told in table
    assert "about 4 more seeds" in _part_of(_page(holes()), "hypotheses")


def test_an_unmet_precondition_neither_hides_the_claim_s_estimate_nor_goes_unsaid() -> None:
    made = no_go()
    reason = "nothing can be said before this holds: latency_p50@merged_again ≤ 1.05: 1.2"
    made["rows"][3] |= {"outcome": "UNDECIDED", "reason": reason, "p": 1.0}
    made["rows"][3]["parts"][0] |= {"outcome": "NO-GO", "estimate": 1.2}
    line = next(
        line
        for line in _part_of(_page(made), "hypotheses").split("<tr>")
        if "H3 deployment" in line
    )
    assert "latency_p50@adapters_2" in line
    assert "1.64" in line
    assert reason in line


def test_what_is_missing_says_so_and_is_never_zero() -> None:
    page = _page(holes())
    figures = re.findall(r'class="figure" href="#record-\d+">([^<]*)</a>', page)
    assert not {"0", "0 %", "nan"} & set(figures)
    assert "not a number" in figures
    assert page.count('class="missing"') > 10
    assert "training rows not recorded, of 67,000" in page
    absent = _part_of(page, "absent")
    for told in (
        "ollama: no server can be had here",
        "lora.composite",
        "the sample is empty",
        "MRPC",
        "SQuAD v2",
        "tuning scores",
        "not in this session",
    ):
        assert told in absent


@pytest.mark.parametrize("make", EVERY)
def test_no_picture_draws_what_is_not_a_number(make: Any) -> None:
    drawn = _pictures(_page(make()))
    for svg in drawn:
        ElementTree.fromstring(svg)
        assert not re.search(r'="[^"]*(?:nan|inf)\b[^"]*"', re.sub(r'aria-label="[^"]*"', "", svg))
    assert drawn


def test_the_bound_of_the_score_picture_is_the_judged_share_of_the_reference() -> None:
    svg = next(svg for svg in _pictures(_page(go())) if "Score by arm" in svg)
    bound = float(re.findall(r'<line x1="([\d.]+)" y1="20.0"', svg)[0])
    low, middle, high = sorted(
        float(x) for x in re.findall(r'<circle cx="([\d.]+)" cy="52.0"', svg)
    )
    assert low < middle < high
    assert 0.861 + (bound - low) / (high - low) * (0.872 - 0.861) == pytest.approx(
        0.97 * (0.861 + 0.872 + 0.866) / 3, abs=1e-4
    )


def test_no_mean_is_drawn_over_the_seeds_that_are_left() -> None:
    whole = pictures.scores({"lora": [0.8, 0.82], "full": [0.86, 0.87]}, None, [], None)
    short = pictures.scores({"lora": [0.8, float("nan")], "full": [0.86, 0.87]}, None, [], None)
    assert whole.count("stroke-width:3") == 2
    assert short.count("stroke-width:3") == 1
    assert "1 of 2 not a number" in short


def test_drift_whose_steps_are_not_known_for_every_run_counts_as_missing() -> None:
    page = _page(holes())
    drift = page.split("Drift by step")[1].split("</figure>")[0]
    assert "0.5</a>" not in drift
    assert "drift by step" in _part_of(page, "absent")


def test_a_line_breaks_where_a_value_is_not_a_number() -> None:
    run = list(zip(STEPS, [0.0, 0.1, float("nan"), 0.2, 0.25, 0.3], strict=True))
    svg = pictures.trajectories({"lora": [run]}, 0.05, {"lora": [(40.0, float("nan"))]})
    assert svg.count("<polyline") == 2
    assert "floor 0.05" in svg
    whole = pictures.trajectories({"lora": [run[3:]]}, None, {"lora": [(70.0, 0.22)]})
    assert whole.count("<polyline") == 1
    assert whole.count("<circle") == 2
    assert "floor " not in whole.replace("with the floor", "")
    assert svg.count("stroke-dasharray:2 3") == 1
    assert "stroke-dasharray:2 3" not in whole


def test_a_heat_map_leaves_a_cell_open_where_there_is_no_number() -> None:
    svg = pictures.heat("LoRA", [[0.0, 0.1], [float("nan"), 0.2]], [0.0, 20.0], 0.2)
    assert svg.count("<title>") == 1 + 3
    assert svg.count("stroke-dasharray") == 1
    assert pictures.heat("LoRA", [[float("nan")]], [0.0], 1.0) == ""


def test_heat_maps_of_one_task_share_one_scale() -> None:
    page = _page(go())
    assert "layer ↑ · step →" in page
    maps = [svg for svg in _pictures(page) if "layers × 6 looks" in svg]
    assert len(maps) == 4
    ends = [re.findall(r'opacity:([\d.]+)"><title>', svg) for svg in maps[:2]]
    assert max(map(float, ends[1])) == 1.0
    assert max(map(float, ends[0])) < 0.8


def test_the_score_picture_lays_the_interval_at_the_bound() -> None:
    seen = {"lora": [0.80, 0.82], "full": [0.86, 0.86]}
    bad = pictures.scores(seen, 0.84, [-0.04, -0.02], 0.5)
    good = pictures.scores(seen, 0.78, [0.01, 0.05], 0.5)
    for svg, left_of in ((bad, True), (good, False)):
        bound = float(re.findall(r'<line x1="([\d.]+)" y1="20.0"', svg)[0])
        start = float(re.findall(r'<line x1="([\d.]+)" y1="116.0"', svg)[0])
        assert (start < bound) is left_of
    assert 'y1="116.0"' not in pictures.scores(seen, 0.84, [], 0.5)


def test_the_shortness_stands_beside_the_figures_of_each_task() -> None:
    page = _page(go())
    short = "1,000 of 67,000 training rows (1.5 %)"
    for figure in re.findall(
        r"<figure>.*?</figure>", page.split("SST-2")[1].split("<section")[0], re.S
    ):
        assert ("500 training rows a trial" if "Tuning" in figure else short) in figure
    for name in ("hypotheses", "effects"):
        assert short in _part_of(page, name)


def test_layer_ratios_and_effects_are_those_of_the_rows() -> None:
    found = rows_of_system(plain(go()), "lora")
    assert facts.layer_ratios(found, "sst2") == pytest.approx([0.6] * 7)
    assert facts.standardised([0.2, 0.4], [0.1, 0.1]) == pytest.approx(2**0.5)
    assert facts.standardised([0.2, 0.3], [0.1, 0.2000]) is not None
    assert facts.standardised([0.5, 0.5], [0.25, 0.25]) is None
    assert facts.standardised([0.2], [0.1]) is None
    assert facts.over_seeds([0.5, 0.5]) is None
    assert facts.over_seeds([0.4, 0.6]) == pytest.approx((0.5 - 1.2706, 0.5 + 1.2706), abs=1e-3)
    assert facts.over_seeds([0.4, float("nan")]) is None


def test_a_layer_shows_drift_and_the_other_figures_as_they_are() -> None:
    last = re.findall(r'<tr><td data-name="Layer">6</td>.*?</tr>', _page(go()))[0]
    cells = dict(re.findall(r'data-name="([^"]*): LoRA, full">(.*?)</td>', last))
    told = {name: re.findall(r">([^<]+)</a>", cell) for name, cell in cells.items()}
    assert told["1 − CKA"] == ["0.18", "0.3"]
    assert told["cosine"] == ["0.88", "0.8"]


def test_deployment_names_engine_and_device_and_compares_with_merged() -> None:
    told = _part_of(_page(go()), "deployment")
    assert "peft" in told
    assert "2 cores of a Xeon" in told
    assert "1.11 times" in told
    assert "80 [77.6, 82.4]" in told
    assert "engine and device are not recorded" in _part_of(_page(holes()), "deployment")


def test_a_later_change_of_the_registration_is_shown() -> None:
    assert "Not changed since." in _part_of(_page(go()), "registration")
    changed = _part_of(_page(no_go()), "registration")
    assert "Changed since (1)" in changed
    assert "0.03 was 0.05" in changed
    assert "no registration is stored" in _part_of(_page(holes()), "registration")


def test_the_command_beside_a_record_shows_the_stored_verdict(tmp_path: Path) -> None:
    (tmp_path / "reports").mkdir()
    store = Store(
        f"sqlite:///{tmp_path / 'reports' / 'centralized.db'}", tmp_path / "reports" / "artifacts"
    )
    session = store.open_session({})
    store.put_verdict(
        session,
        "lora.h1.performance",
        "lora",
        KEY,
        {"id": "lora.h1.performance"},
        {"outcome": "NO-GO"},
        1.0,
    )
    store.close()
    command = shlex.split(Reader(_page(go())).words.split("Show")[1].split("Measured")[0])
    done = subprocess.run(
        [sys.executable, *command[1:]], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "NO-GO" in done.stdout
    assert "Show" not in _part_of(_page(hostile()), "records")


def test_hostile_texts_stay_texts() -> None:
    source = _page(hostile())
    page = Reader(source)
    assert not {"script", "img", "iframe", "link"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name.startswith("on") or name == "src"]
    assert "<script>alert(1)</script>" in page.words
    assert not {"\u202e", "\x1b", "\ud800"} & set(source)


def test_a_flood_of_text_floods_no_page() -> None:
    made = hostile()
    flood = "x" * 100_000
    for row in made["rows"]:
        row |= {"reason": flood, "claim": flood, "findings": [flood] * 500}
        row["arrays"] = {f"lora@{flood}{n} by seed": [0.5] * 1000 for n in range(30)} | {
            "lora@sst2 drift by step": [[0.1] * 200] * 200
        }
    assert len(_page(made)) < 1_500_000


@pytest.mark.services
@pytest.mark.parametrize(("make", "word"), [(go, "GO"), (no_go, "NO-GO"), (holes, "NOT RUN")])
def test_the_browser_shows_and_prints_the_study(make: Any, word: str, tmp_path: Path) -> None:
    paths = write_all(make(), tmp_path)
    shown = _dump(paths["lora"], tmp_path / "profile")
    assert shown.split('<h1 id="launch">')[1].split("</h1>")[0].split("</span>")[1].strip() == word
    assert paths["lora_pdf"].read_bytes().startswith(b"%PDF-")
    assert json.loads(paths["json"].read_text())["launch"]["outcome"] == make()["launch"]["outcome"]


@pytest.mark.services
@pytest.mark.parametrize("make", [go, hostile])
@pytest.mark.usefixtures("no_browser")
def test_the_study_is_no_wider_than_a_phone_and_runs_nothing(make: Any, tmp_path: Path) -> None:
    page = write_all(make(), tmp_path)["lora"]
    (tmp_path / "frame.html").write_text(FRAME.format(page=page.as_uri()), "utf-8")
    shown = _dump(tmp_path / "frame.html", tmp_path / "profile", "--allow-file-access-from-files")
    wide, room = map(int, re.findall(r"wide (\d+) of (\d+)", shown)[0])
    assert 0 < wide <= room <= 390


def test_a_browser_that_fails_leaves_no_older_paper(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, paper = tmp_path / "chromium", tmp_path / "lora.pdf"
    broken.write_text("#!/bin/sh\nexit 3\n", "utf-8")
    broken.chmod(0o755)
    paper.write_bytes(b"%PDF-of yesterday")
    monkeypatch.setattr(printing, "BROWSERS", (str(broken),))
    assert printing.printed(tmp_path / "page.html", paper) is None
    assert not paper.exists()
