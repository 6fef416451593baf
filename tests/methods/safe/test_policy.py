"""Consultation policies on tables whose best answer is known: closed forms, limits, sublinear regret, coverage at every time."""

import itertools
import math

import numpy as np
import pytest
from gonogo.methods.safe import policy, policy_scores
from gonogo.methods.safe.policy_scores import (
    Table,
    anytime_lower,
    argmax,
    pareto,
    per_item,
    pure,
    regret,
    scores,
)

LATENCY = [0.010, 0.012, 0.014]


def table(**change):
    """Six items: audio helps the first two, both tokens help the third only at 8, the fourth is hurt, the last two are even."""
    held = {
        "need": ["audio", "audio", "both", "none", "none", "none"],
        "correct": [[0, 1, 1], [0, 1, 1], [0, 0, 1], [1, 0, 0], [1, 1, 1], [0, 0, 0]],
        "log_p": np.zeros((6, 3)),
        "entropy": [0.9, 0.8, 0.7, 0.1, 0.2, 0.75],
        "confidence": [0.1, 0.2, 0.3, 0.9, 0.8, 0.25],
        "features": np.eye(6),
        "latency": LATENCY,
    }
    return Table(**held | change)


def drawn(n, seed=0, kinds=6):
    """Rows of six kinds (one-hot features), the outcome of each action certain within a kind: the best action is known."""
    kind = np.random.default_rng(seed).integers(0, kinds, n)
    six = table()
    return Table(
        six.need[kind],
        six.correct[kind],
        six.log_p[kind],
        six.entropy[kind],
        six.confidence[kind],
        np.eye(kinds)[kind],
        LATENCY,
    )


def test_scores_by_hand():
    seen = scores(table(), pure([2, 1, 0, 1, 0, 0], 3))
    wanted = {
        "consultation": 3 / 6,
        "skip": 3 / 6,
        "accuracy": 3 / 6,
        "net_value": 3 / 6 - 2 / 6,
        "tokens": (8 + 4 + 4) / 6,
        "latency_s": (0.014 + 2 * 0.012 + 3 * 0.010) / 6,
        "skip_audio": 0.0,
        "skip_both": 1.0,
        "skip_none": 2 / 3,
        "accuracy_audio": 1.0,
        "accuracy_both": 0.0,
        "accuracy_none": 1 / 3,
        "accuracy_dependent": 2 / 3,
        "false_consultation": 1 / 3,
        "missed_consultation": 1 / 3,
    }
    assert seen == pytest.approx(wanted)


def random_gate(table, rate, tokens):
    """Consults with `tokens` at this rate, whatever the item."""
    return (1 - rate) * policy.always(table, 0) + rate * policy.always(table, tokens)


@pytest.mark.parametrize("rate", [0.0, 0.3, 1.0])
def test_a_random_gate_scores_its_closed_form(rate):
    """Whatever the item: each score is linear in the rate between always off and always on."""
    six = table()
    off, on = scores(six, policy.always(six, 0)), scores(six, policy.always(six, 8))
    seen = scores(six, random_gate(six, rate, 8))
    assert seen == pytest.approx({name: (1 - rate) * off[name] + rate * on[name] for name in off})
    assert seen["false_consultation"] == pytest.approx(rate)
    assert seen["missed_consultation"] == pytest.approx(1 - rate)


def test_a_random_gate_scores_as_a_sampled_one_does():
    rows, rate = drawn(20_000), 0.3
    consult = np.random.default_rng(1).random(rows.n) < rate
    sampled = scores(rows, pure(np.where(consult, 2, 0), 3))
    exact = scores(rows, random_gate(rows, rate, 8))
    assert all(
        abs(sampled[name] - exact[name]) < (0.2 if name == "tokens" else 0.02) for name in exact
    )


def test_consultation_and_skip_sum_to_one():
    rows = drawn(50)
    chosen = np.random.default_rng(2).dirichlet([1, 1, 1], 50)
    seen = scores(rows, chosen)
    assert seen["consultation"] + seen["skip"] == pytest.approx(1)
    assert seen["accuracy"] == pytest.approx(per_item(rows, chosen)["correct"].mean())


