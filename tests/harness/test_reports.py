"""The reports tell one story: whatever the form, the launch word, the verdicts and the reasons are the same."""

import copy
import json
import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest

from harness.reports import (
    ChecklistError,
    allure,
    html,
    lines,
    markdown,
    pictures,
    power_table,
    validate,
    words,
    write_all,
)

VOID = {"meta", "br"}
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)> \u202egnp.exe \x1b[31mred | `code` @all\nnext"


def part(metric: str, bound: str, estimate: Any, outcome: str = "GO", **more: Any) -> dict[str, Any]:
    base = {
        "unit": "logits",
        "rule": "at_most",
        "low": None,
        "high": None,
        "n": 200,
        "margin": None,
        "reason": "",
        "needs": "",
    }
    return {**base, "metric": metric, "bound": bound, "estimate": estimate, "outcome": outcome, **more}


def row(identity: str, outcome: str, *parts: dict[str, Any], **more: Any) -> dict[str, Any]:
    base = {
        "id": identity, "system": "core", "stage": "A", "severity": "critical", "why": "twelve clean seeds stayed below a tenth of it",
        "claim": f"The claim that {identity.replace('.', ' ')} holds.", "outcome": outcome, "reason": "", "seconds": 1.234,
        "reused": False, "parts": list(parts), "findings": [], "counts": {"rows": 200}, "not_scored": {}, "arrays": {},
        "evidence_key": "3f9c" * 16,
    }  # fmt: skip
    return {**base, **more}


def checklist(outcome: str, *rows: dict[str, Any], reasons: tuple[str, ...] = ()) -> dict[str, Any]:
    judged = sum(each["outcome"] in ("GO", "NO-GO", "UNDECIDED") for each in rows)
    session = {
        "id": "20261121-061500-1a2b", "started": "2026-11-21T06:15:00Z", "subject": "embedded", "stage": "A",
        "command": "pytest -m gate_stageA", "commit": "0123abc", "dirty": True, "seconds": 171.5,
        "environment": {"torch": "2.13.0+cpu", "threads": "1"}, "warnings": [],
    }  # fmt: skip
    launch = {"outcome": outcome, "reasons": list(reasons), "judged": judged, "total": len(rows)}
    return {"schema": 1, "session": session, "launch": launch, "rows": list(rows), "curves": curves(), "sabotage": None}


def curves() -> dict[str, Any]:
    steps = list(range(1, 64))
    falling = [0.72 - 0.34 * (1 - 0.95**step) + 0.02 * ((step * 7) % 5 - 2) / 2 for step in steps]
    flat = [0.70 + 0.02 * ((step * 3) % 5 - 2) / 2 for step in steps]
    return {
        "pilot": {"step": steps, "loss": falling, "lr": [1e-3] * 63},
        "shuffled": {"step": steps, "loss": flat, "lr": [1e-3] * 63},
    }


def clean_rows() -> list[dict[str, Any]]:
    return [
        row("core.data.schema", "GO", part("rows_loaded", "at least 0.95", 0.998, unit="share", low=0.996, high=0.999, margin=0.046)),
        row("core.freeze.bytes_unchanged", "GO", part("changed", "exactly 0", 0, unit="tensors", rule="exact", margin=0)),
        row("core.parity.adapter_off", "GO", part("step0", "at most 1e-5", 0.0, margin=1e-5), part("end", "at most 1e-5", 2e-6, margin=8e-6)),
        row("core.parity.merge", "GO", part("max_difference", "at most 1e-4", 3.1e-6, low=2.8e-6, high=4e-6, margin=9.6e-5)),
        row("core.learn.beats_baselines", "GO", part("gain", "at least 0.05", 0.21, unit="accuracy", low=0.17, high=0.25, margin=0.12),
            arrays={"gain per seed": [0.2, 0.22, 0.19, 0.21], "confusion": [[88, 12], [9, 91]]}, reused=True),
    ]  # fmt: skip


def power() -> dict[str, Any]:
    names = [("S01", "core.freeze.bytes_unchanged"), ("S02", "core.freeze.bytes_unchanged"), ("S09", "core.parity.merge"),
             ("S12", "core.parity.merge"), ("S27", "core.learn.beats_baselines")]  # fmt: skip
    rows = [
        {"defect": d, "criterion": c, "outcome": "caught", "seconds": 2.0, "what": "the backbone is trained too"}
        for d, c in names
    ]
    rows[3] |= {"outcome": "MISSED", "what": "merged at 1.01 times the scale"}
    return {"stored": "2026-11-19T10:00:00Z", "age_days": 2, "caught": 4, "planted": 5, "rows": rows}


def go() -> dict[str, Any]:
    return {**checklist("GO", *clean_rows()), "sabotage": power()}


def no_go() -> dict[str, Any]:
    rows = clean_rows()
    rows[3] = row("core.parity.merge", "NO-GO", part("max_difference", "at most 1e-4", 0.032, "NO-GO", low=0.029, high=0.034, margin=-0.0319),
                  reason="the merged model differs from the one that was trained",
                  findings=[f"encoder.layer.{n}.attention.query: off by {3.2 - n / 10:.1f}e-2" for n in range(5)])  # fmt: skip
    rows.append(row("core.repro.resume", "NOT RUN", reason="no checkpoint was written; set checkpoint_every"))
    rows.append(row("core.budget.latency", "NOT SELECTED"))
    reasons = (
        "core.parity.merge is NO-GO",
        "5 of 7 judged; not run: core.repro.resume; not selected: core.budget.latency",
    )
    return {**checklist("NO-GO", *rows, reasons=reasons), "sabotage": power()}


def undecided() -> dict[str, Any]:
    wide = part(
        "gain", "at least 0.05", 0.06, "UNDECIDED", low=0.02, high=0.1, margin=-0.03, needs="about 180 more rows"
    )
    return checklist(
        "UNDECIDED",
        *clean_rows()[:4],
        row("core.learn.beats_baselines", "UNDECIDED", wide, reason="the interval holds the bound"),
    )


class Reader(HTMLParser):
    """Collects tags and refuses a page whose tags do not close in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words = ""
        self.feed(page)
        assert self.stack == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


@pytest.mark.parametrize("make", [go, no_go, undecided])
def test_every_form_tells_the_same_launch_word(make: Any, tmp_path: Path) -> None:
    made = make()
    word = made["launch"]["outcome"]
    paths = write_all(made, tmp_path)
    assert json.loads(paths["json"].read_text())["launch"]["outcome"] == word
    assert paths["md"].read_text().splitlines()[0].endswith(f"LAUNCH: {word}")
    page = Reader(paths["html"].read_text())
    assert page.words.count(word) >= 2
    assert next(line for line in lines(made) if line.startswith("LAUNCH: ")).split("   ")[0] == f"LAUNCH: {word}"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"launch-checklist.{kind}" for kind in ("html", "json", "md")
    ]


def test_a_terminal_line_holds_verdict_id_interval_unit_bound_margin_and_time() -> None:
    line = lines(go(), 160)[0]
    for wanted in ("GO ", "core.data.schema", "0.998 [0.996, 0.999] share", "at least 0.95", "margin +0.046", "1.2 s"):
        assert wanted in line
    assert "stored" in next(line for line in lines(go(), 160) if "beats_baselines" in line)


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_a_terminal_keeps_its_width_and_the_verdict(width: int) -> None:
    told = lines(no_go(), width)
    assert all(len(line) <= width for line in told if "LAUNCH" not in line and "core.parity.merge: The" not in line)
    assert [line.split("  ")[0] for line in told[:5]] == ["GO", "GO", "GO", "NO-GO", "GO"]


def test_the_terminal_tells_three_findings_the_rest_by_number_and_what_is_missing() -> None:
    text = "\n".join(lines(no_go(), 120))
    assert text.count("encoder.layer") == 3
    assert "and 2 more" in text
    assert "NOT RUN (1)" in text
    assert "no checkpoint was written" in text
    assert "NOT SELECTED (1)" in text
    assert "5 of 7 judged" in text


def test_undecided_says_what_would_decide() -> None:
    assert "to decide: about 180 more rows" in "\n".join(lines(undecided()))
    assert "about 180 more rows" in html.render(undecided())
    assert "about 180 more rows" in markdown.render(undecided())


def test_the_deciding_part_is_the_worst_of_those_that_settled_it() -> None:
    parts = [
        part("a", "at most 1", 0.2, margin=0.8),
        part("b", "at most 1", 3.0, "NO-GO", margin=-2),
        part("c", "at most 1", 9.0, "NO-GO", margin=-8),
    ]
    assert words.deciding(row("x.y", "NO-GO", *parts))["metric"] == "c"  # type: ignore[index]
    assert words.deciding(row("x.y", "GO", *parts[:1], part("d", "at most 1", 0.9, margin=0.1)))["metric"] == "d"  # type: ignore[index]


@pytest.mark.parametrize(("value", "text"), [
    (0.9996, "0.9996"), (0.99996, "0.99996"), (1e-6, "1e-6"), (-0.031, "−0.031"), ("nan", "nan"), ("inf", "∞"), (float("nan"), "nan"),
    (-float("inf"), "−∞"), (1234567, "1,234,567"), (None, "–"), (0, "0"), (12345.678, "12,346"), (1e12, "1e12"), (2.60417, "2.604"),
])  # fmt: skip
def test_numbers_are_short_and_never_rounded_onto_a_bound(value: Any, text: str) -> None:
    assert words.number(value) == text


def test_power_table_counts_caught_over_planted_per_gate() -> None:
    told = power_table(power()["rows"])
    assert "core.parity.merge  1/2" in told
    assert any("MISSED  S12" in line for line in told)
    assert told[-1] == "caught 4 of 5 planted defects over 3 gates"


def hostile() -> dict[str, Any]:
    made = no_go()
    bad = made["rows"][3]
    bad |= {key: HOSTILE for key in ("id", "claim", "why", "reason", "severity", "evidence_key")}
    bad["findings"] = [HOSTILE, "\ud800 lone"]
    bad["counts"] = {HOSTILE: 3}
    bad["arrays"] = {HOSTILE: [1.0, float("nan"), 2.0], "deep": [[HOSTILE, 1.0], [2.0, None]]}
    bad["parts"][0] |= {
        "metric": HOSTILE,
        "unit": HOSTILE,
        "bound": f"at most 1e-4 {HOSTILE}",
        "reason": HOSTILE,
        "needs": HOSTILE,
    }
    made["session"] |= {
        "subject": HOSTILE,
        "command": HOSTILE,
        "warnings": [HOSTILE],
        "environment": {HOSTILE: HOSTILE},
    }
    made["launch"]["reasons"] = [HOSTILE]
    made["curves"] = {HOSTILE: {"step": [1, 2, 3], "loss": [1.0, float("inf"), "nan"]}}
    made["sabotage"]["rows"][0] |= {"defect": HOSTILE, "criterion": HOSTILE, "what": HOSTILE}
    return made


def test_hostile_texts_stay_texts_on_the_page() -> None:
    source = html.render(hostile())
    page = Reader(source)
    assert not {"script", "img", "iframe", "link"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name.startswith("on") or name == "src"]
    assert "<script>alert(1)</script>" in page.words
    assert not {"\u202e", "\x1b", "\ud800"} & set(source)


def test_hostile_texts_steer_neither_terminal_nor_markdown(tmp_path: Path) -> None:
    told = "\n".join(lines(hostile()) + power_table(hostile()["sabotage"]["rows"]))
    assert not {"\u202e", "\x1b"} & set(told)
    text = write_all(hostile(), tmp_path)["md"].read_text()
    assert "<script" not in text.replace("`<script", "").replace("`" + words.neutral(HOSTILE)[:7], "")
    table = [line for line in text.splitlines() if line.startswith("| ")]
    assert {line.replace("\\|", "").count("|") for line in table} == {7}


def test_the_json_is_strict_and_keeps_what_is_no_number_by_name(tmp_path: Path) -> None:
    made = hostile()
    made["rows"][0]["parts"][0]["low"] = float("-inf")
    text = write_all(made, tmp_path)["json"].read_text()

    def refuse(word: str) -> None:
        raise AssertionError(word)

    assert json.loads(text, parse_constant=refuse)["rows"][0]["parts"][0]["low"] == "-inf"


def test_writing_leaves_its_input_alone_and_an_old_file_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = go()
    kept = copy.deepcopy(made)
    paths = write_all(made, tmp_path)
    assert made == kept
    before = paths["html"].read_text()
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_all(no_go(), tmp_path)
    assert paths["html"].read_text() == before
    assert len(list(tmp_path.iterdir())) == 3


def _broken(change: Any) -> dict[str, Any]:
    made = no_go()
    change(made)
    return made


@pytest.mark.parametrize(("change", "message"), [
    (lambda c: c.update(schema=2), "schema: seen 2, wanted 1"),
    (lambda c: c.pop("session"), "session: seen None, wanted dict"),
    (lambda c: c["session"].pop("subject"), "session.subject"),
    (lambda c: c["launch"].update(outcome="PASS"), "launch.outcome: seen 'PASS', wanted one of GO"),
    (lambda c: c["launch"].update(outcome="GO"), "GO, but core.parity.merge is NO-GO"),
    (lambda c: c["launch"].update(outcome="UNDECIDED"), "UNDECIDED, but core.parity.merge is NO-GO"),
    (lambda c: c["rows"][0].update(outcome="SKIPPED"), r"rows\[0\] \(core.data.schema\).outcome"),
    (lambda c: c["rows"][0].update(parts=[]), "GO without a part"),
    (lambda c: c["rows"][0]["parts"][0].update(estimate="many"), "wanted a number"),
    (lambda c: c["rows"][0]["parts"][0].update(estimate="nan"), "GO on an estimate that is not a number"),
    (lambda c: c["sabotage"]["rows"][0].update(outcome="ok"), "sabotage.rows"),
    (lambda c: c["rows"].append("x"), r"rows\[7\]: seen str, wanted a table"),
])  # fmt: skip
def test_a_checklist_that_must_not_be_shown_is_refused(change: Any, message: str) -> None:
    with pytest.raises(ChecklistError, match=message):
        validate(_broken(change))


def test_a_red_gate_of_another_stage_does_not_contradict_go() -> None:
    made = go()
    made["rows"].append({**no_go()["rows"][3], "stage": "C"})
    validate(made)


def test_go_with_a_criterion_unjudged_is_refused() -> None:
    made = go()
    made["launch"]["total"] += 1
    with pytest.raises(ChecklistError, match="only 5 of 6"):
        validate(made)


def test_pictures_are_well_formed_and_survive_wild_numbers() -> None:
    made = hostile()
    wild = part("wild", "at most 1e308", 1e308, "NO-GO", low=-1e308, high="inf")
    drawn = [
        pictures.loss_curves(curves()),
        pictures.loss_curves(made["curves"]),
        pictures.parity_matrix(no_go()["rows"]),
    ]
    drawn += [pictures.strip(each) for line in [*made["rows"], row("a.b", "NO-GO", wild)] for each in line["parts"]]
    drawn += [pictures.array(name, values) for line in made["rows"] for name, values in line["arrays"].items()]
    assert all(drawn)
    for svg in drawn:
        ElementTree.fromstring(svg)
    assert pictures.loss_curves(None) == pictures.parity_matrix([]) == pictures.strip(part("m", "", "nan")) == ""


@pytest.mark.parametrize(
    ("bound", "wanted"),
    [
        ("at most 1e-5 logits", [1e-5]),
        ("≥ 0.95", [0.95]),
        ("at most 1.05 times at 3 seeds", [1.05]),
        ("between −0.1 and 0.1", [-0.1, 0.1]),
        ("±0.2", [-0.2, 0.2]),
        ("1,000 rows", [1000]),
        ("top1 of S27", []),
    ],
)
def test_the_numbers_of_a_bound_are_read_from_its_words(bound: str, wanted: list[float]) -> None:
    assert words.edges({"bound": bound}) == wanted


def test_a_curve_that_broke_does_not_end_at_its_last_good_loss() -> None:
    assert "ends at nan" in pictures.loss_curves({"pilot": {"step": [1, 2, 3], "loss": [1.0, 0.5, "nan"]}})


def test_thinning_keeps_every_peak() -> None:
    points = [(float(x), 100.0 if x == 5003 else 0.0) for x in range(10_000)]
    kept = pictures.thinned(points)
    assert len(kept) <= 300
    assert (5003.0, 100.0) in kept


def test_allure_marks_name_system_stage_claim_severity_and_gate() -> None:
    criterion = SimpleNamespace(
        id="core.parity.merge", claim="Merged is tuned.", stage="A", severity="blocker", system="core"
    )
    marks = {str(mark.kwargs["label_type"]): mark.args for mark in allure.labels(criterion)}
    assert marks["gate_id"] == ("core.parity.merge",)
    assert ("core",) in marks.values()
    assert ("Stage A",) in marks.values()


def test_allure_files_say_undecided_is_a_failure(tmp_path: Path) -> None:
    allure.write_environment(tmp_path, go()["session"])
    allure.write_categories(tmp_path)
    allure.write_executor(tmp_path, go()["session"])
    assert "torch = 2.13.0+cpu" in (tmp_path / "environment.properties").read_text()
    categories = json.loads((tmp_path / "categories.json").read_text())
    assert next(c for c in categories if c["name"].startswith("UNDECIDED"))["matchedStatuses"] == ["failed", "broken"]
    assert json.loads((tmp_path / "executor.json").read_text())["buildName"] == go()["session"]["id"]


SMALL_GATE = """
import pytest
from harness.reports import allure
ROW = {row!r}
def test_gate():
    allure.attach(ROW)
    pytest.fail("UNDECIDED core.learn.beats_baselines: more rows needed")
"""


@pytest.mark.parametrize("asked", [True, False])
def test_attach_writes_results_only_when_allure_is_asked_for(tmp_path: Path, asked: bool) -> None:
    (tmp_path / "test_small.py").write_text(SMALL_GATE.format(row=undecided()["rows"][-1]))
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    root = str(Path(__file__).parents[2])
    extra = ["--alluredir", str(tmp_path / "results")] if asked else []
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", *extra, str(tmp_path / "test_small.py")]
    done = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": root}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stdout + done.stderr
    results = [json.loads(path.read_text()) for path in tmp_path.glob("results/*-result.json")]
    assert len(results) == asked
    for result in results:
        assert result["status"] == "failed"
        assert {"name": "verdict", "value": "UNDECIDED"} in result["labels"]
        assert all(parameter["excluded"] for parameter in result["parameters"])
        assert {attachment["type"] for attachment in result["attachments"]} == {"application/json", "image/svg+xml"}


def test_reports_import_without_torch() -> None:
    code = "import sys, harness.reports, harness.reports.allure; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=False).returncode == 0
