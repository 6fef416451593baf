"""Menus and their utilities, the cost model, the alerts: closed forms and made-up cases."""

import numpy as np
import pytest
from gonogo.methods.layerlens import monitor
from gonogo.methods.layerlens.allocation import exact
from gonogo.methods.layerlens.costs import COSTS, CostModel, fitted
from gonogo.methods.layerlens.layout import Layer, Layout
from gonogo.methods.layerlens.options import Menu, Spectra, options, plan_of
from gonogo.methods.layerlens.plan import Given, Plan, parameters


def layout(layers=3, d=12, o=8):
    one = [
        Layer(f"m.{n}", {"q": (d, o), "v": (d, o), "down": (2 * d, d)}, ("", o), ("down", d))
        for n in range(layers)
    ]
    return Layout(tuple(one), d, 1000, 26)


def spectra(layers=3, seed=0):
    draw = np.random.default_rng(seed)

    def falling():
        return sorted(draw.random(8), reverse=True)

    return Spectra(
        {(n, name): falling() for n in range(layers) for name in ("q", "v")},
        {n: falling() for n in range(layers)},
        {n: falling() for n in range(layers)},
    )


def test_the_utility_of_a_rank_is_the_best_that_an_update_of_that_rank_and_norm_can_do():
    """max <ΔW, G> over rank(ΔW) <= r and spectral norm 1 is the sum of the r largest singular values; reached at U_r V_rᵀ."""
    draw = np.random.default_rng(1)
    gradient = draw.normal(size=(8, 12))
    u, s, v = np.linalg.svd(gradient, full_matrices=False)
    known = Spectra({(0, "q"): list(s)}, {}, {})
    for rank in (1, 3, 8):
        best = u[:, :rank] @ v[:rank]
        assert known.utility(Given(0, "lora", rank, ("q",))) == pytest.approx(
            float((best * gradient).sum())
        )
        for _ in range(200):  # no other update of that rank and norm does better
            other = draw.normal(size=(8, rank)) @ draw.normal(size=(rank, 12))
            other /= np.linalg.norm(other, 2)
            assert (
                float((other * gradient).sum())
                <= known.utility(Given(0, "lora", rank, ("q",))) + 1e-9
            )


def test_parameters_are_those_of_the_formulas():
    where = layout()
    assert parameters(Given(0, "lora", 3, ("q", "v")), where) == 3 * (12 + 8) * 2
    assert parameters(Given(0, "adapter", 3), where) == 2 * 3 * 12 + 3 + 12
    assert parameters(Given(0, "prefix", 3), where) == 2 * 3 * 8
    assert parameters(Given(0, "none"), where) == 0


def test_a_menu_offers_every_method_at_every_size_that_fits():
    where = layout()
    menu = Menu(("q", "v"), ranks=(1, 4, 8), widths=(2, 12), tokens=(1, 2))
    names = [(one.method, one.size) for one in menu.sites(where)[0]]
    assert names == [
        ("none", 0),
        ("lora", 1),
        ("lora", 4),
        ("adapter", 2),
        ("prefix", 1),
        ("prefix", 2),
    ]  # 8 and 12 are whole sides
    by_module = Menu(("q", "v"), ranks=(1, 4), by_module=True).sites(where)
    assert len(by_module) == 6
    assert all({one.method for one in some} <= {"none", "lora"} for some in by_module)


@pytest.mark.parametrize("by_module", [False, True])
@pytest.mark.parametrize("modules", [("q",), ("q", "v")])
def test_a_plan_is_what_was_allocated(by_module, modules):
    where, menu = (
        layout(),
        Menu(
            modules,
            ranks=(1, 2, 4),
            widths=() if by_module else (1, 2),
            tokens=() if by_module else (1, 2),
            by_module=by_module,
        ),
    )
    some = options(menu, where, spectra(), lambda one: {})
    for budget in (0.5, 60, 150, 400, 10_000):
        found = exact(some, {"parameters": budget})
        made = plan_of(found, menu, where)
        assert made.parameters(where) == found.costs["parameters"] <= budget
        assert {one.layer for one in made.sites} == {0, 1, 2}
        assert sum(spectra().utility(one) for one in made.sites) == pytest.approx(found.utility)


def test_nothing_is_worth_nothing_and_something_is_worth_something():
    some = options(
        Menu(("q",), tokens=(1,)),
        layout(),
        Spectra({(n, "q"): [0.0] * 8 for n in range(3)}, {}, {n: [0.0] for n in range(3)}),
        lambda one: {},
    )
    assert {one.utility for one in some if one.method == "none"} == {0.0}
    assert min(one.utility for one in some if one.method != "none") > 0


# ── costs ────────────────────────────────────────────────────────────────────────────────────────────────────────────
def costs(value):
    return {name: value * scale for name, scale in zip(COSTS, (1.0, 10.0, 0.1), strict=True)}


def test_costs_that_are_linear_are_found_exactly():
    base, layers = costs(100.0), 4
    seen = {
        name: [(size, costs(100.0 + layers * (a + b * size))) for size in (2, 8, 16)]
        for name, (a, b) in {"lora": (1.0, 0.5), "adapter": (0.0, 2.0)}.items()
    }
    model = fitted(base, seen, layers)
    plan = Plan.of([Given(0, "lora", 5, ("q", "v")), Given(1, "adapter", 3), Given(2, "none")])
    wanted = costs(100.0 + 1 + 2.5 + 6.0)
    assert model.total(plan, modules=2) == pytest.approx(wanted)
    assert model.total(Plan.of([Given(0, "lora", 5, ("q",))]), modules=2) == pytest.approx(
        costs(100.0 + 1.75)
    )
    assert CostModel.read(model.plain()) == model


def test_one_size_is_no_line():
    with pytest.raises(ValueError, match="two or more"):
        fitted(costs(1.0), {"lora": [(2, costs(2.0))]}, 1)


# ── alerts ───────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_every_alert_is_raised_by_its_case_and_by_no_healthy_one():
    assert monitor.missed() == []
    assert set(monitor.RAISING) == set(monitor.CHECKS)
    for name, seen in monitor.RAISING.items():
        assert [line.split(":")[0] for line in monitor.alerts(seen)].count(name) >= 1


def test_an_alert_that_cannot_be_raised_is_missed(monkeypatch):
    monkeypatch.setitem(monitor.CHECKS, "flat curve", lambda seen: [])
    assert monitor.missed() == ["flat curve"]
    monkeypatch.setitem(monitor.CHECKS, "flat curve", lambda seen: ["always"])
    assert monitor.missed() == ["flat curve"]


def test_the_correlation_is_numpys():
    draw = np.random.default_rng(3)
    x, y = draw.normal(size=20), draw.normal(size=20)
    assert monitor.correlation(x, y) == pytest.approx(np.corrcoef(x, y)[0, 1])
    assert monitor.correlation([1.0, 1.0], [1.0, 2.0]) == 0.0
