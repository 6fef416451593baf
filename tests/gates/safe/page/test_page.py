"""The page of SAFE: every figure leads to its record, items are shown with their own run alone, what is missing says so, nothing runs."""

import base64
import json
import math
import re
from io import BytesIO
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from gonogo.gates.safe.page import PAGE, facts, items, pictures
from gonogo.harness.reports import write_all
from gonogo.harness.reports.checklist import plain
from gonogo.harness.reports.page import charts, printing
from gonogo.harness.reports.page.facts import rows_of_system
from gonogo.harness.reports.page.facts import word as over_outcomes
from PIL import Image

from tests.gates.safe.page.examples import (
    KEY,
    SKIP,
    go,
    holes,
    hostile,
    hostile_kept,
    item,
    kept,
    no_go,
    row,
    without_safe,
)
from tests.harness.reports.examples import HOSTILE, Reader, part
from tests.whole.reports.test_browser import BROWSER, FRAME, _dump

EVERY = [(go, kept), (no_go, kept), (no_go, dict), (holes, kept), (hostile, hostile_kept)]


@pytest.fixture(autouse=True)
def no_printing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(printing, "BROWSERS", ())


def _page(made: dict[str, Any], beside: dict[str, Any] | None = None) -> str:
    return PAGE.show(rows_of_system(plain(made), "safe", plain(beside or {})))


def _pictures(page: str) -> list[str]:
    return re.findall(r"<svg .*?</svg>", page, re.S)


def _part_of(page: str, name: str) -> str:
    return page.split(f'id="{name}"')[1].split("</section>")[0]


def _words(source: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", source).split())


# ── the page and its records ─────────────────────────────────────────────────────────────────────────────────────────
def test_the_page_is_written_and_linked_with_rows_of_safe_and_not_without(tmp_path: Path) -> None:
    assert "safe" not in write_all(without_safe(), tmp_path)
    assert not (tmp_path / "safe.html").exists()
    assert 'href="safe.html"' not in (tmp_path / "launch-checklist.html").read_text("utf-8")
    assert write_all(go(), tmp_path)["safe"] == tmp_path / "safe.html"
    assert 'href="safe.html"' in (tmp_path / "launch-checklist.html").read_text("utf-8")
    assert 'href="launch-checklist.html"' in (tmp_path / "safe.html").read_text("utf-8")
    assert not (tmp_path / "lora.html").exists()


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"schema": 1, "examples": 3}', "[" * 100_000])
def test_a_file_of_items_that_is_none_costs_no_page(text: str, tmp_path: Path) -> None:
    (tmp_path / facts.FILE).write_text(text, "utf-8")
    assert "items are kept with this session" in write_all(go(), tmp_path)["safe"].read_text(
        "utf-8"
    ) or text.endswith("3}")


def test_the_items_of_the_folder_are_on_the_page(tmp_path: Path) -> None:
    (tmp_path / facts.FILE).write_text(json.dumps(kept()), "utf-8")
    assert "test-17" in write_all(go(), tmp_path)["safe"].read_text("utf-8")


@pytest.mark.parametrize(("make", "beside"), EVERY)
def test_every_figure_leads_to_a_record_of_the_page(make: Any, beside: Any) -> None:
    page = _page(make(), beside())
    Reader(page)
    records = set(re.findall(r'id="(record-\w+)"', page))
    linked = re.findall(r'class="figure" href="#([^"]*)"', page)
    assert set(linked) <= records
    assert len(linked) > 5


def test_a_figure_leads_to_the_record_it_was_read_from() -> None:
    page = _page(go(), kept())
    for identity, words in (
        ("safe.pilot.audio_gain", "0.6775 [0.66, 0.695] accuracy"),
        ("safe.pilot.latency", "2.828 [2.76, 2.9] times"),
        (SKIP, "0.928 [0.918, 0.938]"),
    ):
        place = [each["id"] for each in go()["rows"]].index(identity)
        assert f'href="#record-{place}">{words}</a>' in page
        assert identity in page.split(f'id="record-{place}"')[1].split("</article>")[0]


def test_only_safe_s_own_rows_are_on_the_page() -> None:
    made = go()
    made["rows"] += without_safe()["rows"]
    assert "core." not in _page(made)


