"""Verdicts over time: the store's newest on a subject, what of them is news, and its picture on LayerLens' page."""

import math
import re
from typing import Any
from xml.etree import ElementTree

import pytest
from gonogo.gates.layerlens.page import history as lens_history
from gonogo.harness.evidence import Store
from gonogo.harness.reports.history import tracked

from tests.gates.layerlens.page.examples import go, hostile
from tests.gates.layerlens.page.test_page import _page, _part_of, _words
from tests.harness.reports.examples import HOSTILE, Reader

ID = "layerlens.task.quality"


def verdict(
    outcome: str, estimate: Any, bound: str = "≥ 0.8", metric: str = "acc"
) -> dict[str, Any]:
    part = {
        "metric": metric,
        "unit": "accuracy",
        "rule": "at_least",
        "bound": bound,
        "estimate": estimate,
        "low": 0.7,
        "high": 0.9,
        "margin": 0.1,
        "outcome": outcome,
    }
    return {"outcome": outcome, "reason": "", "parts": [part]}


def record(at: float, told: dict[str, Any], key: str = "", identity: str = ID) -> dict[str, Any]:
    return {
        "criterion_id": identity,
        "evidence_key": key or f"k{at}",
        "verdict": told,
        "created_at": at,
    }


def test_the_store_hands_out_the_newest_valid_verdicts_of_a_subject(tmp_path: Any) -> None:
    store = Store(f"sqlite:///{tmp_path / 'centralized.db'}", tmp_path / "artifacts")
    session = store.open_session({})
    for at in range(5):
        store.put_verdict(session, ID, "mine", f"e{at}", {}, verdict("GO", 0.8 + at / 100), 0.0)
    store.put_verdict(session, ID, "other", "x", {}, verdict("GO", 1.0), 0.0)
    store.put_verdict(session, "layerlens.rank.range", "mine", "y", {}, verdict("GO", 1.0), 0.0)
    store.invalidate("verdicts", "e3", "a wrong dev set")
    seen = [(row["criterion_id"], row["evidence_key"]) for row in store.past("mine", 3)]
    assert seen == [(ID, "e1"), (ID, "e2"), (ID, "e4"), ("layerlens.rank.range", "y")]
    assert store.past("mine", 3)[0]["verdict"]["outcome"] == "GO"
    assert store.past("nobody") == []
    store.close()


def test_the_same_evidence_judged_again_is_no_news() -> None:
    told = tracked(
        [
            record(0, verdict("UNDECIDED", 0.75), "a"),
            record(60, verdict("UNDECIDED", 0.75), "a"),
            record(120, verdict("GO", 0.85), "b"),
        ]
    )[ID]
    assert [
        (point["outcome"], point["estimate"], point["times"], point["at"])
        for point in told["points"]
    ] == [("UNDECIDED", 0.75, 2, "1970-01-01T00:00:00Z"), ("GO", 0.85, 1, "1970-01-01T00:02:00Z")]
    assert (told["metric"], told["unit"]) == ("acc", "accuracy")
    assert tracked([record(0, verdict("GO", 0.9), "a"), record(60, verdict("GO", 0.9), "a")]) == {}


def test_a_moved_bound_is_news_and_the_metric_is_that_of_the_newest_verdict() -> None:
    other = verdict("NO-GO", 3.0, metric="count")
    told = tracked(
        [
            record(0, other),
            record(1, verdict("GO", 0.85, "≥ 0.7")),
            record(2, verdict("GO", 0.85)),
            record(3, {"outcome": "NOT RUN", "parts": []}),
        ]
    )[ID]
    assert told["metric"] == "acc"
    assert [(point["outcome"], point["estimate"], point["bound"]) for point in told["points"]] == [
        ("NO-GO", None, None),
        ("GO", 0.85, "≥ 0.7"),
        ("GO", 0.85, "≥ 0.8"),
    ]
    assert (
        tracked([record(0, verdict("GO", 0.85)), record(1, {"outcome": "NOT RUN", "parts": []})])
        == {}
    )


def test_the_page_shows_what_was_seen_each_time() -> None:
    made = go()
    made["history"] = tracked(
        [
            record(0, verdict("NO-GO", 0.75)),
            record(1, verdict("UNDECIDED", 0.79)),
            record(86400, verdict("GO", 0.85)),
        ]
    )
    told = _part_of(_page(made), "history")
    assert "1970-01-02T00:00:00Z ✓ GO 0.85 [0.7, 0.9] accuracy ≥ 0.8 1 k86400" in _words(told)
    svg = re.search(r"<svg .*?</svg>", told, re.S)[0]  # type: ignore[index]
    assert "over 3 verdicts" in svg
    heights = [float(y) for y in re.findall(r'<circle cx="[\d.]+" cy="([\d.]+)"', svg)]
    assert len(heights) == 2  # the cross of the NO-GO is none
    assert heights[1] < heights[0]
    assert svg.count("stroke-dasharray:2 3") == 1


def test_without_a_second_evidence_the_page_says_so() -> None:
    assert "has been judged on other evidence before" in _part_of(_page(go()), "history")
    made = go()
    made["history"] = {
        "core.freeze": {"metric": "m", "points": [{}, {}]},
        ID: {"points": [{}]},
        "layerlens.x": 3,
    }
    assert "has been judged on other evidence before" in _part_of(_page(made), "history")


@pytest.mark.parametrize("estimate", ["nan", None, HOSTILE, math.inf])
def test_what_is_no_number_is_in_the_table_and_not_in_the_picture(estimate: Any) -> None:
    points = [
        {"outcome": "GO", "estimate": 0.5, "bound": "≥ 0.2"},
        {"outcome": HOSTILE, "estimate": estimate, "low": "nan", "bound": HOSTILE, "at": HOSTILE},
    ]
    svg = lens_history.track(points, HOSTILE, HOSTILE)
    ElementTree.fromstring(svg)
    assert svg.count("<circle") == 1
    assert not re.search(r'="[^"]*(?:nan|inf)\b', re.sub(r'aria-label="[^"]*"', "", svg))
    assert lens_history.track(points[1:], "a", "b") == ""


def test_a_hostile_history_stays_text() -> None:
    made = hostile()
    point = {
        "outcome": HOSTILE,
        "estimate": 1e308,
        "low": -1e308,
        "high": HOSTILE,
        "bound": HOSTILE,
        "at": HOSTILE,
        "times": HOSTILE,
        "evidence_key": HOSTILE,
    }
    made["history"] = {
        f"layerlens.{HOSTILE}": {"metric": HOSTILE, "unit": HOSTILE, "points": [point] * 200},
        ID: HOSTILE,
    }
    page = Reader(_page(made))
    assert "<script>alert(1)</script>" in page.words
    assert not {"script", "img"} & set(page.tags)
