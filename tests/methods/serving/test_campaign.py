import random
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from gonogo.methods.serving import answers, campaign
from gonogo.methods.serving.campaign import Turn
from gonogo.methods.serving.contract import Answer, Request
from scipy.stats import binom

ARMS = ["a", "b", "c"]


def test_every_arm_has_one_turn_in_each_block_and_blocks_do_not_mix():
    order = campaign.order(ARMS, range(40), random.Random(0))
    assert set(Counter(order).values()) == {1}
    assert len(order) == 120
    assert all(left[0] <= right[0] for left, right in pairwise(order))


def test_the_order_within_a_block_is_drawn_anew():
    order = campaign.order(ARMS, range(60), random.Random(0))
    firsts = Counter(arm for number, (_, arm) in enumerate(order) if number % 3 == 0)
    assert min(firsts.values()) >= 10


def done(order):
    return [Turn(block, arm, float(n), n + 0.9, (), ()) for n, (block, arm) in enumerate(order)]


def test_turns_one_arm_after_the_other_are_not_side_by_side():
    interleaved = campaign.order(ARMS, range(4), random.Random(0))
    assert campaign.apart(done(interleaved)) == []
    assert sorted(campaign.apart(done(sorted(interleaved, key=lambda turn: turn[1])))) == [
        0,
        1,
        2,
        3,
    ]


def test_one_block_that_was_finished_late_is_found():
    order = [(0, "a"), (0, "b"), (1, "a"), (2, "a"), (1, "b"), (2, "b")]
    assert sorted(campaign.apart(done(order))) == [1, 2]


def test_throughput_counts_all_tokens_of_the_batch_over_its_wall_time():
    turn = Turn(0, "a", 10.0, 12.0, (), (Answer((1, 2, 3), 2.0, 0.5), Answer((4, 5, 6), 1.0, 0.1)))
    assert turn.throughput == 3.0
    assert (turn.latency(0.5), turn.latency(0.95), turn.first_token_s) == (1.0, 2.0, 0.1)


@pytest.mark.parametrize(("n", "share"), [(60, 0.5), (60, 0.95), (10, 0.5)])
def test_order_statistic_limits_cover_by_the_binomial_and_no_wider_than_needed(n, share):
    values = [float(v) for v in range(1, n + 1)]
    point, low, high = campaign.quantile_limits(values, share)
    assert binom.cdf(low - 1, n, share) <= 0.05 < binom.cdf(low, n, share)
    assert binom.sf(high - 1, n, share) <= 0.05 < binom.sf(high - 2, n, share)
    assert low <= point <= high


def test_limits_cover_a_known_quantile_as_often_as_they_say():
    draw = np.random.default_rng(0)
    seen = [campaign.quantile_limits(list(draw.exponential(size=60)), 0.95) for _ in range(600)]
    truth = -np.log(0.05)
    assert np.mean([low > truth for _, low, _ in seen]) < 0.08
    assert np.mean([high < truth for _, _, high in seen]) < 0.08


def test_too_few_blocks_have_no_upper_limit_of_the_95th_percentile():
    assert campaign.quantile_limits([1.0] * 58, 0.95)[2] == float("inf")
    assert campaign.quantile_limits([1.0] * 59, 0.95)[2] == 1.0


REFERENCES = {
    "base": {(1,): Answer((9, 9, 9), 0, 0)},
    "x": {(1,): Answer((1, 2, 3), 0, 0)},
    "y": {(1,): Answer((1, 5, 6), 0, 0)},
}


@pytest.mark.parametrize(
    ("adapter", "tokens", "wrong"),
    [
        ("x", (1, 2, 3), False),
        ("x", (1, 2, 7), False),
        ("x", (1, 5, 6), True),
        ("x", (9, 9, 9), True),
        ("x", (1, 7, 7), True),
        ("y", (1, 5, 6), False),
        ("base", (9, 9, 9), False),
        ("base", (1, 2, 3), True),
        ("merged", (1, 5, 6), False),
        ("merged", (1, 2, 3), True),
    ],
)
def test_an_answer_is_wrong_unless_it_is_most_like_its_own_adapters(adapter, tokens, wrong):
    assert (
        answers.wrong(Request((1,), adapter), Answer(tokens, 0, 0), REFERENCES, merged="y") is wrong
    )


def test_classes_are_told_apart_by_their_logits():
    references = {
        name: {(1,): Answer((0,), 0, 0, scores)}
        for name, scores in {"base": (1.0, 0.0), "x": (2.0, 1.0)}.items()
    }
    near, far = Answer((0,), 0, 0, (1.9, 1.0)), Answer((0,), 0, 0, (1.1, 0.0))
    assert answers.wrong(Request((1,), "x"), near, references, "x") is False
    assert answers.wrong(Request((1,), "x"), far, references, "x") is True
    assert answers.wrong(Request((1,), "x"), Answer((0,), 0, 0), references, "x") is True


def test_a_prompt_that_all_answer_alike_says_nothing():
    references = {name: {(1,): Answer((4, 4), 0, 0)} for name in ("base", "x")}
    assert answers.wrong(Request((1,), "x"), Answer((4, 4), 0, 0), references, "x") is None


def test_agreement_is_the_share_of_tokens_before_the_first_difference():
    assert answers.agreement(
        Request((1,), "x"), Answer((1, 2, 7), 0, 0), REFERENCES, "x"
    ) == pytest.approx(2 / 3)
    assert answers.agreement(Request((1,), "x"), Answer((7, 2, 3), 0, 0), REFERENCES, "x") == 0


def test_one_answer_to_all_prompts_is_constant():
    first, second, third = (Request((number,), "x") for number in (1, 2, 3))
    one, other = Answer((1,), 0, 0), Answer((2,), 0, 0)
    assert answers.constant([(first, one), (second, one), (third, one)])
    assert not answers.constant([(first, one), (second, one), (third, other)])
    assert not answers.constant([(first, one), (first, one)])
    assert answers.constant([(first, one), (second, Answer((), 0, 0))])
    assert answers.constant([(first, one), (second, one), (Request((1,), "y"), other)])