# ── launch lines ─────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(("make", "word"), [(go, "GO"), (no_go, "NO-GO"), (holes, "NO-GO")])
def test_the_headline_is_the_word_over_the_six_lines(make: Any, word: str) -> None:
    headline = _page(make()).split('<h1 id="launch">')[1].split("</h1>")[0]
    assert headline.split("</span>")[1].strip() == word


def test_the_criterion_over_the_lines_has_the_headline_where_it_was_judged() -> None:
    for outcome, word in (("UNDECIDED", "UNDECIDED"), ("NOT RUN", "NO-GO")):
        made = no_go()
        made["rows"].append(
            row(
                facts.ALL,
                outcome,
                *([part("p", "≤ 0.05", 0.2, outcome)] if outcome != "NOT RUN" else []),
            )
        )
        page = _page(made)
        assert (
            page.split('<h1 id="launch">')[1].split("</h1>")[0].split("</span>")[1].strip() == word
        )
        assert ("The verdict of safe.launch.all_green" in page) is (word == "UNDECIDED")


@pytest.mark.parametrize(
    ("outcomes", "word"),
    [
        (["GO", "GO"], "GO"),
        (["GO", "NO-GO", "NOT RUN"], "NO-GO"),
        (["GO", "NOT RUN"], "UNDECIDED"),
        (["GO", "UNDECIDED"], "UNDECIDED"),
        (["GO", "NOT SELECTED"], "UNDECIDED"),
        (["NOT RUN", "NOT SELECTED"], "NOT RUN"),
        ([], "NOT RUN"),
    ],
)
def test_a_line_is_go_by_all_of_its_criteria_and_no_go_by_one(
    outcomes: list[str], word: str
) -> None:
    assert over_outcomes(outcomes) == word


def test_each_line_shows_the_criteria_behind_it_and_those_that_were_not_judged() -> None:
    lines = _page(no_go()).split('<details open id="line-')[1:]
    told = {_words(line.split("</summary>")[0]): line.split("</details>")[0] for line in lines}
    gains, seeds = (
        next(body for name, body in told.items() if word in name)
        for word in ("Pilot gains", "Reproducible")
    )
    assert "safe.pilot.vl_retention" in gains
    assert "−0.0064 [−0.0084, −0.0054] accuracy" in gains
    assert "worse by more" in gains
    assert "safe.variance.audio" in seeds
    assert "not in this session" in seeds
    assert (
        next(name for name in told if "Reproducible" in name)
        .split("> ")[-1]
        .startswith("? UNDECIDED")
    )


def test_a_criterion_of_no_line_is_shown_all_the_same() -> None:
    made = go()
    made["rows"][0]["id"] = "safe.new.one"
    assert "safe.new.one" in _part_of(_page(made), "lines")
    assert "Criteria of no line." in _page(made)


# ── figures ──────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_the_loss_stands_with_its_stages_and_the_parity_of_the_gate_off() -> None:
    svg = next(svg for svg in _pictures(_page(go(), kept())) if "Training loss" in svg)
    assert "stage hearing" in svg
    assert "stage mixed" in svg
    assert "largest logit difference from the base 0<" in svg
    bare = _page(go())
    assert "stage mixed" not in bare
    assert "does not say where its stages began" in bare


def test_a_loss_that_is_no_number_breaks_the_line_and_is_marked() -> None:
    svg = pictures.losses([2.0, math.nan, 1.0, 0.9], [], [], "x")
    assert svg.count("✗") == 1
    assert svg.count("<polyline") == 2


def test_intervals_lie_where_their_numbers_are() -> None:
    svg = charts.intervals(
        [
            ("a", 0.0, -1.0, 1.0, 2.0),
            ("b", math.nan, None, None, None),
            ("group", None, None, None, None),
        ],
        "x",
    )
    ends = sorted(float(x) for x in re.findall(r'<line x1="([\d.]+)" y1="29.0"', svg))
    middle, bound = (
        float(re.findall(r'<circle cx="([\d.]+)"', svg)[0]),
        float(re.findall(r'<line x1="([\d.]+)" y1="25.0"', svg)[0]),
    )
    assert middle - ends[0] == pytest.approx(ends[1] - middle, abs=0.11)
    assert bound - ends[1] == pytest.approx(middle - ends[0], abs=0.21)
    assert svg.count("<circle") == 1
    assert "not a number" in svg
    assert charts.intervals([("a", None, None, None, None)], "x") == ""


