"""Retention by distillation: how far the adapted model's answers have moved from the base model's, token by token."""

import math

import torch
from torch import Tensor


def kl(teacher: Tensor, student: Tensor, mask: Tensor, temperature: float = 1.0) -> Tensor:
    """τ² · mean over valid tokens of KL(p_teacher^τ ‖ p_student^τ), p^τ = softmax(logits / τ). A scalar with the student's graph.

    teacher, student : (..., V) logits, e.g. (B, T, V); the teacher is detached.
    mask             : (...) bool, True where a token counts; what stands under False, even NaN, touches neither value nor gradient.
    Nats times τ², >= 0, in float32 or, of float64 logits, float64. The gradient at a valid token's logits is τ (p_student^τ −
    p_teacher^τ) / valid tokens: τ² keeps its size as τ grows (Hinton, Vinyals & Dean 2015, §2). The mean is over tokens, so
    neither batch size, nor length, nor padding moves it, as they do `kl_div(reduction="batchmean")` on (B, T, V).
    Raises ValueError for unequal shapes, a mask that is no bool or counts nothing, or a temperature that is not above 0.
    """
    _check(teacher, student, mask, temperature)
    precise = torch.promote_types(torch.promote_types(teacher.dtype, student.dtype), torch.float32)
    base = (teacher.detach()[mask].to(precise) / temperature).log_softmax(-1)
    own = (student[mask].to(precise) / temperature).log_softmax(-1)
    return temperature**2 * (base.exp() * (base - own)).sum(-1).mean()


def _check(teacher: Tensor, student: Tensor, mask: Tensor, temperature: float) -> None:
    if teacher.shape != student.shape or mask.shape != teacher.shape[:-1]:
        raise ValueError(
            f"distillation: teacher {tuple(teacher.shape)}, student {tuple(student.shape)} and mask {tuple(mask.shape)} "
            "must be (..., V), (..., V), (...); ask both models the same batch"
        )
    if mask.dtype != torch.bool:
        raise ValueError(
            f"distillation: the mask is {mask.dtype}; wanted torch.bool, True where a token counts"
        )
    if not mask.any():
        raise ValueError(
            "distillation: the mask counts no token; check the padding or the labels of this batch"
        )
    if not (math.isfinite(temperature) and temperature > 0):
        raise ValueError(
            f"distillation: temperature {temperature!r}; wanted a finite number above 0"
        )
