"""What a session keeps of a verdict is what the record's own JSON says; Allure's marks are made for whoever asked."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
from gonogo.harness.criteria.read import load
from gonogo.harness.evidence import EvidenceError, Measurement
from gonogo.harness.evidence.measurement import strict
from gonogo.harness.judging.verdict import judge, not_run
from gonogo.harness.place import CRITERIA as CRITERIA_FILE
from gonogo.harness.reports import allure, plain, write_all
from gonogo.harness.reports.words import writable
from gonogo.harness.session import evidence_of, plain_of, portable

from tests.harness.reports.examples import go, hostile, undecided

CRITERIA = load(CRITERIA_FILE)


@pytest.mark.parametrize("number", [0.0, math.nan, math.inf, 1e9])
def test_plain_records_are_what_their_json_says(number):
    for criterion in (each for each in CRITERIA.values() if each.rule != "composite"):
        metrics = {part.metric: part.unit for part in criterion.parts}
        measurement = Measurement.from_mapping(
            {"values": {name: [number, 1.0] for name in metrics}, "unit": metrics}
        )
        for verdict in (judge(criterion, measurement), not_run(criterion, "why")):
            assert strict(plain_of(verdict)) == json.loads(verdict.to_json())
        assert strict(plain_of(criterion)) == json.loads(criterion.to_json())


def test_the_evidence_of_a_row_is_what_the_measurements_json_says():
    more = {
        "findings": ["f"],
        "counts": {"rows": math.inf},
        "not_scored": {"empty": 2},
        "arrays": {"a": [[1.0, math.nan]]},
        "digests": {"base": "3f9c"},
    }
    measurement = Measurement.from_mapping({"values": {}, "unit": {}, **more})
    stored = json.loads(measurement.to_json())
    assert evidence_of(measurement) == {name: stored[name] for name in more}
    assert evidence_of(measurement)["arrays"] == {"a": [[1.0, "nan"]]}


@pytest.mark.parametrize("make", [go, undecided, hostile])
def test_the_checklist_file_holds_the_checklist_with_a_line_for_each_row(make, tmp_path):
    text = write_all(make(), tmp_path)["json"].read_text("utf-8")
    assert json.loads(text) == json.loads(json.dumps(plain(make())))
    assert sum(line.startswith('{"') for line in text.splitlines()) == len(make()["rows"])


@pytest.mark.parametrize(
    ("options", "plan", "asked"),
    [
        ({}, False, False),
        ({"allure_report_dir": "x"}, False, True),
        ({"allure_severities": ["blocker"]}, False, True),
        ({}, True, True),
    ],
)
def test_allure_marks_are_made_when_results_or_a_selection_is_asked_for(
    options, plan, asked, monkeypatch
):
    monkeypatch.delenv("ALLURE_TESTPLAN_PATH", raising=False)
    if plan:
        monkeypatch.setenv("ALLURE_TESTPLAN_PATH", "plan.json")
    given = {
        "allure_report_dir": None,
        "allure_epics": set(),
        "allure_labels": "",
        "verbose": 1,
        **options,
    }
    assert allure.asked(SimpleNamespace(option=SimpleNamespace(**given))) is asked


@pytest.mark.parametrize("value", [1.5, math.nan, -math.inf, "ä", "half \udcff", "𝄞", np.int64(3)])
def test_a_record_is_made_portable_with_its_json(value):
    plain, text = portable({"b": (value, [None, True]), "a": {"x": value}})
    assert (
        json.loads(text)
        == plain
        == writable(strict({"b": (value, [None, True]), "a": {"x": value}}))
    )
    assert text.index('"a"') < text.index('"b"')
    text.encode("ascii")


def test_what_is_no_plain_data_is_refused():
    with pytest.raises(EvidenceError):
        portable({"a": {1, 2}})
