"""Null-space projection: exact where old inputs span a subspace, a stated leak where they do not, and the shortcuts that leak."""

import pytest
import torch
from gonogo.methods.safe import null_space
from gonogo.methods.safe.null_space import InputCovariance, project_step
from torch import nn

D, RANK, OUT = 12, 5, 6


@pytest.fixture
def draw():
    return torch.Generator().manual_seed(0)


@pytest.fixture
def old(draw):
    """(200, D) float64 of rank 5, not centred."""
    span = torch.randn(RANK, D, generator=draw, dtype=torch.float64)
    return (torch.randn(200, RANK, generator=draw, dtype=torch.float64) + 2) @ span


@pytest.fixture
def fresh(draw):
    return torch.randn(50, D, generator=draw, dtype=torch.float64)


def covariance(inputs):
    seen = InputCovariance(inputs.shape[-1])
    for batch in inputs.split(33):
        seen.add(batch)
    return seen.matrix


def trained(inputs, targets, draw, project=None, gradient=None):
    """(before, after) of a layer after 20 Adam steps; `gradient` changes each gradient, `project` each finished step."""
    layer = nn.Linear(D, OUT, bias=False, dtype=torch.float64)
    nn.init.normal_(layer.weight, generator=draw)
    start, adam = layer.weight.detach().clone(), torch.optim.Adam(layer.parameters(), lr=0.1)
    for _ in range(20):
        adam.zero_grad()
        (layer(inputs) - targets).square().mean().backward()
        if gradient is not None:
            layer.weight.grad = layer.weight.grad @ gradient
        null_space.step(adam, {} if project is None else {layer.weight: project})
    return start, layer.weight.detach()


def moved(before, after, inputs):
    return float((inputs @ (after - before).T).abs().max())


def test_the_covariance_is_uncentred_and_does_not_know_batches(old):
    torch.testing.assert_close(covariance(old), old.T @ old / 200, rtol=1e-13, atol=0)


def test_padding_is_no_input(old):
    mask = torch.arange(200).reshape(40, 5) % 7 < 4
    padded = old.reshape(40, 5, D).float().masked_fill(~mask[..., None], torch.nan)
    seen, kept = InputCovariance(D), old[mask.flatten()].float().double()
    seen.add(padded, mask)
    assert seen.n == len(kept) == int(mask.sum())
    torch.testing.assert_close(seen.matrix, kept.T @ kept / len(kept), rtol=1e-12, atol=0)


def test_the_projector_is_one(old):
    found = null_space.null_space(covariance(old), 1e-10)
    p = found.projector
    torch.testing.assert_close(p @ p, p, rtol=0, atol=1e-12)
    torch.testing.assert_close(p, p.T, rtol=0, atol=1e-15)
    assert float(p.trace()) == pytest.approx(D - RANK, abs=1e-12)
    assert found.free == D - RANK
    assert float((old @ p).abs().max()) < 1e-12 * float(old.abs().max()) * D


def test_an_exact_null_space_of_known_axes():
    found = null_space.null_space(torch.diag(torch.tensor([4.0, 1.0, 0.039, 0.0])), 0.01)
    torch.testing.assert_close(
        found.projector, torch.diag(torch.tensor([0.0, 0, 1, 1], dtype=torch.float64))
    )
    assert found.leak == pytest.approx(0.039, rel=1e-6)
    assert found.leak_share == pytest.approx(0.039 / 5.039, rel=1e-6)


@pytest.mark.parametrize("threshold", [1e-3, 0.05, 0.3])
def test_an_approximate_null_space_leaks_no_more_than_it_says(draw, threshold):
    scale = torch.logspace(0, -3, D, dtype=torch.float64)
    inputs = torch.randn(400, D, generator=draw, dtype=torch.float64) * scale
    c = covariance(inputs)
    found = null_space.null_space(c, threshold)
    largest = float(torch.linalg.eigvalsh(c)[-1])
    assert float(torch.linalg.matrix_norm(c @ found.projector, ord=2)) <= threshold * largest
    assert found.leak == pytest.approx(
        float((inputs @ found.projector).square().sum(1).mean()), rel=1e-9
    )
    change = torch.randn(OUT, D, generator=draw, dtype=torch.float64)
    leaked = float((inputs @ (change @ found.projector).T).square().sum(1).mean())
    assert 0 < leaked <= float(torch.linalg.matrix_norm(change, ord=2)) ** 2 * found.leak


