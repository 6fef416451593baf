"""Pictures: well formed, honest about what is missing, drawn whatever the numbers are."""

import re
from xml.etree import ElementTree

from gonogo.harness.reports import pictures
from gonogo.harness.reports.page import charts

from tests.harness.reports.examples import curves, hostile, no_go, part, row


def test_pictures_are_well_formed_and_survive_wild_numbers() -> None:
    made = hostile()
    wild = part("wild", "at most 1e308", 1e308, "NO-GO", low=-1e308, high="inf")
    drawn = [
        pictures.loss_curves(curves()),
        pictures.loss_curves(made["curves"]),
        pictures.parity_matrix(no_go()["rows"]),
    ]
    drawn += [
        pictures.strip(each)
        for line in [*made["rows"], row("a.b", "NO-GO", wild)]
        for each in line["parts"]
    ]
    drawn += [
        pictures.array(name, values)
        for line in made["rows"]
        for name, values in line["arrays"].items()
    ]
    assert all(drawn)
    for svg in drawn:
        ElementTree.fromstring(svg)
    assert (
        pictures.loss_curves(None)
        == pictures.parity_matrix([])
        == pictures.strip(part("m", "", "nan"))
        == ""
    )


def test_a_curve_that_broke_does_not_end_at_its_last_good_loss() -> None:
    assert "ends at nan" in pictures.loss_curves(
        {"pilot": {"step": [1, 2, 3], "loss": [1.0, 0.5, "nan"]}}
    )


def test_thinning_keeps_every_peak() -> None:
    points = [(float(x), 100.0 if x == 5003 else 0.0) for x in range(10_000)]
    kept = charts.thinned(points)
    assert len(kept) <= 300
    assert (5003.0, 100.0) in kept


def _places(svg: str) -> tuple[float, float]:
    """Where the dot and the bound lie on a strip, 0 at the left and 1 at the bound."""
    dot = float(re.search(r'<circle cx="([\d.]+)"', svg)[1])  # type: ignore[index]
    lines = [float(x) for x in re.findall(r'<line x1="([\d.]+)" y1="2.0"', svg)]
    return dot, lines[0]


def test_a_strip_begins_at_zero_so_that_little_and_much_of_a_budget_look_different() -> None:
    little, bound = _places(pictures.strip(part("m", "≤ 0.5", 0.02)))
    much, same = _places(pictures.strip(part("m", "≤ 0.5", 0.42)))
    assert bound == same
    assert little < 0.2 * bound
    assert much > 0.7 * bound


def test_a_strip_moves_close_where_everything_lies_near_the_bound() -> None:
    dot, bound = _places(
        pictures.strip(part("m", "≤ 0.99", 0.9883, "UNDECIDED", low=0.9728, high=1.004))
    )
    assert abs(dot - bound) > 3
