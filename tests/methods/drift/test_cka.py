"""Debiased CKA and its companions against closed forms, exact enumeration and naive references."""

from itertools import combinations
from math import isnan, sqrt

import pytest
import torch
from gonogo.methods.drift import cka, compare, procrustes

FORMS = {"features": (300, 40), "gram": (40, 300)}


def matrix(n: int, d: int, seed: int = 0) -> torch.Tensor:
    """Rows with a spectrum that falls and a mean far from 0, as hidden states have them."""
    draw = torch.Generator().manual_seed(seed)
    scale = torch.linspace(2.0, 0.1, d, dtype=torch.float64)
    return torch.randn(n, d, generator=draw, dtype=torch.float64) * scale + 5 * torch.randn(
        d, generator=draw, dtype=torch.float64
    )


def rotation(d: int) -> torch.Tensor:
    return torch.linalg.qr(matrix(d, d, 9))[0]


def naive_hsic1(k: torch.Tensor, other: torch.Tensor) -> float:
    """Song et al. (2012), eq. 5, letter by letter."""
    n, one = len(k), torch.ones(len(k), dtype=torch.float64)
    k, other = k.clone().fill_diagonal_(0), other.clone().fill_diagonal_(0)
    total = (
        torch.trace(k @ other)
        + (one @ k @ one) * (one @ other @ one) / ((n - 1) * (n - 2))
        - 2 / (n - 2) * (one @ k @ other @ one)
    )
    return float(total / (n * (n - 3)))


def naive_cka(x: torch.Tensor, y: torch.Tensor) -> float:
    x, y = x - x.mean(0), y - y.mean(0)
    k, other = x @ x.T, y @ y.T
    return naive_hsic1(k, other) / sqrt(naive_hsic1(k, k) * naive_hsic1(other, other))


def centred(gram: torch.Tensor) -> torch.Tensor:
    n = len(gram)
    h = torch.eye(n, dtype=torch.float64) - 1 / n
    return h @ gram @ h


@pytest.fixture(params=FORMS)
def pair(request):
    n, d = FORMS[request.param]
    x = matrix(n, d)
    y = x @ (torch.eye(d, dtype=torch.float64) + 0.3 * matrix(d, d, 2) / sqrt(d)) + matrix(n, d, 3)
    assert (cka.side(x).gram is None) == (request.param == "features")
    return x, y


def test_equals_the_estimator_of_song_in_both_forms(pair):
    assert cka.cka(*pair) == pytest.approx(naive_cka(*pair), abs=1e-13)
    x, y = pair
    k, other = (z @ z.T for z in (x - x.mean(0), y - y.mean(0)))
    assert cka.gram_hsic1(k, other) == pytest.approx(naive_hsic1(k, other), rel=1e-12)
    assert cka.side(x).hsic == pytest.approx(naive_hsic1(k, k), rel=1e-12)


def test_the_feature_form_is_the_gram_form_to_rounding(pair):
    x, y = (z - z.mean(0) for z in pair)
    squares = float((x.T @ y).square().sum())
    features = cka._from_features(squares, x.square().sum(1), y.square().sum(1))
    gram = cka.gram_hsic1(x @ x.T, y @ y.T)
    assert abs(features - gram) <= 1e-14 * squares


def test_a_representation_is_itself_also_rotated_scaled_and_moved(pair):
    x, _ = pair
    d = x.shape[1]
    assert cka.cka(x, x) == pytest.approx(1, abs=1e-13)
    assert cka.cka(x, -3 * x @ rotation(d) + matrix(1, d, 4)) == pytest.approx(1, abs=1e-13)
    assert compare.identity_error(x) < 1e-13


def test_is_symmetric_and_at_most_one(pair):
    x, y = pair
    assert cka.cka(x, y) == pytest.approx(cka.cka(y, x), abs=1e-13)
    assert cka.cka(x, y) < 1


def test_sees_a_general_invertible_map():
    x = matrix(300, 40)
    assert cka.cka(x, x @ torch.diag(torch.linspace(0.01, 5, 40, dtype=torch.float64))) < 0.9


@pytest.mark.parametrize("n", [50, 400])
def test_unrelated_rows_are_about_zero_where_the_biased_estimate_is_large(n):
    draw = torch.Generator().manual_seed(5)
    x, y = (torch.randn(n, 512, generator=draw, dtype=torch.float64) for _ in range(2))
    k, other = centred(x @ x.T), centred(y @ y.T)
    biased = float((k * other).sum() / (k.norm() * other.norm()))
    assert biased == pytest.approx(512 / (n + 512), abs=0.03)
    assert abs(cka.cka(x, y)) < 5 * sqrt(2) / n  # five standard errors


