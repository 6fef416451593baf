"""Bootstrap and sign-flip against scipy, statsmodels and full enumeration."""

from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest
from gonogo.harness.criteria.read import Criterion, Part
from gonogo.harness.judging.verdict import Outcome, judge
from gonogo.harness.statistics.resampling import bca_difference, bca_limits, bootstrap_mean, lattice
from gonogo.harness.statistics.signflip import _drawn, sign_flip_p, sign_flip_test
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar

RNG = np.random.default_rng(41)
HITS = (RNG.random(500) < 0.9).astype(float)
CHANGES = RNG.choice([-1.0, 0.0, 1.0], 500, p=[0.1, 0.75, 0.15])
SKEWED = RNG.exponential(size=120)


@pytest.mark.parametrize(
    "values", [[0.0, 1.0, 1.0, 1.0], [-1.0, 0.0, 1.0, 1.0], [0.0, 0.5, 2.0, 2.0, 3.5]]
)
def test_the_exact_bootstrap_is_every_resample(values):
    means = sorted(np.mean(sample) for sample in product(values, repeat=len(values)))
    found = bootstrap_mean(np.sort(np.array(values)))
    for x in [*means, -2.0, 9.0, 0.123]:
        by_hand = (
            np.mean([mean < x - 1e-9 for mean in means])
            + np.mean([abs(mean - x) <= 1e-9 for mean in means]) / 2
        )
        assert found.below(x) == pytest.approx(by_hand, abs=1e-12)
    for p in (0.03, 0.5, 0.96):
        assert found.quantile(p) == pytest.approx(means[int(np.ceil(p * len(means) - 1e-9)) - 1])


@pytest.mark.parametrize("values", [HITS, CHANGES, SKEWED, np.round(4 * SKEWED)])
def test_bca_limits_are_those_of_scipy(values):
    whole = stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=20_000,
        confidence_level=0.9,
        batch=2000,
        rng=np.random.default_rng(2),
    )
    seen = bca_limits(values.tolist())
    slack = 0.04 * (seen.high - seen.low) + 1 / values.size * (
        values.size == 500
    )  # a step of the lattice
    assert (seen.low, seen.high) == pytest.approx(tuple(whole.confidence_interval), abs=slack)
    assert bca_limits(values[::-1].tolist()) == seen


@pytest.mark.parametrize(
    "values", [[0.0] * 17 + [1.0] * 2 + [6.0], [0.0] * 3 + [1.0] * 20 + [2.0] * 2]
)
def test_bca_is_the_published_formula_on_every_resample(values):
    n, kinds = len(values), np.unique(values)
    shares = [values.count(kind) / n for kind in kinds]
    counts = [(a, b, n - a - b) for a in range(n + 1) for b in range(n + 1 - a)]
    means = np.round([np.dot(count, kinds) / n for count in counts], 9)
    chances = stats.multinomial.pmf(counts, n, shares)
    order = np.argsort(means, kind="stable")
    total, estimate = np.cumsum(chances[order]), round(float(np.mean(values)), 9)
    bias = stats.norm.ppf(chances[means < estimate].sum() + chances[means == estimate].sum() / 2)
    pull = stats.skew(values) / (6 * np.sqrt(n))
    seen = bca_limits(values)
    for limit, z in ((seen.low, stats.norm.ppf(0.05)), (seen.high, stats.norm.ppf(0.95))):
        level = stats.norm.cdf(bias + (bias + z) / (1 - pull * (bias + z)))
        assert limit == pytest.approx(means[order][np.searchsorted(total, level - 1e-12)])


def test_bca_moves_with_the_skew_where_t_limits_cannot():
    seen = bca_limits(SKEWED.tolist())
    assert seen.high - seen.estimate > 1.05 * (seen.estimate - seen.low)


def test_the_same_limits_come_out_of_other_draws():
    first, second = (
        bca_limits(values, draws=40_000)
        for values in (SKEWED.tolist(), (SKEWED + 1e-9 * RNG.random(120)).tolist())
    )
    assert first.high == pytest.approx(second.high, rel=2e-3)


@pytest.mark.parametrize(
    ("values", "step"),
    [
        ([0.0, 1.0], 1.0),
        ([-1.0, 0.0, 1.0], 1.0),
        ([0.0, 0.4, 1.0], 0.2),
        ([0.0, 1.0, np.pi], None),
        ([2.0], None),
        (list(range(66)), None),
    ],
)
def test_a_lattice_is_found_where_there_is_one(values, step):
    found = lattice(np.array(values, float))
    assert found is None if step is None else found == pytest.approx(step)


