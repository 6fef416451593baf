"""The pictures and tables of LayerLens' page: each number lies where it should, in the picture and beside it."""

import math
import re

import pytest
from gonogo.gates.layerlens.page import ablations, facts, pictures
from gonogo.gates.layerlens.page.facts import DIVERSITY
from gonogo.harness.reports.page.facts import rows_of_system

from tests.gates.layerlens.page.examples import GAIN, WORTH, go, holes
from tests.gates.layerlens.page.test_page import _page, _part_of, _picture, _words


# ── pictures ─────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_fisher_stands_with_its_interval_and_utility_beside_it() -> None:
    """Modules' errors 0.1 and 0.3: a layer's is at most 0.4, so ± 1.645 · 0.4."""
    svg, told = (
        _picture(_page(go()), "Fisher trace and utility"),
        _words(_part_of(_page(go()), "importance")),
    )
    assert [f">layer {n}<" in svg for n in range(6)] == [True] * 6
    assert "3 12 0.658 6" in told
    lows, highs = zip(
        *(
            (float(a), float(b))
            for a, b in re.findall(
                r'<line x1="([\d.]+)" y1="[\d.]+" x2="([\d.]+)" y2="[\d.]+" style="stroke:[^;]*;stroke-width:2.5',
                svg,
            )
        ),
        strict=True,
    )
    middles = [float(x) for x in re.findall(r'<circle cx="([\d.]+)"', svg)]
    assert [(low + high) / 2 for low, high in zip(lows, highs, strict=True)] == pytest.approx(
        middles, abs=0.11
    )
    unit = (middles[3] - middles[1]) / (12 - 2)
    assert highs[0] - lows[0] == pytest.approx(2 * 0.658 * unit, abs=0.3)
    bars = [float(wide) for wide in re.findall(r'width="([\d.]+)" height="12.0"', svg)]
    assert [wide / bars[3] for wide in bars] == pytest.approx(
        [value / 6 for value in WORTH], abs=0.01
    )


def test_a_layers_own_error_stands_in_place_of_what_its_modules_allow_at_most() -> None:
    made = go()
    assert "± at most" in _part_of(_page(made), "importance")
    made["rows"][0]["arrays"]["fisher error by layer"] = [0.2, 0.2, 0.2, 0.2, 0.2, "nan"]
    told = _words(_part_of(_page(made), "importance"))
    assert "3 12 0.329 6" in told
    assert "5 8 not a number 4" in told
    assert "at most" not in told
    assert "90 % intervals" in told


def test_without_standard_errors_no_interval_is_drawn() -> None:
    svg = pictures.importance([(1.0, None), (2.0, math.nan), (math.nan, 0.1)], [1.0, math.inf])
    assert "stroke-width:2.5" not in svg
    assert svg.count("not a number") == 2
    assert "No standard errors are in the record" in _page(holes())
    assert pictures.importance([(math.nan, 0.1)], [math.nan]) == ""


def test_a_layer_with_a_module_without_number_has_none() -> None:
    assert facts.summed([[1.0, 2.0], [0.5, 0.25]]) == [1.5, 2.25]
    assert [math.isnan(value) for value in facts.summed([[math.nan, 1.0, 2.0], [1.0, 1.0]])] == [
        True,
        False,
        True,
    ]
    assert facts.summed([]) == []


def test_the_heat_map_has_a_cell_per_module_and_layer() -> None:
    svg = _picture(_page(go()), "modules in")
    assert len(re.findall(r"<rect [^>]*><title>", svg)) == 12
    assert "attention.self.query" in svg
    assert float(re.search(r'opacity:([\d.]+)"><title>4.5<', svg)[1]) == 1.0  # type: ignore[index]
    bare = pictures.heat([], [[1.0, math.nan]], "nats")
    assert "stroke-dasharray:2 2" in bare
    assert "module 0" in bare
    assert pictures.heat(["a"], [[math.nan]], "nats") == ""


def test_a_plan_stands_beside_the_utility_of_its_layers() -> None:
    svg = _picture(_page(go()), "what the plan gives")
    lines = re.findall(r">layer (\d)</text><text [^>]*>([^<]*)</text>", svg)
    assert lines == [
        ("0", "prefix 8"),
        ("1", "nothing"),
        ("2", "nothing"),
        ("3", "LoRA 4"),
        ("4", "LoRA 4"),
        ("5", "adapter 2"),
    ]
    bars = [float(wide) for wide in re.findall(r'width="([\d.]+)" height="12.0"', svg)]
    assert [wide / bars[3] for wide in bars] == pytest.approx(
        [value / 6 for value in WORTH], abs=0.01
    )
    assert facts.plan(rows_of_system(holes(), "layerlens"), DIVERSITY) == []


