"""Masks drawn 16 bits an entry: the same distribution as torch's, and only where torch's own would stand."""

import pytest
import torch
from gonogo.methods.observing import quiet
from gonogo.methods.training.dropout import LEVELS, attention, dropout, mask, quick_masks
from torch import nn

functional = nn.functional


@pytest.mark.parametrize("rate", [0.05, 0.1, 0.5, 0.9])
def test_a_mask_drops_at_the_rate_and_keeps_the_expectation(rate):
    torch.manual_seed(0)
    drawn = mask(torch.empty(1000, 1001), rate)
    dropped = float((drawn == 0).double().mean())
    assert abs(dropped - rate) < 5 * (rate * (1 - rate) / drawn.numel()) ** 0.5 + 1 / LEVELS
    assert drawn[drawn != 0].unique().tolist() == pytest.approx([1 / (1 - rate)], rel=1e-3)
    assert float(drawn.double().mean()) == pytest.approx(1.0, abs=0.01)


def test_entries_of_one_draw_do_not_depend_on_each_other():
    torch.manual_seed(0)
    kept = (mask(torch.empty(400_000), 0.5) != 0).double().reshape(-1, 4) - 0.5
    correlation = (kept.T @ kept / len(kept) * 4).fill_diagonal_(0)
    assert float(correlation.abs().max()) < 5 / len(kept) ** 0.5


@pytest.mark.parametrize("shape", [(1,), (3, 5), (2, 7, 9)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_any_shape_and_dtype_gets_its_mask(shape, dtype):
    drawn = mask(torch.empty(shape, dtype=dtype), 0.5)
    assert (drawn.shape, drawn.dtype) == (shape, dtype)
    assert set(drawn.flatten().tolist()) <= {0.0, 2.0}


def test_the_same_generator_state_gives_the_same_mask():
    state, here = torch.get_rng_state(), torch.ones(50, 3)
    first = dropout(here, 0.3)
    torch.set_rng_state(state)
    assert torch.equal(first, dropout(here, 0.3))


def test_the_gradient_goes_through_what_was_kept():
    here = torch.ones(1000, requires_grad=True)
    seen = dropout(here, 0.25)
    seen.sum().backward()
    assert torch.equal(here.grad, seen.detach())


@pytest.mark.parametrize(("rate", "training"), [(0.0, True), (1.0, True), (0.3, False)])
def test_what_needs_no_mask_is_left_to_torch(rate, training):
    here, state = torch.ones(10), torch.get_rng_state()
    seen = dropout(here, rate, training)
    torch.set_rng_state(state)
    assert torch.equal(seen, functional.dropout(here, rate, training))


def test_attention_without_drop_is_torchs_own(monkeypatch):
    query, key, value = (torch.randn(2, 3, 6, 4) for _ in range(3))
    allowed = torch.tensor([True] * 4 + [False] * 2).expand(2, 1, 6, 6)
    wanted = functional.scaled_dot_product_attention(query, key, value, attn_mask=allowed)
    assert torch.equal(attention(query, key, value, attn_mask=allowed), wanted)
    monkeypatch.setattr(
        "gonogo.methods.training.dropout.mask", lambda weights, _rate: torch.ones_like(weights)
    )
    assert torch.allclose(
        attention(query, key, value, attn_mask=allowed, dropout_p=0.1), wanted, atol=1e-6
    )
    wanted = functional.scaled_dot_product_attention(query, key, value, scale=0.3)
    assert torch.allclose(attention(query, key, value, dropout_p=0.1, scale=0.3), wanted, atol=1e-6)


def test_attention_keeps_its_expectation_under_dropout():
    torch.manual_seed(0)
    query, key, value = (torch.randn(1, 1, 5, 4) for _ in range(3))
    mean = sum(attention(query, key, value, dropout_p=0.3) for _ in range(3000)) / 3000
    assert torch.allclose(
        mean, functional.scaled_dot_product_attention(query, key, value), atol=0.08
    )


def test_a_query_that_may_see_nothing_is_left_to_torch():
    query, key, value = (torch.randn(1, 1, 3, 4) for _ in range(3))
    closed = torch.tensor([[True, True, True], [False, False, False], [True, True, True]])
    assert not attention(query, key, value, attn_mask=closed, dropout_p=0.1).isnan().any()


def test_masks_are_quick_inside_and_torchs_own_outside():
    own = functional.dropout, functional.scaled_dot_product_attention
    with quick_masks():
        assert (functional.dropout, functional.scaled_dot_product_attention) == (dropout, attention)
    assert (functional.dropout, functional.scaled_dot_product_attention) == own


def test_dropout_that_was_switched_off_stays_off():
    back, layer, here = quiet.without_dropout(), nn.Dropout(0.5).train(), torch.ones(100)
    try:
        with quick_masks():
            assert torch.equal(layer(here), here)
            assert torch.equal(functional.dropout(here, 0.5), here)
    finally:
        back()
