"""The checklist in a terminal, and the words that all reports share."""

from typing import Any

import pytest
from gonogo.harness.reports import lines, power_table, words

from tests.harness.reports.examples import checklist, clean_rows, go, no_go, part, power, row


def test_a_terminal_line_holds_verdict_id_interval_unit_bound_margin_and_time() -> None:
    line = lines(go(), 160)[0]
    for wanted in (
        "GO ",
        "core.data.schema",
        "0.998 [0.996, 0.999] share",
        "at least 0.95",
        "margin +0.046",
        "1.2 s",
    ):
        assert wanted in line
    assert "stored" in next(line for line in lines(go(), 160) if "beats_baselines" in line)


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_a_terminal_keeps_its_width_and_the_verdict(width: int) -> None:
    told = lines(no_go(), width)
    assert all(
        len(line) <= width
        for line in told
        if "LAUNCH" not in line and "core.parity.merge: The" not in line
    )
    assert [line.split("  ")[0] for line in told[:5]] == ["GO", "GO", "GO", "NO-GO", "GO"]


def test_the_terminal_tells_three_findings_the_rest_by_number_and_what_is_missing() -> None:
    text = "\n".join(lines(no_go(), 120))
    assert text.count("encoder.layer") == 3
    assert "and 2 more" in text
    assert "NOT RUN (1)" in text
    assert "no checkpoint was written" in text
    assert "NOT SELECTED (1)" in text
    assert "5 of 7 judged" in text


def test_the_deciding_part_is_the_worst_of_those_that_settled_it() -> None:
    parts = [
        part("a", "at most 1", 0.2, margin=0.8),
        part("b", "at most 1", 3.0, "NO-GO", margin=-2),
        part("c", "at most 1", 9.0, "NO-GO", margin=-8),
    ]
    assert words.deciding(row("x.y", "NO-GO", *parts))["metric"] == "c"  # type: ignore[index]
    assert (
        words.deciding(row("x.y", "GO", *parts[:1], part("d", "at most 1", 0.9, margin=0.1)))[
            "metric"
        ]
        == "d"
    )  # type: ignore[index]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.9996, "0.9996"),
        (0.99996, "0.99996"),
        (1e-6, "1e-6"),
        (-0.031, "−0.031"),
        ("nan", "nan"),
        ("inf", "∞"),
        (float("nan"), "nan"),
        (-float("inf"), "−∞"),
        (1234567, "1,234,567"),
        (None, "–"),
        (0, "0"),
        (12345.678, "12,346"),
        (1e12, "1e12"),
        (2.60417, "2.604"),
    ],
)
def test_numbers_are_short_and_never_rounded_onto_a_bound(value: Any, text: str) -> None:
    assert words.number(value) == text


def test_power_table_counts_caught_over_planted_per_gate() -> None:
    told = power_table(power()["rows"])
    assert "core.parity.merge  1/2" in told
    assert any("MISSED  S12" in line for line in told)
    assert told[-1] == "caught 4 of 5 planted defects over 3 gates"


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


def test_a_go_is_told_by_the_part_that_had_room_not_by_a_count_that_is_exactly_zero() -> None:
    exact, share = (
        part("excess", "= 0", 0, rule="exact", margin=0.0),
        part("share", "≤ 0.05", 0.003, margin=0.047),
    )
    assert words.deciding(row("x.y", "GO", exact, share)) is share
    assert words.deciding(row("x.y", "GO", exact)) is exact


@pytest.mark.parametrize(
    ("unit", "rule", "text"),
    [
        ("1", "at_most", "0.5"),
        ("count", "exact", "0.5"),
        ("seconds", "ratio", "0.5 times"),
        ("logits", "at_most", "0.5 logits"),
    ],
)
def test_a_plain_number_has_no_unit_and_a_ratio_of_seconds_is_no_time(
    unit: str, rule: str, text: str
) -> None:
    assert words.seen(part("m", "≤ 1", 0.5, unit=unit, rule=rule)) == text


def test_what_blocks_comes_worst_first() -> None:
    rows = [
        row("a.blind", "NOT RUN"),
        row("a.open", "UNDECIDED"),
        row("a.minor", "NO-GO", severity="minor"),
        row("a.fine", "GO"),
        row("a.blocker", "NO-GO", severity="blocker"),
        row("a.unknown", "NO-GO", severity="?"),
        row("a.left", "NOT SELECTED"),
    ]
    assert [each["id"] for each in words.blocking(rows)] == [
        "a.blocker",
        "a.minor",
        "a.unknown",
        "a.open",
        "a.blind",
    ]


def test_criteria_that_no_planted_defect_tried_are_counted() -> None:
    made = go()
    made["rows"].append(row("core.data.new", "GO", part("m", "≤ 1", 0.5)))
    assert words.untried(made["rows"], made["sabotage"]) == [
        "core.data.schema",
        "core.parity.adapter_off",
        "core.data.new",
    ]
    assert "4 of 5 planted defects caught, 2 days old; 3 of 6 criteria not tried" in "\n".join(
        lines(made, 120)
    )


def test_a_narrow_terminal_loses_the_margin_before_the_bound() -> None:
    wide = part("difference", "at most 0.0001", 0.0000031, low=2.8e-6, high=4e-6, margin=9.6e-5)
    line = lines(checklist("GO", row("core.parity.merge", "GO", wide)), 76)[0]
    assert "at most 0.0001" in line
    assert "margin" not in line


def test_every_line_of_the_table_names_its_metric_and_its_unit() -> None:
    one = part("never_trained", "= 0", 1.0, "NO-GO", unit="tensors", rule="exact")
    line = lines(checklist("NO-GO", row("core.learn.trained", "NO-GO", one)), 120)[0]
    assert "never_trained: 1 tensor  = 0" in line
    made = no_go()
    judged = [row for row in made["rows"] if row["parts"]]
    for each, line in zip(judged, lines(made, 300), strict=False):
        assert f"{words.deciding(each)['metric']}: " in line


def test_the_launch_line_names_what_blocks_and_does_not_repeat_why() -> None:
    made = no_go()
    made["launch"]["reasons"] = [
        "core.parity.merge: NO-GO, it differs",
        "core.repro.resume: NOT RUN, no checkpoint",
        "5 of 7 judged",
        "not selected: x",
    ]
    told = lines(made, 120)
    tail = told[next(i for i, line in enumerate(told) if line.startswith("LAUNCH")) + 1 :]
    assert [line.strip() for line in tail] == [
        "NO-GO: core.parity.merge",
        "NOT RUN: core.repro.resume",
        "not selected: x",
    ]


@pytest.mark.parametrize(
    ("days", "told"), [(0.02, ", today"), (1.2, ", 1 day old"), (9, ", 9 days old"), (None, "")]
)
def test_an_age_is_told_in_days(days: Any, told: str) -> None:
    assert words.age(days) == told


def test_clean_rows_have_nothing_that_blocks() -> None:
    assert words.blocking(clean_rows()) == []