def test_the_matched_random_gate_has_the_same_rates_and_less_value():
    rows = drawn(300)
    best = policy_scores.oracle(rows, 1.0)
    matched = policy.matched_random(best)
    assert scores(rows, matched)["tokens"] == pytest.approx(scores(rows, best)["tokens"])
    assert scores(rows, matched)["consultation"] == pytest.approx(
        scores(rows, best)["consultation"]
    )
    assert scores(rows, matched)["net_value"] < scores(rows, best)["net_value"] - 0.1


def test_the_oracle_and_its_regret_by_hand():
    six = table()
    assert policy_scores.oracle(six, 1.0).argmax(1).tolist() == [1, 1, 2, 0, 0, 0]
    assert policy_scores.oracle(six, 0.0).argmax(1).tolist() == [2, 2, 2, 0, 2, 2]
    lost = regret(six, policy.always(six, 0), 1.0)
    assert lost == pytest.approx([1 - 0.002, 1 - 0.002, 1 - 0.004, 0, 0, 0])
    assert regret(six, policy_scores.oracle(six, 1.0), 1.0) == pytest.approx(np.zeros(6))


@pytest.mark.parametrize(
    ("allowance", "skipped", "value"),
    [(0.0, 2, 0.2), (0.34, 4, 0.75), (0.67, 5, 0.8), (1.0, 6, 0.9)],
)
def test_the_entropy_threshold_skips_as_much_as_the_allowance_lets_it(allowance, skipped, value):
    """By entropy the items come none, none, both, none, audio, audio: the drop on the three that need audio is 0, 0, 1/3, 1/3, …"""
    six = table()
    found = policy.choose_threshold(six, "entropy", allowance, 8)
    assert (found.value, int((1 - per_item(six, found(six))["consulted"]).sum())) == (
        value,
        skipped,
    )


def test_the_confidence_threshold_is_its_mirror():
    six = table()
    found = policy.choose_threshold(six, "confidence", 0.34, 8)
    assert found.value == 0.25
    assert found(six).tolist() == policy.choose_threshold(six, "entropy", 0.34, 8)(six).tolist()


def test_a_threshold_never_parts_equal_items_and_may_consult_on_all():
    even = table(entropy=[0.5] * 6)
    found = policy.choose_threshold(even, "entropy", 0.34, 8)
    assert found.value == -math.inf
    assert scores(even, found(even))["skip"] == 0
    flipped = policy.choose_threshold(table(confidence=[0.5] * 6), "confidence", 0.34, 8)
    assert scores(even, flipped(even))["skip"] == 0


def test_the_threshold_is_the_best_of_all_by_enumeration():
    draw = np.random.default_rng(5)
    rows = drawn(80, seed=4)
    rows = Table(
        rows.need,
        (draw.random((80, 3)) < [0.4, 0.6, 0.7]).astype(float),
        rows.log_p,
        draw.integers(0, 20, 80) / 20,
        rows.confidence,
        rows.features,
        LATENCY,
    )
    on = scores(rows, policy.always(rows, 8))["accuracy_dependent"]
    skips = []
    for value in [-math.inf, *np.unique(rows.entropy)]:
        seen = scores(rows, policy.Threshold("entropy", value, 8)(rows))
        if on - seen["accuracy_dependent"] <= 0.1 + 1e-12:
            skips.append(seen["skip"])
    found = scores(rows, policy.choose_threshold(rows, "entropy", 0.1, 8)(rows))
    assert found["skip"] == max(skips)
    assert 0 < found["skip"] < 1


def test_the_bandit_finds_the_best_action_of_a_known_table():
    train, test = drawn(600), drawn(200, seed=1)
    found = policy.fit_bandit(train, alpha=1.0, penalty=1e-6)(test)
    assert found.tolist() == policy_scores.oracle(test, 1.0).tolist()
    assert regret(test, found, 1.0).sum() == 0


def test_without_cost_it_is_always_on_where_audio_never_hurts():
    six = table()
    harmless = np.where(six.need[:, None] == "none", six.correct[:, :1], six.correct)
    kind = np.random.default_rng(0).integers(0, 6, 300)
    rows = Table(
        six.need[kind],
        harmless[kind],
        six.log_p[kind],
        six.entropy[kind],
        six.confidence[kind],
        np.eye(6)[kind],
        LATENCY,
    )
    assert scores(rows, policy.fit_bandit(rows, alpha=0.0, penalty=1e-12)(rows))["tokens"] == 8
    assert scores(rows, policy_scores.oracle(rows, 0.0))["tokens"] == 8