def test_a_point_of_the_front_is_no_beaten_one() -> None:
    svg = pictures.front([(0.0, 0.5), (4.0, 0.8), (5.0, 0.7)], [(0.0, 0.5), (4.0, 0.8)], None, "x")
    assert svg.count("<circle") == 3 + 2  # two of the legend
    assert "judged" not in svg
    assert "judged" in pictures.front([(0.0, 0.5)], [], (1.0, 0.6), "x")


def test_the_two_histograms_have_one_scale() -> None:
    svg = charts.bars([0.0, 1.0, 2.0], [0.25, 0.5], ("x", "y"), [0.5, 0.0], ("up", "down"))
    highs = [float(high) for high in re.findall(r'height="([\d.]+)" style="fill', svg)]
    assert highs == [45.0, 90.0, 90.0, 0.0]
    assert charts.bars([0.0, 1.0], [math.nan], ("x", "y")) == ""
    assert charts.bars([0.0, 1.0], [0.0], ("x", "y")) == ""


def test_bins_and_separation_are_those_of_the_numbers() -> None:
    assert facts.histogram([-5.0, 0.0, 0.5, 1.0, 9.0], [0.0, 1.0, 2.0]) == pytest.approx([0.6, 0.4])
    assert facts.histogram([-math.inf, 0.0], facts.LOST)[0] == 0.5
    higher, lower = [0.5, 2.0, 2.0, -1.0], [0.5, 1.0, -3.0]
    naive = sum((a > b) + (a == b) / 2 for a in higher for b in lower) / 12
    assert facts.separation(higher, lower) == pytest.approx(naive)
    assert math.isnan(facts.separation([math.nan], [1.0]) or 0)
    assert facts.separation([], [1.0]) is None


def test_consultation_stands_by_group() -> None:
    told = _part_of(_page(go()), "policies")
    for group, share in (("match", "0.9"), ("noise", "0.0375"), ("none", "0.0412")):
        assert re.search(
            rf'data-name="Group">{group}</td><td data-name="Consulted"><a[^>]*>{share}</a>', told
        )
    assert "novelty &gt; 11" in told


def test_accuracy_stands_by_need_and_arm() -> None:
    told = _part_of(_page(go()), "learning")
    assert re.search(
        r'Needs">image and audio</td>.*?"4 tokens"><a[^>]*>0\.884 \[0\.874, 0\.894\]', told
    )


# ── how the training went, what the quality of the sounds does ───────────────────────────────────────────────────────
def test_learning_stands_from_stage_to_stage_against_the_look_before() -> None:
    told = _part_of(_page(go(), kept()), "learning")
    svg = next(svg for svg in _pictures(told) if "accuracy on dev" in svg)
    assert "stage hearing" in svg
    assert "stage mixed" in svg
    rows = [
        _words(row)
        for row in told.split("Learning from stage to stage")[1]
        .split("</figure>")[0]
        .split("<tr>")[2:]
    ]
    assert rows[0] == "0 base alone before training 0.402 [0.334, 0.473] 0.979 [0.927, 0.997]"
    assert rows[1].startswith(
        "30 hearing transition 0.696 [0.628, 0.758] better 0.958 [0.897, 0.989] not told apart"
    )
    assert rows[2].startswith("120 mixed end 0.3 [0.24, 0.37] worse")


def test_stages_begin_where_they_did_and_no_earlier_than_the_first_point() -> None:
    svg = charts.curves(
        [10.0, 20.0, 30.0],
        {"a": [1.0, 2.0, 3.0]},
        ("x", "y"),
        stages=[("one", 0.0), ("two", 20.0), ("never", 99.0), ("no", math.nan)],
    )
    dots = [float(x) for x in re.findall(r'<circle cx="([\d.]+)"', svg)]
    begun = [float(x) for x in re.findall(r'<line x1="([\d.]+)" y1="20.0"', svg)]
    assert begun == pytest.approx(dots[:2], abs=0.11)
    assert ("never" in svg, "no" in _words(svg).split()) == (False, False)


