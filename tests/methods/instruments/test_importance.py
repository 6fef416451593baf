"""Layer importance from one pass against brute force and closed forms."""

from itertools import product
from math import sqrt

import pytest
import torch
from gonogo.methods.instruments import ghost, moments, one_pass, watch
from gonogo.methods.instruments.importance import DEFAULT, importance, layer_of
from peft import LoraConfig, get_peft_model

from tests.methods import small_sites
from tests.methods.small_sites import Branches, Softmax, batched, joined, subject

ALL = (*DEFAULT, "trace_norm", "spectrum")


@pytest.fixture(params=["cheaper", "gram", "direct"])
def form(request, monkeypatch):
    if request.param != "cheaper":
        monkeypatch.setattr(watch, "gram_is_cheaper", lambda *_: request.param == "gram")
    return request.param


def expected(score: str, g: torch.Tensor, weight: torch.Tensor, a: torch.Tensor) -> float:
    """From the rows' gradients g (n, o, d)."""
    mean = g.mean(0)
    return float(
        {
            "fisher": g.square().sum((1, 2)).mean(),
            "gradient": mean.norm(),
            "taylor": (weight * mean).abs().sum(),
            "lora_b": (2.5 * mean @ a.T).square().sum(),
            "trace_norm": torch.linalg.svdvals(mean)[: len(a)].sum(),
        }[score]
    )


@pytest.mark.parametrize("name", small_sites.MODELS)
def test_every_score_is_that_of_a_loop_over_single_rows(name, form):
    made = subject(name)
    scores = ALL if made.task != "span" else DEFAULT
    got = importance(
        made.model,
        batched(made.rows, 3),
        made.sites,
        scores,
        rank=4,
        alpha=10,
        seed=5,
        task=made.task,
    )
    per_row, energy = small_sites.gradients(made), small_sites.energies(made)
    assert got.rows == len(made.rows)
    for site in made.sites:
        weight = ghost.weight(made.model.get_submodule(site)).detach()
        a = moments.lora_a(4, weight.shape[1], f"5/{site}").double()
        assert got.parameters[site] == weight.numel()
        for fold, rows in ((None, slice(None)), (0, slice(0, None, 2)), (1, slice(1, None, 2))):
            g = per_row[site][rows]
            for score in ("fisher", "gradient", "taylor", "lora_b"):
                wanted = expected(score, g, weight, a)
                assert got.of(score, fold=fold)[site] == pytest.approx(
                    wanted, rel=made.exact, abs=made.exact * 1e-3
                ), (site, score, fold)
                assert got.of(score, True, fold)[site] == pytest.approx(
                    wanted / weight.numel(), rel=made.exact, abs=made.exact * 1e-3
                )
            assert got.of("energy", fold=fold)[site] == pytest.approx(
                float(energy[site][rows].mean()), rel=made.exact
            )
            if "trace_norm" in scores:
                wanted = expected("trace_norm", g, weight, a)
                assert got.of("trace_norm", fold=fold)[site] == pytest.approx(
                    wanted, rel=1e-6, abs=1e-6
                )
        if "spectrum" in scores:
            values = torch.linalg.svdvals(per_row[site].mean(0))
            assert got.spectrum[site] == pytest.approx(
                values.tolist(), rel=1e-4, abs=1e-6 * float(values[0])
            )
            assert got.spectrum[site][0] == pytest.approx(float(values[0]), rel=made.exact)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("tokens", "d", "o"), [(1, 5, 3), (4, 6, 9), (12, 2, 3), (9, 9, 1)])
def test_both_forms_are_the_norm_of_the_sum_of_outer_products(tokens, d, o, dtype):
    draw = torch.Generator().manual_seed(0)
    a, delta = (torch.randn(4, tokens, width, generator=draw, dtype=dtype) for width in (d, o))
    wanted = torch.stack(
        [
            sum(torch.outer(s, t) for s, t in zip(delta[n], a[n], strict=True)).square().sum()
            for n in range(4)
        ]
    ).double()
    seen = {}
    exact = 1e-5 if dtype == torch.float32 else 1e-12
    assert ghost.gram_form(a @ a.mT, delta).tolist() == pytest.approx(wanted.tolist(), rel=exact)
    assert ghost.direct_form(a, delta, seen.__setitem__).tolist() == pytest.approx(
        wanted.tolist(), rel=exact
    )
    assert torch.allclose(
        torch.stack([seen[n] for n in range(4)]), torch.einsum("bto,btd->bod", delta, a)
    )