def test_at_any_price_it_is_always_off():
    rows = drawn(300)
    assert scores(rows, policy.fit_bandit(rows, alpha=1e9)(rows))["consultation"] == 0
    assert scores(rows, policy_scores.oracle(rows, 1e9))["consultation"] == 0


def test_ridge_is_least_squares_and_shrinks_to_the_mean():
    draw = np.random.default_rng(0)
    x, y = draw.normal(size=(40, 3)) * [1, 10, 0.1] + 5, draw.normal(size=(40, 2))
    plain = np.hstack([np.ones((40, 1)), x])
    wanted = plain @ np.linalg.lstsq(plain, y, rcond=None)[0]
    assert policy.ridge(x, y, 0.0)(x) == pytest.approx(wanted)
    assert policy.ridge(x, y, 1e12)(x) == pytest.approx(np.tile(y.mean(0), (40, 1)), abs=1e-8)


def harmful(n, seed):
    """Audio helps one kind of item and costs another 40 points; no latency, so only the constraint speaks against it."""
    draw = np.random.default_rng(seed)
    kind = draw.integers(0, 2, n)
    need = np.where(kind == 0, "audio", "none")
    right = draw.random((n, 1)) < np.where(kind[:, None] == 0, [0.2, 0.9], [0.9, 0.5])
    correct = np.column_stack([right[:, 0], right[:, 1], right[:, 1]]).astype(float)
    blur = np.clip(kind + draw.normal(0, 0.3, n), -1, 2)
    flat = np.zeros(n)
    return Table(need, correct, np.zeros((n, 3)), flat, flat, blur[:, None], [0, 1e-6, 2e-6])


def test_the_constraint_holds_on_rows_that_were_not_looked_at():
    train, dev, test = harmful(2000, 0), harmful(2000, 1), harmful(4000, 2)
    free = policy.fit_bandit(train, alpha=0.0)
    bound = policy.constrain(free, dev, 0.01, 0.95, [0, 0.3, 1, 3, 10, 30, 100])
    lost = [-per_item(test, each(test))["gain"][~test.dependent].mean() for each in (free, bound)]
    assert lost[0] > 0.015
    assert lost[1] <= 0.01
    assert 0 < bound.multiplier < math.inf
    assert scores(test, bound(test))["net_value"] > 0.2


def test_the_first_multiplier_that_fails_ends_the_sequence(monkeypatch):
    """Else each further one would be a new chance to pass by luck."""
    limits, rows = iter([0.0, 0.005, 0.02, 0.0]), harmful(50, 0)
    monkeypatch.setattr(policy, "harm_limit", lambda *_: next(limits))
    assert (
        policy.constrain(policy.fit_bandit(rows, 0.0), rows, 0.01, 0.95, [1, 8, 4, 2]).multiplier
        == 4
    )


def test_a_constraint_that_cannot_be_shown_to_hold_turns_audio_off():
    train, few = harmful(2000, 0), harmful(40, 1)
    bound = policy.constrain(policy.fit_bandit(train, alpha=0.0), few, 0.01, 0.95, [0, 1, 100])
    assert bound.multiplier == math.inf
    assert scores(few, bound(few))["consultation"] == 0


def test_the_harm_limit_is_above_what_was_lost_and_comes_down():
    seen = []
    for n in (200, 20_000):
        rows = harmful(n, 3)
        lost = -per_item(rows, policy.always(rows, 8))["gain"][~rows.dependent].mean()
        seen.append(policy.harm_limit(rows, policy.always(rows, 8), 0.95) - lost)
    assert seen[0] > 3 * seen[1] > 0


def test_the_front_rises_and_nothing_on_it_is_beaten():
    draw = np.random.default_rng(0)
    points = [(float(c), float(s), n) for n, (c, s) in enumerate(draw.integers(0, 12, (60, 2)))]
    front = pareto(points)
    assert all(a[0] < b[0] and a[1] < b[1] for a, b in itertools.pairwise(front))
    beaten = {
        p[:2]
        for p in points
        if any(q[0] <= p[0] and q[1] >= p[1] and q[:2] != p[:2] for q in points)
    }
    assert {p[:2] for p in front} == {p[:2] for p in points} - beaten
    assert pareto([(1, 1, "a"), (2, 1, "b"), (0, 0, "c"), (1, 0.5, "d")]) == [
        (0, 0, "c"),
        (1, 1, "a"),
    ]