def test_old_answers_stay_and_new_ones_change(old, fresh, draw):
    p = null_space.null_space(covariance(old), 1e-10).projector
    targets = torch.randn(50, OUT, generator=draw, dtype=torch.float64)
    before, after = trained(fresh, targets, draw, project=p)
    assert moved(before, after, old) < 1e-12 * float(old.abs().max()) * D
    assert moved(before, after, fresh) > 0.1
    assert moved(*trained(fresh, targets, draw), old) > 1


def test_projecting_the_gradient_before_adam_leaks(old, fresh, draw):
    p = null_space.null_space(covariance(old), 1e-10).projector
    targets = torch.randn(50, OUT, generator=draw, dtype=torch.float64)
    assert moved(*trained(fresh, targets, draw, gradient=p), old) > 0.1


def test_the_span_of_stored_gradients_is_not_the_span_of_inputs(old, fresh, draw):
    """Steps kept out of the leading right singular vectors of old gradients still change the old answers, also after Adam."""
    layer = torch.randn(OUT, D, generator=draw, dtype=torch.float64)
    errors = torch.randn(200, OUT, generator=draw, dtype=torch.float64)
    stored = torch.stack(
        [(e[:, None] * x[None]).flatten() for e, x in zip(errors[:4], old[:4], strict=True)]
    ).reshape(-1, D)
    leading = torch.linalg.svd(stored, full_matrices=False)[2][: RANK - 2]
    span = torch.eye(D, dtype=torch.float64) - leading.T @ leading
    change = torch.randn(OUT, D, generator=draw, dtype=torch.float64)
    assert moved(layer, project_step(layer, layer + change, span), old) > 0.1
    p = null_space.null_space(covariance(old), 1e-10).projector
    assert moved(layer, project_step(layer, layer + change, p), old) < 1e-11


def test_a_projected_lora_factor_says_nothing_of_old_inputs(old, draw):
    p = null_space.null_space(covariance(old), 1e-10).projector
    a, b = (
        torch.randn(3, D, generator=draw, dtype=torch.float64),
        torch.randn(OUT, 3, generator=draw, dtype=torch.float64),
    )
    start = project_step(torch.zeros_like(a), a, p)
    later = project_step(start, start + torch.randn(3, D, generator=draw, dtype=torch.float64), p)
    assert float((old @ later.T @ b.T).abs().max()) < 1e-11
    assert float((old @ a.T @ b.T).abs().max()) > 1


def test_a_single_precision_weight_stays_one(old, draw):
    p = null_space.null_space(covariance(old), 1e-6).projector
    before = torch.randn(OUT, D, generator=draw)
    after = before + 1
    found = project_step(before, after, p)
    assert found.dtype == torch.float32
    assert 1e-3 < float((found - before).abs().max()) < 3
    assert torch.equal(project_step(before, after, torch.eye(D, dtype=torch.float64)), after)


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (lambda: InputCovariance(3).matrix, "no input was added"),
        (lambda: InputCovariance(3).add(torch.zeros(2, 4)), "own inputs"),
        (lambda: InputCovariance(2).add(torch.tensor([[1.0, torch.nan]])), "inf or nan"),
        (lambda: null_space.null_space(torch.eye(2), 1.0), "share of the largest"),
        (lambda: null_space.null_space(torch.zeros(2, 2), 0.1), "above 0"),
        (lambda: null_space.null_space(torch.zeros(2, 3), 0.1), "square"),
        (lambda: project_step(torch.zeros(3, 2), torch.zeros(3, 2), torch.eye(3)), "input side"),
    ],
)
def test_what_has_no_null_space_is_refused(act, said):
    with pytest.raises(ValueError, match=said):
        act()