def test_the_form_with_fewer_multiplications_is_taken():
    assert ghost.gram_is_cheaper(64, 384, 384, summed=False)
    assert not ghost.gram_is_cheaper(193, 384, 384, summed=False)
    assert ghost.gram_is_cheaper(193, 384, 1536, summed=False)
    assert ghost.gram_is_cheaper(128, 384, 384, summed=False)
    assert not ghost.gram_is_cheaper(128, 384, 384, summed=True)


def test_linear_map_with_gaussian_noise_has_the_trace_o_times_the_mean_square():
    """F_W = I_o ⊗ E[x xᵀ] for -log N(y; W x, I); the noise runs through points of mean 0 and covariance I, so this is exact."""
    made, o = Softmax(6, 4), 4
    x = torch.randn(5, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    noise = sqrt(o) * torch.cat([torch.eye(o), -torch.eye(o)]).double()
    made.requires_grad_(False)
    one = watch.Watch(made, ["head"], (), 1, False, torch.device("cpu"))
    total = torch.zeros(())
    with watch.watched(made, one):
        for point in noise:
            one.begin(len(x), {}, energy=False)
            one.norms = one.fresh()
            mean = made(x).logits
            (mean.detach() + point - mean).square().sum().div(2).backward()
            total = total + one.norms.mean() / len(noise)
    assert float(total) == pytest.approx(o * float(x.square().sum(1).mean()), rel=1e-12)


def test_true_fisher_of_a_softmax_is_the_closed_form_and_draws_come_near_it():
    """Σ_c p_c ‖(e_c − p) xᵀ‖² = ‖x‖²(1 − ‖p‖²)."""
    made = Softmax(6, 4)
    x = torch.randn(300, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    batches = [
        {"x": part, "labels": torch.zeros(len(part), dtype=torch.long)} for part in x.split(64)
    ]
    p = made(x).logits.detach().softmax(-1)
    wanted = float((x.square().sum(1) * (1 - p.square().sum(1))).mean())
    exact = importance(made, batches, ["head"], ("true_fisher",), draws=0)
    assert exact.of("true_fisher")["head"] == pytest.approx(wanted, rel=1e-12)
    drawn = importance(made, batches, ["head"], ("true_fisher", "fisher"), draws=8)
    spread = drawn.errors["true_fisher"]["head"]
    assert drawn.of("true_fisher")["head"] == pytest.approx(wanted, abs=5 * spread)
    assert abs(drawn.of("fisher")["head"] - wanted) > 5 * spread


def test_exact_true_fisher_is_the_sum_over_the_classes(form):
    made = subject("bert")
    got = importance(
        made.model, batched(made.rows, 3), made.sites, ("true_fisher", "gradient"), draws=0
    )
    plain = importance(made.model, batched(made.rows, 3), made.sites, ("gradient",))
    shares = torch.stack(
        [
            made.model.eval()(**{k: v for k, v in row.items() if k != "labels"})
            .logits[0]
            .softmax(-1)
            for row in made.rows
        ]
    ).detach()
    wanted = dict.fromkeys(made.sites, 0.0)
    for c in range(3):
        own = small_sites.gradients(made, [torch.tensor([c])] * len(made.rows))
        for site, g in own.items():
            wanted[site] += float((shares[:, c] * g.square().sum((1, 2))).mean())
    assert got.of("true_fisher") == pytest.approx(wanted, rel=1e-10)
    assert got.of("gradient") == plain.of("gradient")


def test_labels_are_drawn_from_the_model_at_scored_places_only():
    logits = torch.tensor([0.1, 0.2, 0.3, 0.4]).log().expand(2, 60000, 4)
    labels = torch.zeros(2, 60000, dtype=torch.long)
    labels[1, :1000] = -100
    drawn = one_pass.drawn(logits, labels, 0, "0")
    assert bool((drawn[1, :1000] == -100).all())
    seen = torch.bincount(drawn[0], minlength=4) / 60000
    assert seen.tolist() == pytest.approx([0.1, 0.2, 0.3, 0.4], abs=5 * sqrt(0.25 / 60000))
    assert drawn[0, 1000:].tolist() != drawn[1, 1000:].tolist()
    alone = one_pass.drawn(logits[1:], labels[1:], 1, "0")
    assert torch.equal(alone[0], drawn[1])


@pytest.mark.parametrize("name", ["bert", "llama", "gpt2", "spans"])
def test_a_row_gives_the_same_alone_and_padded_in_a_batch(name, form):
    made = subject(name)
    scores = (*DEFAULT, *(["true_fisher"] if not made.task else []))
    alone = importance(made.model, made.rows, made.sites, scores, task=made.task)
    together = importance(
        made.model, [joined(made.rows, extra=3)], made.sites, scores, task=made.task
    )
    for score in scores:
        for fold in (None, 0, 1):
            assert together.of(score, fold=fold) == pytest.approx(
                alone.of(score, fold=fold), rel=made.exact, abs=made.exact * 1e-3
            ), score


def test_the_square_of_the_mean_is_at_most_the_mean_of_the_squares():
    made = subject("bert")
    got = importance(made.model, batched(made.rows, 4), made.sites)
    assert all(got.of("gradient")[site] ** 2 < got.of("fisher")[site] for site in made.sites)
    same = importance(made.model, [joined(made.rows[:1] * 3)], made.sites)
    for site in made.sites:
        assert same.of("gradient")[site] ** 2 == pytest.approx(same.of("fisher")[site], rel=1e-9)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_the_squared_gradient_of_a_batch_is_the_fisher_trace_at_size_1_only(size):
    """Exact: over all batches of `size` draws with replacement."""
    made = subject("vit")
    made.rows = made.rows[:4]
    got = importance(made.model, [joined(made.rows)], made.sites, ("fisher", "gradient"))
    site = made.sites[0]
    g = small_sites.gradients(made)[site]
    squared = torch.stack(
        [g[list(rows)].mean(0).square().sum() for rows in product(range(4), repeat=size)]
    ).mean()
    fisher, mean = got.of("fisher")[site], got.of("gradient")[site] ** 2
    assert float(squared) == pytest.approx(fisher / size + (1 - 1 / size) * mean, rel=1e-10)
    assert (abs(float(squared) - fisher) < 1e-9 * fisher) == (size == 1)


def test_errors_are_those_of_a_mean_over_rows_also_for_whole_layers():
    made = subject("bert")
    got = importance(made.model, batched(made.rows, 3), made.sites)
    squares = {site: g.square().sum((1, 2)) for site, g in small_sites.gradients(made).items()}
    n = len(made.rows)
    assert got.errors["fisher"] == pytest.approx(
        {site: float(s.std()) / sqrt(n) for site, s in squares.items()}, rel=1e-7
    )
    energy = {site: float(e.std()) / sqrt(n) for site, e in small_sites.energies(made).items()}
    assert got.errors["energy"] == pytest.approx(energy, rel=1e-6)
    layers = {
        layer: sum(s for site, s in squares.items() if layer_of(site) == layer)
        for layer in map(layer_of, made.sites)
    }
    assert got.layer_errors["fisher"] == pytest.approx(
        {layer: float(s.std()) / sqrt(n) for layer, s in layers.items()}, rel=1e-7
    )
    assert got.by_layer("fisher") == pytest.approx(
        {layer: float(s.mean()) for layer, s in layers.items()}, rel=1e-9
    )


def test_a_layer_is_the_sum_of_its_sites():
    made = subject("bert")
    got = importance(made.model, batched(made.rows, 3), made.sites)
    first = [site for site in made.sites if site.startswith("bert.encoder.layer.0.")]
    assert len(first) == 6
    norms = [got.of("gradient")[site] for site in first]
    assert got.by_layer("gradient")["bert.encoder.layer.0"] == pytest.approx(
        sqrt(sum(n * n for n in norms)), rel=1e-12
    )
    share = sum(got.of("taylor")[site] for site in first) / sum(
        got.parameters[site] for site in first
    )
    assert got.by_layer("taylor", per_parameter=True)["bert.encoder.layer.0"] == pytest.approx(
        share, rel=1e-12
    )
    assert set(got.by_layer("fisher")) == {
        "bert.encoder.layer.0",
        "bert.encoder.layer.1",
        "bert.pooler.dense",
        "classifier",
    }


def test_lora_b_is_the_gradient_of_b_where_peft_starts():
    made = subject("bert")
    sites = [site for site in made.sites if "query" in site]
    got = importance(
        made.model, batched(made.rows, 3), sites, ("lora_b",), rank=4, alpha=10, seed=2
    )
    model = get_peft_model(
        made.model, LoraConfig(r=4, lora_alpha=10, target_modules=["query"])
    ).eval()
    for site in sites:
        layer = model.get_submodule(f"base_model.model.{site}")
        layer.lora_A["default"].weight.data.copy_(moments.lora_a(4, 32, f"2/{site}"))
    loss = sum(
        small_sites.row_loss(model(input_ids=row["input_ids"]).logits, row["labels"])
        for row in made.rows
    ) / len(made.rows)
    loss.backward()
    for site in sites:
        own = model.get_submodule(f"base_model.model.{site}").lora_B["default"].weight.grad
        assert got.of("lora_b")[site] == pytest.approx(float(own.square().sum()), rel=1e-6)


def test_lora_a_is_uniform_within_one_over_root_d_and_lora_b_has_the_mean_that_follows():
    draws = [moments.lora_a(8, 50, f"{n}") for n in range(400)]
    assert max(float(a.abs().max()) for a in draws) <= 1 / sqrt(50)
    assert float(torch.stack(draws).square().mean()) == pytest.approx(1 / 150, rel=0.02)
    mean = torch.randn(7, 50, generator=torch.Generator().manual_seed(0))
    seen = [moments.of_mean("lora_b", mean, mean, a, 16 / 8) for a in draws]
    assert sum(seen) / 400 == pytest.approx(
        16**2 / (3 * 8 * 50) * float(mean.square().sum()), rel=0.05
    )


@pytest.mark.parametrize("name", ["bert", "llama"])
def test_the_output_side_matrix_is_the_sum_over_tokens_of_gradient_times_output(name):
    made = subject(name)
    place = [site for site in made.sites if site.endswith(("0.output.dense", "0.mlp.down_proj"))]
    whole = [layer_of(place[0])]
    got = importance(
        made.model,
        batched(made.rows, 3),
        made.sites[:1],
        ("fisher",),
        outputs=[*place, *whole],
        top=9,
    )
    again = importance(
        made.model,
        batched(made.rows, 3),
        made.sites[:1],
        ("true_fisher",),
        outputs=[*place, *whole],
        top=9,
    )
    assert again.output_spectrum == got.output_spectrum
    model = made.model.eval()
    for asked in (*place, *whole):
        total = 0
        for row in made.rows:
            kept = []
            handle = model.get_submodule(asked).register_forward_hook(
                lambda _m, _i, out, kept=kept: kept.append(
                    out[0] if isinstance(out, tuple) else out
                )
            )
            loss = small_sites.row_loss(model(input_ids=row["input_ids"]).logits, row["labels"])
            handle.remove()
            total = total + torch.autograd.grad(loss, kept)[0][0].T @ kept[0][0]
        values = torch.linalg.svdvals((total / len(made.rows)).detach())[:9]
        assert got.output_spectrum[asked] == pytest.approx(values.tolist(), rel=1e-5)


def planted(
    gates: list[float], telling: set[int], shuffled: bool
) -> tuple[Branches, list[dict[str, torch.Tensor]]]:
    """Labels that only the slices `telling` of the input know."""
    draw = torch.Generator().manual_seed(6)
    x = torch.randn(600, 6 * len(gates), generator=draw, dtype=torch.float64)
    known = sum(x[:, 6 * n] for n in telling)
    labels = (known > 0).long()
    labels = labels[torch.randperm(600, generator=draw)] if shuffled else labels
    return Branches(gates), [
        {"x": a, "labels": b} for a, b in zip(x.split(50), labels.split(50), strict=True)
    ]


SITES = [f"layers.{n}" for n in range(6)]


def best(scores: dict[str, float], count: int) -> set[str]:
    return set(sorted(scores, key=scores.__getitem__)[-count:])


def test_layers_that_alone_can_lower_the_loss_come_first_by_every_gradient_score():
    model, batches = planted([1.0, 0.05, 0.05, 1.0, 0.05, 0.05], {0, 3}, shuffled=False)
    got = importance(model, batches, SITES, (*ALL, "true_fisher"))
    for score in ("fisher", "true_fisher", "gradient", "taylor", "lora_b", "trace_norm"):
        assert best(got.of(score), 2) == {"layers.0", "layers.3"}, score
        assert best(got.of(score, fold=0), 2) == best(got.of(score, fold=1), 2), score
    assert max(got.of("energy").values()) < 1.2 * min(
        got.of("energy").values()
    )  # what leaves a layer, not what is made of it


def test_only_scores_of_the_mean_gradient_know_which_layers_see_the_label():
    model, batches = planted([1.0] * 6, {1, 4}, shuffled=False)
    got = importance(model, batches, SITES, ALL)
    for score in ("gradient", "taylor", "lora_b", "trace_norm"):
        assert best(got.of(score), 2) == {"layers.1", "layers.4"}, score
    others = [
        value for site, value in got.of("gradient").items() if site not in ("layers.1", "layers.4")
    ]
    assert min(got.of("gradient")["layers.1"], got.of("gradient")["layers.4"]) > 1.5 * max(others)
    assert max(got.of("fisher").values()) < 1.3 * min(got.of("fisher").values())


def test_with_shuffled_labels_no_layer_stands_out():
    model, batches = planted([1.0] * 6, {1, 4}, shuffled=True)
    found = importance(model, batches, SITES, ("gradient",)).of("gradient")
    others = [value for site, value in found.items() if site not in ("layers.1", "layers.4")]
    assert min(found["layers.1"], found["layers.4"]) < 1.5 * max(others)