def test_hsic_is_a_u_statistic_the_mean_over_all_subsets_of_rows():
    x, y = matrix(8, 3), matrix(8, 2, 1)
    whole = cka.hsic1(x, y, cka.side(x), cka.side(y))
    for size in (4, 5, 7):
        parts = [
            cka.hsic1(
                x[list(rows)], y[list(rows)], cka.side(x[list(rows)]), cka.side(y[list(rows)])
            )
            for rows in combinations(range(8), size)
        ]
        assert sum(parts) / len(parts) == pytest.approx(whole, rel=1e-10)


def test_zeroing_the_diagonal_and_centring_afterwards_is_another_quantity():
    x, y = matrix(12, 3), matrix(12, 3, 1)
    k, other = x @ x.T, y @ y.T
    right = cka.hsic1(x, y, cka.side(x), cka.side(y))
    assert naive_hsic1(centred(k), centred(other)) == pytest.approx(right, rel=1e-10)
    late = [centred(gram.clone().fill_diagonal_(0)) for gram in (k, other)]
    wrong = float((late[0] * late[1]).sum()) / (12 * 9)
    assert abs(wrong - right) > 0.05 * abs(right)


def test_the_normaliser_of_the_published_study_fails_the_identity(monkeypatch):
    x = matrix(300, 40)
    bare = x - x.mean(0)
    study = float((bare.T @ bare).square().sum() / bare.square().sum() ** 2)
    assert study < 0.1
    energy = float(bare.square().sum())
    monkeypatch.setattr(cka, "normalised", lambda cross, *_: cross * 300 * 297 / energy**2)
    assert compare.identity_error(x) > 0.9


def test_rows_that_are_not_centred_fail_the_identity(monkeypatch):
    x = matrix(300, 40)
    monkeypatch.setattr(cka, "_mean", lambda x, _: torch.zeros(x.shape[1], dtype=torch.float64))
    assert compare.identity_error(x) > 1e-3


def test_blocks_of_any_size_give_the_same(pair):
    x, y = pair
    of_x, of_y = cka.side(x, block=7), cka.side(y, block=7)
    assert cka.normalised(
        cka.hsic1(x, y, of_x, of_y, block=7), of_x.hsic, of_y.hsic
    ) == pytest.approx(cka.cka(x, y), abs=1e-13)


def test_a_known_side_gives_the_same_also_without_its_gram_matrix(pair):
    x, y = pair
    known = cka.side(x).lean()
    assert known.gram is None
    assert cka.cka(x, y, known) == pytest.approx(cka.cka(x, y), abs=1e-14)


def test_fp32_is_within_1e_5_also_beside_massive_means_and_dimensions(pair):
    x, y = (z.clone() for z in pair)
    for z in (x, y):
        z[:, 3] = 30 * z[:, 3] + 800
    x, y = x.float(), y.float()
    assert cka.cka(x, y, precision="fp32") == pytest.approx(
        naive_cka(x.double(), y.double()), abs=1e-5
    )


def test_the_form_with_fewer_multiplications_is_taken():
    assert cka.feature_is_cheaper(4000, 576, 576)
    assert not cka.feature_is_cheaper(400, 576, 576)
    assert not cka.feature_is_cheaper(600, 576, 576)
    assert cka.feature_is_cheaper(600, 576, 576, x_known=True)


def test_minibatch_averages_the_three_hsic_before_the_ratio(pair):
    x, y = pair
    chunks = [(x[start : start + 10], y[start : start + 10]) for start in range(0, len(x) - 9, 10)]
    means = [
        sum(naive_hsic1(a @ a.T, b @ b.T) for a, b in ((c[i], c[j]) for c in chunks))
        for i, j in ((0, 1), (0, 0), (1, 1))
    ]
    wanted = means[0] / sqrt(means[1] * means[2])
    assert cka.minibatch_cka(x, y, cka.side(x), cka.side(y), 10) == pytest.approx(wanted, abs=1e-9)
    of_ratios = sum(naive_cka(a, b) for a, b in chunks) / len(chunks)
    assert abs(wanted - of_ratios) > 1e-4


def test_a_shorter_last_batch_is_left_out():
    x, y = matrix(43, 8), matrix(43, 8, 1)
    whole = [
        cka.minibatch_cka(a, b, cka.side(a), cka.side(b), 20) for a, b in ((x, y), (x[:40], y[:40]))
    ]
    assert whole[0] == pytest.approx(whole[1], abs=1e-12)


def test_permuted_rows_collapse_to_about_zero(pair):
    x, _ = pair
    floor = cka.permuted(x, x, cka.side(x), cka.side(x), draws=5)
    assert len(set(floor)) == 5
    assert max(abs(value) for value in floor) < 0.1
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    assert floor[0] == pytest.approx(naive_cka(x, x[order]), abs=1e-12)