def test_equal_numbers_lie_on_the_diagonal() -> None:
    svg = pictures.scatter([(1.0, 1.0), (2.0, 3.0)], ("x", "y"), "t", True)
    ends = re.findall(r"[\d.]+", re.search(r'points="([^"]*)"', svg)[1])  # type: ignore[index]
    assert f'cx="{ends[0]}" cy="{ends[1]}"' in svg
    assert "polyline" not in pictures.scatter([(1.0, 1.0)], ("x", "y"), "t")
    assert pictures.scatter([(math.nan, 1.0)], ("x", "y"), "t") == ""
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
    seen = facts.truth(rows_of_system(go(), "layerlens"), "sst2")
    assert (seen.utility, seen.gain, len(seen.by_seed)) == (WORTH, GAIN, 3)
    assert facts.hits(seen) == 3


def test_layers_are_ranked_by_the_sum_over_their_sites() -> None:
    sites = ["0.q", "0.v", "1.q", "1.v", "2.q", "2.v", "3.q", "3.v"]
    assert facts.top(sites, [3.0, 3.0, 5.0, 0.0, 1.0, 1.5, 2.0, 2.0]) == ["0", "1", "3"]
    assert facts.top(sites, [math.nan] * 8) == []
    assert facts.top(sites, [1.0]) == []
    four = ["0", "1", "2", "3"]
    assert facts.hits(facts.Truth(four, [4.0, 3.0, 2.0, 1.0], [1.0, 2.0, 3.0, 4.0], [])) == 2
    assert facts.hits(facts.Truth(four, [], [1.0, 2.0, 3.0, 4.0], [])) is None


def test_every_score_stands_with_its_correlation_and_those_of_the_same_gradients_are_called_circular() -> (
    None
):
    told = _part_of(_page(go()), "truth")
    heads = re.findall(r'<th scope="col">([^<]*)</th>', told)
    circular = {head.removesuffix(" (circular)").lower() for head in heads if "circular" in head}
    assert circular == {"fisher trace", "gradient norm", "taylor", "gradient of b"}
    assert {"utility", "output energy", "between seeds"} <= set(heads)
    assert "sst2 6 3 0.9 0.87 0.84 0.81 0.78 0.75 0.987" in _words(told)


# ── trained arms ─────────────────────────────────────────────────────────────────────────────────────────────────────
def test_an_arm_that_another_beats_is_not_on_the_front() -> None:
    points = {
        "a": (10.0, 0.8),
        "b": (20.0, 0.9),
        "c": (30.0, 0.9),
        "d": (10.0, 0.7),
        "e": (5.0, 0.1),
    }
    assert facts.front(points) == ["a", "b", "e"]
    assert facts.front({"a": (1.0, 0.5), "b": (1.0, 0.5)}) == ["a", "b"]
    told = _words(_part_of(_page(go()), "arms"))
    assert "On the front, dashed: full fine-tuning, uniform LoRA, AdaLoRA, LayerLens' plan" in told


def _marks(svg: str) -> list[float]:
    """Where disc, ring and square lie, left to right."""
    disc, ring = (
        float(re.search(rf'<circle cx="([\d.]+)" cy="[\d.]+" r="5" style="fill:{fill}', svg)[1])
        for fill in (r"var\(--curve", r"var\(--paper")
    )  # type: ignore[index]
    return [disc, ring, float(re.search(r'<rect x="([\d.]+)"', svg)[1]) + 4.5]  # type: ignore[index]


def test_the_front_is_drawn_on_a_logarithmic_axis() -> None:
    svg = pictures.pareto(
        {
            "full": (40_000.0, 0.9, [0.89, 0.91]),
            "layerlens": (10_000.0, 0.8, []),
            "uniform": (20_000.0, 0.7, []),
        },
        ["full", "layerlens"],
    )
    disc, ring, square = _marks(svg)
    assert ring - disc == pytest.approx(square - ring, abs=0.2)
    assert svg.count('r="1.8"') == 2
    assert "axis broken" not in svg
    assert all(
        f">{word}<" in svg for word in ("10,000", "40,000", "full fine-tuning", "uniform LoRA")
    )
    assert pictures.pareto({"full": (0.0, 0.9, []), "uniform": (1e5, math.nan, [])}, []) == ""


