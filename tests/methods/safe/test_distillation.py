"""Retention KL against closed forms, exact gradients and what must not move it."""

import math

import pytest
import torch
from gonogo.methods.safe.distillation import kl
from torch.nn import functional


def coin(p: float) -> torch.Tensor:
    """Logits of a two-word vocabulary whose first word has probability p; (1, 1, 2) float64."""
    return torch.tensor([[[math.log(p), math.log(1 - p)]]], dtype=torch.float64)


@pytest.fixture
def drawn():
    draw = torch.Generator().manual_seed(0)
    teacher, student = (torch.randn(3, 5, 7, generator=draw, dtype=torch.float64) for _ in range(2))
    return teacher, student, torch.rand(3, 5, generator=draw) < 0.6


ONE = torch.ones(1, 1, dtype=torch.bool)


def test_two_coins():
    wanted = 0.5 * math.log(0.5 / 0.9) + 0.5 * math.log(0.5 / 0.1)
    assert kl(coin(0.5), coin(0.9), ONE).item() == pytest.approx(wanted, abs=1e-12)
    other_way = 0.9 * math.log(0.9 / 0.5) + 0.1 * math.log(0.1 / 0.5)
    assert kl(coin(0.9), coin(0.5), ONE).item() == pytest.approx(other_way, abs=1e-12)


def test_two_coins_at_temperature_two():
    """Logits halved: odds 9 become 3, so 0.9 becomes 3/4; the value is 2² times the divergence there."""
    wanted = 4 * (0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25))
    assert kl(coin(0.5), coin(0.9), ONE, 2.0).item() == pytest.approx(wanted, abs=1e-12)


def test_equal_logits_and_shifted_logits_give_zero(drawn):
    teacher, _, mask = drawn
    shift = torch.arange(15.0, dtype=torch.float64).reshape(3, 5, 1) - 7
    assert kl(teacher, teacher, mask).item() == 0
    assert kl(teacher, teacher + shift, mask).item() == pytest.approx(0, abs=1e-12)


def test_shifts_of_single_tokens_do_not_matter(drawn):
    teacher, student, mask = drawn
    shift = torch.linspace(-9, 9, 15, dtype=torch.float64).reshape(3, 5, 1)
    assert kl(teacher + shift, student - shift, mask).item() == pytest.approx(
        kl(teacher, student, mask).item(), abs=1e-12
    )


def test_batch_size_length_and_padding_do_not_matter(drawn):
    teacher, student, mask = drawn
    value = kl(teacher, student, mask).item()
    assert kl(*(torch.cat([x, x]) for x in drawn)).item() == pytest.approx(value, abs=1e-12)
    assert kl(*(torch.cat([x, x], dim=1) for x in drawn)).item() == pytest.approx(value, abs=1e-12)
    junk = torch.full((3, 4, 7), torch.nan, dtype=torch.float64)
    padded = torch.cat([mask, torch.zeros(3, 4, dtype=torch.bool)], dim=1)
    assert kl(
        torch.cat([teacher, junk], 1), torch.cat([student, junk], 1), padded
    ).item() == pytest.approx(value, abs=1e-12)


def test_batchmean_grows_with_length_and_this_does_not(drawn):
    teacher, student, _ = drawn
    said = []
    for times in (1, 4):
        t, s = teacher.repeat(1, times, 1), student.repeat(1, times, 1)
        whole = functional.kl_div(
            s.log_softmax(-1), t.log_softmax(-1), reduction="batchmean", log_target=True
        )
        said.append((whole.item(), kl(t, s, torch.ones(t.shape[:2], dtype=torch.bool)).item()))
    (short, ours), (long, ours_long) = said
    assert long == pytest.approx(4 * short)
    assert ours_long == pytest.approx(ours)
    assert ours == pytest.approx(short / 5)


def test_length_of_random_tokens_does_not_matter():
    """Independent tokens, 4 or 64 of them a row: the same expectation; 6,400 of each, so a sum over 64 would be 16 times as large."""
    draw, values = torch.Generator().manual_seed(1), []
    for length in (4, 64):
        teacher, student = (
            torch.randn(6400 // length, length, 5, generator=draw) for _ in range(2)
        )
        values.append(kl(teacher, student, torch.ones(teacher.shape[:2], dtype=torch.bool)).item())
    assert values[0] == pytest.approx(values[1], rel=0.05)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_gradient_is_the_difference_of_the_softmaxes(drawn, temperature):
    teacher, student, mask = drawn
    teacher.requires_grad_()
    student.requires_grad_()
    kl(teacher, student, mask, temperature).backward()
    wanted = (
        temperature
        * ((student / temperature).softmax(-1) - (teacher / temperature).softmax(-1))
        / mask.sum()
    )
    torch.testing.assert_close(student.grad, wanted.detach() * mask[..., None], rtol=0, atol=1e-14)
    assert teacher.grad is None


def test_padding_that_is_no_number_leaves_the_gradient_finite(drawn):
    teacher, student, mask = drawn
    broken = student.masked_fill(~mask[..., None], torch.nan).requires_grad_()
    kl(teacher, broken, mask).backward()
    assert broken.grad.isfinite().all()


def test_half_precision_is_counted_in_single():
    teacher, student = torch.tensor([[8.0, 0.0]]), torch.tensor([[0.0, 8.0]])
    half = kl(teacher.bfloat16(), student.bfloat16(), torch.tensor([True]))
    assert half.dtype == torch.float32
    assert half.item() == pytest.approx(kl(teacher, student, torch.tensor([True])).item(), rel=1e-6)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"student": torch.zeros(1, 1, 3)}, "same batch"),
        ({"mask": torch.ones(1, 1)}, "torch.bool"),
        ({"mask": ~ONE}, "counts no token"),
        ({"temperature": 0.0}, "above 0"),
        ({"temperature": math.nan}, "above 0"),
    ],
)
def test_what_cannot_be_compared_is_refused(change, said):
    asked = {"teacher": torch.zeros(1, 1, 2), "student": torch.zeros(1, 1, 2), "mask": ONE} | change
    with pytest.raises(ValueError, match=said):
        kl(**asked)