def shared_direction(n: int = 300, d: int = 40) -> tuple[torch.Tensor, torch.Tensor]:
    """Unrelated rows that share one massive direction."""
    x, y = (matrix(n, d, seed) for seed in (1, 2))
    common = 200 * torch.randn(
        n, 1, generator=torch.Generator().manual_seed(3), dtype=torch.float64
    )
    axis = torch.zeros(1, d, dtype=torch.float64)
    axis[0, 7] = 1
    return x + common * axis, y + common * axis


def test_one_massive_direction_looks_like_agreement_and_goes_with_the_top_component():
    x, y = shared_direction()
    of_x, of_y = cka.side(x, top=1), cka.side(y, top=1)
    assert cka.cka(x, y) > 0.999
    without = cka.cka(x, y, cka.side(x, basis=of_x.principal), cka.side(y, basis=of_y.principal))
    assert abs(without) < 0.05
    massive = cka.massive(of_x, 100)
    assert massive.nonzero().tolist() == [[7, 0]]
    assert abs(cka.cka(x, y, cka.side(x, basis=massive), cka.side(y, basis=massive))) < 0.05


def test_without_top_components_is_cka_of_what_they_leave(pair):
    x, y = pair
    left = []
    for z in (x - x.mean(0), y - y.mean(0)):
        u, s, v = torch.linalg.svd(z, full_matrices=False)
        left.append((u[:, 3:] * s[3:]) @ v[3:])
    of_x, of_y = (cka.side(z, basis=cka.side(z, top=3).principal) for z in (x, y))
    assert cka.cka(x, y, of_x, of_y) == pytest.approx(naive_cka(*left), abs=1e-10)


@pytest.mark.parametrize("rounding", [0, 1e-7])
def test_rows_that_are_all_equal_but_for_rounding_have_no_cka(rounding):
    x = matrix(1, 8).expand(50, 8) * (1 + rounding * matrix(50, 8, 3))
    assert isnan(cka.cka(x, matrix(50, 8)))
    assert isnan(compare.identity_error(x))


def test_a_mean_far_above_the_spread_costs_no_digits():
    x, y = (0.05 * matrix(3000, 6, seed).float() + 3000 for seed in (0, 1))
    assert cka.cka(x, x + y) == pytest.approx(naive_cka(x.double(), (x + y).double()), abs=1e-9)


@pytest.mark.parametrize("broken", ["few", "nan", "rows"])
def test_refuses_what_has_no_answer(broken):
    x = matrix(20, 8)
    wrong = {
        "few": x[:3],
        "nan": x.clone().index_fill_(0, torch.tensor([4]), float("nan")),
        "rows": x[:19],
    }[broken]
    with pytest.raises(ValueError, match=r"cka: .*(n >= 4|nan|19)"):
        cka.cka(x, wrong)


def test_procrustes_is_zero_for_a_rotated_copy_and_the_closed_form_otherwise(pair):
    x, y = pair
    d = x.shape[1]
    assert procrustes.procrustes(
        x, 4 * x @ rotation(d) + 1, cka.side(x), cka.side(4 * x @ rotation(d) + 1)
    ) == pytest.approx(0, abs=1e-12)
    a, b = (z - z.mean(0) for z in (x, y))
    a, b = a / a.norm(), b / b.norm()
    u, _, v = torch.linalg.svd(a.T @ b, full_matrices=False)
    wanted = float((a @ (u @ v) - b).square().sum())
    assert procrustes.procrustes(x, y, cka.side(x), cka.side(y)) == pytest.approx(wanted, abs=1e-10)


def test_cosine_is_of_centred_rows_and_its_floor_of_mismatched_pairs(pair):
    x, y = pair
    a, b = x - x.mean(0), y - y.mean(0)
    wanted = float(torch.nn.functional.cosine_similarity(a, b, dim=1).mean())
    of_x, of_y = cka.side(x), cka.side(y)
    assert procrustes.cosine(x, y, of_x, of_y) == pytest.approx(wanted, abs=1e-12)
    order = procrustes.mismatched(len(x))
    assert sorted(order.tolist()) == list(range(len(x)))
    assert all(place != number for number, place in enumerate(order.tolist()))
    assert abs(procrustes.cosine(x, x, of_x, of_x, order)) < 0.1
    assert float(torch.nn.functional.cosine_similarity(x, x[order], dim=1).mean()) > 0.5


def test_displacement_is_in_units_of_the_spread(pair):
    x, _ = pair
    spread = float((x - x.mean(0)).norm())
    moved = x + 2 * spread / sqrt(x.numel())
    assert procrustes.displacement(x, moved, cka.side(x)) == pytest.approx(2, rel=1e-10)
