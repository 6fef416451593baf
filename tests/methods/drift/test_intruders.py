"""Intruder dimensions: the low-rank way against the full decomposition, and updates whose answer is known."""

import pytest
import torch
from gonogo.methods.drift import intruders

SHAPES = [(40, 40), (60, 30), (30, 60)]


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def naive(before: torch.Tensor, after: torch.Tensor, k: int) -> torch.Tensor:
    """2410.21228, algorithm 1: two whole decompositions."""
    u0, u1 = (torch.linalg.svd(w, full_matrices=False)[0] for w in (before, after))
    return (u0.T @ u1[:, :k]).abs().amax(0)


@pytest.mark.parametrize("shape", SHAPES)
def test_both_ways_equal_two_whole_decompositions(shape):
    weight, b, a = drawn(*shape), 2 * drawn(shape[0], 3, seed=1), drawn(3, shape[1], seed=2)
    wanted, known = naive(weight, weight + b @ a, 8), intruders.spectrum(weight)
    torch.testing.assert_close(intruders.of_low_rank(known, b, a, 8), wanted, atol=1e-8, rtol=0)
    torch.testing.assert_close(
        intruders.of_full(known, weight + b @ a, 8), wanted, atol=1e-8, rtol=0
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_an_update_of_nothing_has_none(shape):
    weight = drawn(*shape)
    known = intruders.spectrum(weight)
    same = intruders.of_low_rank(known, torch.zeros(shape[0], 2), drawn(2, shape[1]), 5)
    torch.testing.assert_close(same, torch.ones(5, dtype=torch.float64), atol=1e-8, rtol=0)
    assert intruders.count(intruders.of_full(known, 3 * weight, 5), 0.9) == 0


def test_a_strong_update_in_a_mixed_direction_is_one_intruder():
    weight, mixed = drawn(200, 200), drawn(200, 1, seed=3)
    known = intruders.spectrum(weight)
    b = 1000 * known.left @ (mixed / mixed.norm())
    found = intruders.of_low_rank(known, b, drawn(1, 200, seed=4), 4)
    assert found[0] < 0.3
    assert intruders.count(found, 0.5) >= 1
    inside = intruders.of_low_rank(known, 1000 * known.left[:, 5:6], known.right[5:6], 4)
    assert intruders.count(inside, 0.5) == 0


def test_more_vectors_than_there_are_is_refused():
    known = intruders.spectrum(drawn(6, 6))
    with pytest.raises(ValueError, match="9 singular vectors"):
        intruders.of_low_rank(known, drawn(6, 1), drawn(1, 6), 9)
    with pytest.raises(ValueError, match="9 singular vectors"):
        intruders.of_full(known, drawn(6, 6), 9)