def test_the_axis_is_broken_before_what_stores_many_times_more() -> None:
    svg = pictures.pareto(
        {
            "full": (2.27e7, 0.9, []),
            "layerlens": (35_800.0, 0.8, []),
            "uniform": (36_864.0, 0.7, []),
        },
        [],
    )
    disc, ring, square = _marks(svg)
    assert disc < ring < 396 < square
    assert ring - disc > 200
    assert all(f">{word}<" in svg for word in ("35,800", "36,864", "22.7 M", "axis broken"))


def test_all_cells_and_arms_stand_in_one_table() -> None:
    told = _words(_part_of(_page(go()), "arms"))
    assert "sst2 LayerLens' plan 0.869 35,800 61.5 410 0.001577" in told
    assert "digits adapters alone 0.862 36,000 61.5 410 0.001586" in told
    assert facts.by_seed(rows_of_system(go(), "layerlens"), "digits", "full") == pytest.approx(
        [0.881, 0.883, 0.885]
    )


def test_a_cell_without_arms_is_told() -> None:
    page = _page(holes())
    assert "modules no trained arms missing" in _words(_part_of(page, "arms"))
    absent = _words(_part_of(page, "absent"))
    for told in (
        "modules : trained arms missing",
        "sst2 : solo gains missing",
        "smollm2: compared with nothing",
        "declare it",
        "layerlens.rank.range : not in this session",
        "the sample is empty",
    ):
        assert told in absent
    assert "without a number: full fine-tuning, LayerLens" in _words(_part_of(page, "arms"))


# ── ablations ────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_ablations_stand_beside_the_plan_with_their_limits_and_what_these_say() -> None:
    page = _page(go())
    told = _words(_part_of(page, "ablations"))
    assert (
        "sst2 LayerLens' plan 0.869 missing 35,800 – the plan itself lora 4, adapter 2, none"
        in told
    )
    assert (
        "sst2 uniform LoRA 0.871 missing 36,864 0.002 [−0.01, 0.014] no clear difference lora 4, lora 4, lora 4"
        in told
    )
    assert (
        "sst2 LoRA alone, ranks by utility 0.85 0.84 · 0.85 · 0.86 36,864 −0.019 [−0.03, −0.008] worse than the plan lora 8, lora 4, none"
        in told
    )
    assert (
        "digits utilities dealt out anew 0.9 missing 35,800 0.031 [0.011, 0.051] beats the plan: the layers that utility names are the wrong ones here none, lora 4, adapter 2 / adapter 2"
        in told
    )
    assert (
        "sst2 utilities dealt out anew missing missing missing missing not measured none, lora 4"
        in told
    )
    svg = _picture(page, "accuracy less that of the plan")
    assert svg.count(">dealt out anew<") == 1
    assert "LayerLens" not in svg.split("</title>")[1]


@pytest.mark.parametrize(
    ("arm", "seen", "said"),
    [
        (
            "layerlens shuffled",
            (0.01, -0.01, 0.03),
            "<b>ahead of the plan</b>, within the limits: that utility names the right layers is not shown here",
        ),
        (
            "layerlens inverted",
            (-0.01, -0.03, 0.01),
            "no clear difference: that utility names the right layers is not shown here",
        ),
        (
            "layerlens inverted",
            (-0.02, -0.03, -0.01),
            "worse than the plan: which layers get what matters, and utility knows some of it",
        ),
        (
            "layerlens shuffled",
            (0.02, math.nan, math.nan),
            "<b>ahead of the plan</b>, within the limits: that utility names the right layers is not shown here",
        ),
        ("uniform", (0.02, 0.01, 0.03), "<b>better than the plan</b>"),
        ("uniform", (0.0, 0.0, 0.0), "no clear difference"),
    ],
)
def test_a_difference_says_no_more_than_its_limits_do(
    arm: str, seen: tuple[float, float, float], said: str
) -> None:
    assert ablations.conclusion(arm, *seen) == said


def test_an_ablation_that_comes_to_the_same_plan_says_so_and_no_section_stands_where_none_was_asked_for() -> (
    None
):
    made = go()
    row = next(each for each in made["rows"] if each["id"] == "layerlens.monitor.suspicious")
    row["digests"] = {
        "ablations@sst2": row["digests"]["ablations@sst2"].replace(
            "lora 8, lora 4, none", "lora 4, adapter 2, none"
        )
    }
    told = _words(_part_of(_page(made), "ablations"))
    assert "[−0.03, −0.008] the same plan" in told
    row["digests"] = {}
    assert 'id="ablations"' not in _page(made)