def test_drift_and_gradient_norms_stand_over_the_training() -> None:
    told = _part_of(_page(go(), kept()), "learning")
    assert {"gradient norm", "KL from the base [nats]"} <= {
        svg.split('aria-label="')[1].split(" by ")[0]
        for svg in _pictures(told)
        if " by optimizer step" in svg
    }
    for name, figures in (("Drift of", ("0.001", "0.31", "0.03")), ("Gradient norms", ("217.5",))):
        text = told.split(f"<figcaption>{name}")[1].split("</figure>")[0]
        assert re.findall(r'href="#record-progress">([^<]*)</a>', text) == list(figures)


def test_the_time_that_was_declared_stands_beside_what_it_took_in_hours() -> None:
    told = _part_of(_page(go(), kept()), "cost").split("Training time")[1].split("</figure>")[0]
    rows = [_words(row) for row in told.split("<tr>")[2:]]
    assert (
        rows[0]
        == "declared stages would take, at the measured rate ( 120 steps of 48 rows) 7,200 2"
    )
    assert rows[1].endswith("( 150 steps of 48 rows) 9,000 2.5")
    assert [row.split(" ")[-2:] for row in rows[2:3]] == [["7,380", "2.05"]]
    assert rows[3].startswith("took, the run as a whole 8,100 2.25")
    assert "went on after" not in told
    on = kept()
    on["progress"]["resumed_at"] = 40
    assert "went on after step" in _page(go(), on)


def test_accuracy_and_consultation_stand_by_quality_of_the_sound() -> None:
    told = (
        _part_of(_page(go(), kept()), "policies").split("Does the quality")[1].split("</figure>")[0]
    )
    rows = [_words(row) for row in told.split("<tr>")[2:]]
    assert rows[0] == "audio needed 0.01 to 5.00 dB 800 0.871 [0.85, 0.892] 0.97 [0.96, 0.98]"
    assert rows[2].startswith("not needed 0.40 to 1.00 s 400")
    assert rows[3].startswith("not needed noise alone 799")
    assert "for 0.97 to 1 where audio is needed, for 0 to 0.012 where it is not" in _words(told)
    assert "by event over noise" in next(iter(_pictures(told)))


@pytest.mark.parametrize(
    ("name", "section", "figures"),
    [("progress", "learning", 3), ("progress", "cost", 1), ("quality", "policies", 1)],
)
def test_what_was_not_kept_is_missing_with_its_trouble(
    name: str, section: str, figures: int
) -> None:
    page = _page(go(), {**kept(), name: {"trouble": "ValueError: broken log"}})
    assert _part_of(page, section).count("missing: ValueError: broken log") == figures
    assert "none are kept with this session" in _part_of(page, "absent")


def test_what_is_missing_says_so_and_is_never_zero() -> None:
    page = _page(holes(), {"examples": {"trouble": "ValueError: broken"}})
    figures = re.findall(r'class="figure" href="#record-\w+">([^<]*)</a>', page)
    assert not {"0", "nan", "nan times"} & set(figures)
    assert "not a number" in figures
    assert page.count('class="missing"') > 10
    assert "ValueError: broken" in page
    absent = _part_of(page, "absent")
    for told in (
        "the adapter cannot be loaded",
        "safe.parity.gate_off",
        "the sample is empty",
        "not in this session",
        "items to look at",
    ):
        assert told in absent


@pytest.mark.parametrize(("make", "beside"), EVERY)
def test_no_picture_draws_what_is_not_a_number(make: Any, beside: Any) -> None:
    drawn = _pictures(_page(make(), beside()))
    for svg in drawn:
        ElementTree.fromstring(svg)
        assert not re.search(r'="[^"]*(?:nan|inf)\b[^"]*"', re.sub(r'aria-label="[^"]*"', "", svg))
    assert drawn


# ── items ────────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_an_item_shows_what_was_seen_heard_asked_answered_and_decided() -> None:
    first, second = _part_of(_page(go(), kept()), "examples").split("<article")[1:]
    for told in (
        "is there a bell in the sound?",
        "✗ wrong",
        "✓ right",
        "−5.37",
        "consults with 8 tokens",
        "bell",
        "0.12",
        "0.61",
        "8.3",
        "test-17",
    ):
        assert told in first
    assert "does not consult" in second
    assert "no event" in second