@pytest.mark.parametrize("mean", [0.5, 0.9])
def test_the_lower_limit_covers_at_every_time(mean):
    """400 sequences of 300 coins: the limit may exceed the mean at ANY time in at most 10 % (Clopper-Pearson 99.9 %: 61 of 400)."""
    draw = np.random.default_rng(11)
    missed = sum(
        bool((anytime_lower(draw.random(300) < mean, 0.1, 200) > mean).any()) for _ in range(400)
    )
    assert missed <= 61
    plain = sum(
        bool(
            (
                np.cumsum(x) / np.arange(1, 301)
                - 1.2816 * math.sqrt(mean * (1 - mean)) / np.sqrt(np.arange(1, 301))
                > mean
            ).any()
        )
        for x in (draw.random((400, 300)) < mean)
    )
    assert plain > 61, "a limit for one fixed time must be seen to fail here"


def test_the_lower_limit_closes_in_and_never_falls():
    values = np.random.default_rng(3).beta(8, 2, 4000)
    low = anytime_lower(values, 0.05)
    assert (np.diff(low) >= 0).all()
    assert 0.77 < low[-1] < 0.8
    assert anytime_lower([0.5] * 500, 0.05)[-1] > 0.49
    assert anytime_lower([0.0] * 50, 0.05)[-1] == 0


def test_the_lower_limit_is_ville_by_hand():
    """K_t(m) = Π (1 + λ_i (x_i − m)), λ_i from what came before x_i; the limit is the last m of the grid whose K has reached 1/α."""
    alpha, values = 0.3, [0.9, 0.4, 0.8, 0.95, 0.3, 0.85, 0.9, 0.7] * 3
    stakes, wanted = [], []
    for t in range(1, len(values) + 1):
        seen = values[: t - 1]
        means = [(0.5 + sum(seen[:i])) / (i + 1) for i in range(1, t)]
        spread = (0.25 + sum((x - m) ** 2 for x, m in zip(seen, means, strict=True))) / t
        stakes.append(math.sqrt(2 * math.log(1 / alpha) / (spread * t * math.log(t + 1))))
        grid = [
            m
            for m in (k / 1000 for k in range(1, 1000))
            if max(
                math.prod(
                    1 + min(s, 0.75 / m) * (x - m)
                    for s, x in zip(stakes[:i], values[:i], strict=True)
                )
                for i in range(1, t + 1)
            )
            >= 1 / alpha
        ]
        wanted.append(max(grid, default=0))
    assert anytime_lower(values, alpha, 1000).tolist() == wanted
    assert wanted[-1] > 0.5


def test_equal_values_take_the_most_tokens():
    assert argmax(
        np.array([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0], [2.0, 1.0, 2.0 - 1e-12]])
    ).tolist() == [1, 2, 2]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"correct": np.zeros((5, 3))}, "one row an item"),
        ({"need": ["audio"] * 5 + ["image"]}, "wanted only"),
        ({"entropy": [math.nan] * 6}, "inf or nan"),
        ({"correct": np.full((6, 3), 2.0)}, "outside"),
        ({"tokens": (4, 0, 8)}, "off"),
        ({"features": np.zeros(6)}, "one row an item"),
        ({"log_p": np.full((6, 3), math.nan)}, "inf or nan"),
    ],
)
def test_a_table_that_cannot_be_read_is_refused(change, said):
    with pytest.raises(ValueError, match=said):
        table(**change)


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (lambda: policy.always(table(), 12), "0, 4, 8"),
        (lambda: policy.choose_threshold(table(), "mood", 0, 8), "entropy, confidence"),
        (lambda: anytime_lower([2.0], 0.1), "rescale"),
        (lambda: policy.choose_threshold(table(need=["none"] * 6), "entropy", 0, 8), "needs audio"),
        (
            lambda: policy.harm_limit(table(need=["audio"] * 6), np.eye(3)[[0] * 6], 0.95),
            "need none",
        ),
        (lambda: anytime_lower([0.5], 0), "chance of error"),
        (lambda: pareto([(0, math.nan)]), "not measured"),
        (lambda: scores(table(), np.ones((6, 3))), "sum to 1"),
    ],
)
def test_arguments_that_mean_nothing_are_refused(act, said):
    with pytest.raises(ValueError, match=said):
        act()
