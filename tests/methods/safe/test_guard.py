"""The null-space guard: what the fusion adds to the items it watched vanishes, whatever the other tensors become."""

import pytest
import torch
from gonogo.methods.safe import guard
from gonogo.methods.safe.adapter import SAFE, SafeConfig
from gonogo.methods.safe.guard import Guard
from torch import nn


class Base(nn.Module):
    """Inputs are hidden states already; one layer to listen at."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Identity()

    def forward(self, hidden, attention_mask=None):
        return self.layer(hidden)


@pytest.fixture
def made():
    torch.manual_seed(0)
    safe = SAFE(
        Base(),
        None,
        SafeConfig(("layer",), hidden=8, audio_width=6, tokens=2, r=3, width=12, heads=2),
    )
    with torch.no_grad():
        safe.fusion[0].alpha.fill_(0.5)
    return safe.double()


def added(safe, hidden, audio):
    return safe(audio={"embedding": audio}, tokens=2, hidden=hidden) - hidden


def run(safe, steps, rows=16, threshold=1e-6):
    """Train on new items while old ones, of one sound, are watched; returns the guard and the old items."""
    draw = torch.Generator().manual_seed(1)
    old, sound = (
        torch.randn(rows, 4, 8, generator=draw, dtype=torch.double),
        torch.randn(1, 6, generator=draw, dtype=torch.double),
    )
    new, sounds = (
        torch.randn(rows, 4, 8, generator=draw, dtype=torch.double),
        torch.randn(rows, 6, generator=draw, dtype=torch.double),
    )
    watched, optimizer = (
        Guard(safe, threshold),
        torch.optim.AdamW([p for n, p in safe.named_parameters() if ".out." in n], lr=1e-2),
    )
    hidden, audio = torch.cat([old, new]), torch.cat([sound.expand(rows, -1), sounds])
    plain = torch.arange(2 * rows) < rows
    for _ in range(steps):
        watched.look_at(plain, {"attention_mask": torch.ones(2 * rows, 4)})
        out = safe(audio={"embedding": audio}, tokens=2, hidden=hidden)
        (out[rows:] - hidden[rows:] - 1).pow(2).mean().backward()
        watched.step(optimizer)
        optimizer.zero_grad()
    return watched, (old, sound.expand(rows, -1)), (new, sounds)


def test_old_items_get_nothing_and_new_ones_still_do(made, monkeypatch):
    monkeypatch.setattr(guard, "REFRESH", 5)
    watched, old, new = run(made, 12)
    assert added(made, *old).abs().max() < 1e-5
    assert added(made, *new).abs().max() > 1e-2
    assert [told["step"] for told in watched.told] == [5, 10]
    assert all(told["leak_share"][0] < 1e-6 for told in watched.told)


def test_without_the_guard_old_items_change(made):
    run(made, 4)  # no refresh yet: the guard has listened and has projected nothing
    watched, old, _ = run(made, 4)
    assert not watched.told
    assert added(made, *old).abs().max() > 1e-2


def test_only_watched_items_enter_the_covariance(made):
    watched = Guard(made, 0.1)
    hidden, audio = torch.randn(4, 3, 8, dtype=torch.double), torch.randn(4, 6, dtype=torch.double)
    watched.look_at(
        torch.tensor([True, False, True, False]), {"attention_mask": torch.tensor([[0, 1, 1]] * 4)}
    )
    made(audio={"embedding": audio}, tokens=2, hidden=hidden)
    assert watched.covariances[0].n == 2 * 2