def test_image_and_spectrogram_are_the_pngs_of_their_numbers() -> None:
    image, sound = re.findall(r'src="data:image/png;base64,([^"]*)"', items.card(item()))
    seen = Image.open(BytesIO(base64.b64decode(image)))
    assert (seen.size, seen.mode, seen.getpixel((0, 5)), seen.getpixel((63, 0))) == (
        (64, 64),
        "RGB",
        (255, 0, 0),
        (255, 0, 189),
    )
    heard = Image.open(BytesIO(base64.b64decode(sound)))
    assert (heard.size, heard.mode) == ((40, 24), "L")
    assert heard.getpixel((39, 0)) == 255  # the highest band on top, later to the right
    assert heard.getpixel((39, 23)) == heard.getpixel((0, 0)) == 0
    assert heard.getpixel((39, 12)) == int(255 * 11 / 23)


def test_a_png_holds_the_bytes_that_were_given() -> None:
    raw = base64.b64decode(items.png("L", (2, 3), bytes(range(6))).split(",")[1])
    seen = Image.open(BytesIO(raw))
    assert (seen.size, seen.format, seen.tobytes()) == ((2, 3), "PNG", bytes(range(6)))


@pytest.mark.parametrize("name", ["examples", "whole", "progress", "quality"])
def test_what_was_kept_with_other_evidence_is_not_shown(name: str) -> None:
    old = kept()
    old[name]["of"] = "0" * 64
    page = _page(go(), old)
    assert ("test-17" in page) is (name != "examples")
    assert ("2.828" in page) is (name != "whole")
    assert ("217.5" in page) is (name != "progress")
    assert ("0.01 to 5.00 dB" in page) is (name != "quality")
    assert ("belong to another run" in page) is (name == "examples")


def test_rows_without_a_key_take_no_items() -> None:
    made, old = go(), kept()
    for each in made["rows"]:
        each["evidence_key"] = ""
    old["examples"]["of"] = ""
    assert "test-17" not in _page(made, old)


# ── what others wrote ────────────────────────────────────────────────────────────────────────────────────────────────
def test_hostile_texts_stay_texts() -> None:
    source = _page(hostile(), hostile_kept())
    page = Reader(source)
    assert not {"script", "img", "iframe", "link"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert all(
        value and value.startswith("data:image/png;base64,")
        for name, value in page.attributes
        if name == "src"
    )
    assert all(
        value and re.fullmatch(r"#[\w-]+|launch-checklist\.html", value)
        for name, value in page.attributes
        if name == "href"
    )
    assert "<script>alert(1)</script>" in page.words
    assert not {"\u202e", "\x1b", "\ud800"} & set(source)
    assert " ".join(HOSTILE.split())[:20] in page.words


def test_a_flood_of_text_and_numbers_floods_no_page() -> None:
    made, flood = hostile(), "x" * 100_000
    for each in made["rows"]:
        each |= {"reason": flood, "claim": flood, "findings": [flood] * 500, "evidence_key": KEY}
        each["arrays"] |= {
            name: [float(n) for n in range(3_000)]
            for name in (
                "loss",
                "cost",
                "accuracy",
                "front_cost",
                "front_accuracy",
                "batch",
                "peak_bytes",
                "lengths",
                "length_edges_s",
            )
        }
        each["counts"] |= {f"consulted kind {n} {flood[:9000]}": 0.5 for n in range(500)}
    beside = kept()
    beside["examples"]["items"] = [
        item(question=flood, mel=[[float(n)] * 80 for n in range(700)])
    ] * 20
    assert len(_page(made, beside)) < 4_000_000


@pytest.mark.services
@pytest.mark.parametrize(("make", "beside"), [(go, kept), (hostile, hostile_kept)])
def test_the_page_is_no_wider_than_a_phone_and_shows_its_images(
    make: Any, beside: Any, tmp_path: Path
) -> None:
    (tmp_path / facts.FILE).write_text(json.dumps(plain(beside())), "utf-8")
    page = write_all(make(), tmp_path)["safe"]
    (tmp_path / "frame.html").write_text(FRAME.format(page=page.as_uri()), "utf-8")
    shown = _dump(tmp_path / "frame.html", tmp_path / "profile", "--allow-file-access-from-files")
    wide, room = map(int, re.findall(r"wide (\d+) of (\d+)", shown)[0])
    assert 0 < wide <= room <= 390