def test_a_bootstrap_of_one_number_or_of_few_units_is_refused():
    with pytest.raises(ValueError, match="knows nothing of the spread"):
        bca_limits([1.0] * 50)
    with pytest.raises(ValueError, match="19 of the 20"):
        bca_limits(range(19))
    with pytest.raises(ValueError, match="paired"):
        bca_difference(range(30), range(31))


def test_all_equal_is_undecided_and_never_go():
    part = Part(
        "x", "1", "at_least", bound=0.5, direction="at_least", statistic="mean", interval="bca"
    )
    seen = SimpleNamespace(
        values={"x": (1.0,) * 50},
        unit={"x": "1"},
        sampling_unit="row",
        vetoes=(),
        provenance="measured",
    )
    verdict = judge(Criterion("core.a.b", "claim", "A", "normal", "why", "at_least", (part,)), seen)
    assert verdict.outcome is Outcome.UNDECIDED
    assert verdict.p == 1
    varied = SimpleNamespace(**{**vars(seen), "values": {"x": (1.0, 0.9) * 25}})
    assert (
        judge(
            Criterion("core.a.b", "claim", "A", "normal", "why", "at_least", (part,)), varied
        ).outcome
        is Outcome.GO
    )


def enumerated(differences) -> float:
    sums = [
        np.dot(signs, np.abs(differences)) for signs in product((-1, 1), repeat=len(differences))
    ]
    return float(np.mean([total >= sum(differences) - 1e-9 for total in sums]))


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.one_of(st.integers(-3, 3), st.floats(-2, 2).map(lambda x: round(x, 3))),
        min_size=1,
        max_size=9,
    ).filter(any)
)
def test_sign_flip_is_the_full_enumeration(differences):
    assert sign_flip_p(differences) == pytest.approx(enumerated(differences))


@pytest.mark.parametrize("n", [9, 10])
def test_halves_meet_as_the_full_enumeration_does(n):
    differences = RNG.standard_normal(n) + 0.3
    assert sign_flip_p(differences) == pytest.approx(enumerated(differences))


def test_sign_flip_is_that_of_scipy():
    differences = RNG.standard_normal(12) + 0.4
    whole = stats.permutation_test(
        (differences,),
        lambda x, axis: x.sum(axis=axis),
        permutation_type="samples",
        n_resamples=np.inf,
        alternative="greater",
    )
    assert sign_flip_p(differences) == pytest.approx(whole.pvalue)


def test_sign_flip_of_hits_is_the_exact_test_of_mcnemar():
    gained, lost = int((CHANGES > 0).sum()), int((CHANGES < 0).sum())
    two_sided = mcnemar([[0, gained], [lost, 0]], exact=True).pvalue
    assert sign_flip_p(CHANGES) == pytest.approx(two_sided / 2)


def test_drawn_flips_agree_with_the_exact_lattice():
    differences = RNG.choice([-1.0, -0.5, 0.0, 0.5, 1.0], 300, p=[0.17, 0.1, 0.4, 0.13, 0.2])
    sizes = np.sort(np.abs(differences[differences != 0]))
    exact = sign_flip_p(differences)
    assert 0.001 < exact < 0.4
    assert _drawn(sizes, differences.sum() - 1e-6, 40_000) == pytest.approx(
        exact, abs=4 * np.sqrt(exact / 40_000)
    )


def test_nothing_but_zeros_shows_nothing():
    assert sign_flip_p([0.0, 0.0]) == 1
    assert sign_flip_p(np.zeros(0)) == 1


def test_sign_flip_tests_at_any_bound_in_both_directions():
    ours, theirs = RNG.standard_normal(10) + 1, np.zeros(10)
    seen = sign_flip_test(ours, theirs)
    assert seen.p(0.5, above=True) == pytest.approx(enumerated(ours - 0.5))
    assert seen.p(0.5, above=False) == pytest.approx(enumerated(0.5 - ours))
    assert not seen.limits


def test_the_judge_takes_sign_flip_and_bca():
    arms = {"x": tuple(HITS), "ref": tuple(HITS - CHANGES)}
    seen = SimpleNamespace(
        values=arms,
        unit=dict.fromkeys(arms, "1"),
        sampling_unit="row",
        vetoes=(),
        provenance="measured",
    )
    for interval in ("sign-flip", "bca"):
        part = Part("x", "1", "superior", reference="ref", direction="at_least", interval=interval)
        better, worse = (
            judge(Criterion("core.a.b", "claim", "A", "normal", "why", "superior", (one,)), seen)
            for one in (
                part,
                Part(
                    "ref", "1", "superior", reference="x", direction="at_least", interval=interval
                ),
            )
        )
        assert (better.outcome, worse.outcome) == (Outcome.GO, Outcome.NO_GO)
        assert better.p < 0.05
