"""The scoring pass around the numbers: what it computes, keeps and leaves behind, and what it refuses."""

import gc
from types import SimpleNamespace

import pytest
import torch
from gonogo.methods.instruments import watch
from gonogo.methods.instruments.importance import DEFAULT, SCORES, importance
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from tests.methods import small_sites
from tests.methods.small_sites import Softmax, batched, joined, subject


def state(model: nn.Module) -> dict:
    """Everything about a model that a pass could leave changed."""
    return {
        "weights": {name: tensor.clone() for name, tensor in model.state_dict().items()},
        "frozen": [p.requires_grad for p in model.parameters()],
        "grads": [None if p.grad is None else p.grad.clone() for p in model.parameters()],
        "modes": [m.training for m in model.modules()],
        "own": [sorted(m.__dict__) for m in model.modules()],
        "hooks": [
            len(m._forward_hooks) + len(m._backward_hooks) + len(m._forward_pre_hooks)
            for m in model.modules()
        ],
        "generator": torch.get_rng_state(),
    }


def same(before: dict, after: dict) -> bool:
    tensors = ("weights", "grads", "generator")
    plain = all(before[key] == after[key] for key in before if key not in tensors)
    weights = all(
        torch.equal(tensor, after["weights"][name]) for name, tensor in before["weights"].items()
    )
    grads = all(
        (a is None and b is None) or torch.equal(a, b)
        for a, b in zip(before["grads"], after["grads"], strict=True)
    )
    return plain and weights and grads and torch.equal(before["generator"], after["generator"])


def unusual(name: str) -> small_sites.Subject:
    """Some weights frozen, some modules in eval mode, gradients lying there."""
    made = subject(name)
    for n, parameter in enumerate(made.model.parameters()):
        parameter.requires_grad_(n % 3 > 0)
        parameter.grad = torch.full_like(parameter, float(n)) if n % 2 else None
    for module in list(made.model.modules())[::4]:
        module.training = False
    return made


@pytest.mark.parametrize("name", ["bert", "llama", "vit"])
def test_the_model_is_handed_back_as_it_was(name):
    made = unusual(name)
    before = state(made.model)
    first = importance(
        made.model, batched(made.rows, 3), made.sites, SCORES, outputs=made.sites[:1]
    )
    assert same(before, state(made.model))
    assert (
        importance(made.model, batched(made.rows, 3), made.sites, SCORES, outputs=made.sites[:1])
        == first
    )


@pytest.mark.parametrize("where", ["batches", "forward", "backward"])
def test_also_when_something_breaks_on_the_way(where, monkeypatch):
    made = unusual("bert")
    before = state(made.model)

    def broken(*_: object) -> None:
        raise RuntimeError("broken on purpose")

    def some():
        yield joined(made.rows)
        if where == "batches":
            broken()
        monkeypatch.setattr(watch.Site, "value" if where == "forward" else "see", broken)
        yield joined(made.rows)

    with pytest.raises(RuntimeError, match="broken on purpose"):
        importance(made.model, some(), made.sites, outputs=made.sites[:1])
    assert same(before, state(made.model))


def test_the_check_sees_what_was_left_behind():
    made = subject("bert")
    for change in (
        lambda m: m.bert.embeddings.requires_grad_(False),
        lambda m: m.bert.pooler.eval(),
        lambda m: setattr(m.classifier, "forward", m.classifier.forward),
        lambda m: m.classifier.weight.data.add_(1),
        lambda m: m.register_forward_hook(print),
        lambda _: torch.rand(1),
    ):
        before = state(made.model)
        change(made.model)
        assert not same(before, state(made.model))


def test_under_no_grad_and_in_eval_mode_it_gives_the_same():
    made = subject("bert")
    plain = importance(made.model, batched(made.rows, 3), made.sites)
    with torch.no_grad():
        assert importance(made.model.eval(), batched(made.rows, 3), made.sites) == plain


@pytest.fixture
def new_only():
    """Hide from the collector what stood before, which is much."""
    gc.freeze()
    yield
    gc.unfreeze()


def held() -> int:
    gc.collect()
    return sum(one.numel() for one in gc.get_objects() if issubclass(type(one), torch.Tensor))


@pytest.mark.usefixtures("new_only")
def test_memory_does_not_grow_with_the_rows():
    made = subject("vit")
    seen = []

    def many():
        for _ in range(6):
            seen.append(held())
            yield joined(made.rows)

    importance(made.model, many(), made.sites, SCORES, outputs=made.sites[:1])
    assert len(set(seen[2:])) == 1
    assert seen[-1] - seen[0] < 4 * sum(p.numel() for p in made.model.parameters())


@pytest.mark.usefixtures("new_only")
def test_the_check_of_memory_sees_what_is_kept():
    before = held()
    kept = torch.zeros(100)
    assert held() == before + kept.numel()


def test_one_sum_per_fold_is_kept_and_none_where_no_score_needs_it():
    made = subject("bert")
    for scores, wanted in ((("fisher", "energy"), 0), (("fisher", "taylor"), 3)):
        one = watch.Watch(made.model, made.sites, (), 3, "taylor" in scores, torch.device("cpu"))
        found = sum(site.sums.numel() for site in one.sites if site.sums is not None)
        assert found == wanted * sum(site.shape[0] * site.shape[1] for site in one.sites)


def operations(call) -> int:
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()


@pytest.fixture(scope="module")
def square():
    """Encoder wider than its rows are long, so that what is left out shows; in fp64 as all here."""
    torch.manual_seed(0)
    sizes = {
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 128,
        "vocab_size": 40,
    }
    model = (
        small_sites.BertForSequenceClassification(small_sites.BertConfig(**sizes)).double().eval()
    )
    return model, {
        "input_ids": torch.randint(1, 40, (4, 12)),
        "labels": torch.zeros(4, dtype=torch.long),
    }


def test_fisher_alone_computes_no_gradient_of_a_weight(square):
    model, batch = square
    sites = [name for name in small_sites.linears(model) if "encoder" in name]
    with torch.no_grad():
        forward = operations(lambda: model(input_ids=batch["input_ids"]))
    whole = operations(
        lambda: nn.functional.cross_entropy(
            model(input_ids=batch["input_ids"]).logits, batch["labels"]
        ).backward()
    )
    fisher = operations(lambda: importance(model, [batch], sites, ("fisher",)))
    energy = operations(lambda: importance(model, [batch], sites, ("energy",)))
    assert forward <= energy < 1.01 * forward
    assert fisher < 2.3 * forward < 0.8 * whole


def test_sites_that_read_one_tensor_share_its_gram_matrix(square):
    model, batch = square
    names = [f"bert.encoder.layer.1.attention.self.{part}" for part in ("query", "key", "value")]
    one, three = (
        operations(lambda sites=sites: importance(model, [batch], sites, ("fisher",)))
        for sites in (names[:1], names)
    )
    product = 2 * 4 * 12 * 12 * 64  # (B, T, o) times its transpose
    assert 2 <= (three - one) / product < 2.01


def test_half_precision_is_named_and_near_the_fp32_values():
    made = subject("bert")
    model = made.model.float()
    wanted = importance(model, batched(made.rows, 3), made.sites)
    assert wanted.findings == ()
    assert wanted.of("fisher") == pytest.approx(
        {
            site: float(g.square().sum((1, 2)).mean())
            for site, g in small_sites.gradients(made).items()
        },
        rel=1e-5,
    )
    got = importance(model.bfloat16(), batched(made.rows, 3), made.sites)
    assert len(got.findings) == 1
    assert "14 sites are in half precision" in got.findings[0]
    assert got.of("fisher") == pytest.approx(wanted.of("fisher"), rel=0.3)


@pytest.mark.parametrize("nested", [False, True])
def test_a_4bit_model_scores_as_its_dequantised_twin(nested):
    bnb = pytest.importorskip("bitsandbytes")
    made = subject("bert")
    model = made.model.float()
    inner = [site for site in made.sites if "encoder" in site]
    for site in inner:
        old = model.get_submodule(site)
        new = bnb.nn.Linear4bit(
            old.in_features,
            old.out_features,
            compute_dtype=torch.float32,
            quant_type="nf4",
            compress_statistics=nested,
        )
        new.weight = bnb.nn.Params4bit(
            old.weight.data,
            requires_grad=False,
            quant_type="nf4",
            compress_statistics=nested,
            module=new,
        )
        new.bias = old.bias
        model.set_submodule(site, new.to("cpu"))
    before = state(model)
    sites = [site for site in inner if "layer.0.attention.self.key" not in site]
    got = importance(model, batched(made.rows, 3), sites, (*DEFAULT, "true_fisher"))
    assert same(before, state(model))
    assert "10 sites are 4-bit" not in got.findings[0]
    assert f"{len(sites)} sites are 4-bit" in got.findings[0]
    for site in inner:
        coded = model.get_submodule(site)
        twin = nn.Linear(coded.in_features, coded.out_features)
        twin.weight.data.copy_(watch.weight(coded))
        twin.bias = coded.bias
        model.set_submodule(site, twin)
    wanted = importance(model, batched(made.rows, 3), sites, (*DEFAULT, "true_fisher"))
    for score in (*DEFAULT, "true_fisher"):
        assert got.of(score) == pytest.approx(wanted.of(score), rel=1e-3), score


class Odd(nn.Module):
    """logits by way of a module that a test chooses."""

    def __init__(self, way, **parts: nn.Module) -> None:
        super().__init__()
        self.way = way
        self.head, self.spare = nn.Linear(4, 4), nn.Linear(4, 4)
        self.norm = nn.LayerNorm(4)
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x: torch.Tensor) -> SimpleNamespace:
        return SimpleNamespace(logits=self.way(self, x))


BATCH = {"x": torch.ones(3, 4), "labels": torch.zeros(3, dtype=torch.long)}
REFUSED = {
    "calls a site twice": (lambda m, x: m.head(m.head(x)), ["head"], {}, "head is called twice"),
    "does not call a site": (lambda m, x: m.head(x), ["head", "spare"], {}, "does not call spare"),
    "mixes the rows": (
        lambda m, x: m.head(x.reshape(1, 3, 4))[0],
        ["head"],
        {},
        r"head reads \(1, 3, 4\) in a batch of 3 rows",
    ),
    "unknown site": (lambda m, x: m.head(x), ["haed"], {}, "no module `haed`; did you mean `head`"),
    "no linear map": (
        lambda m, x: m.norm(m.head(x)),
        ["norm"],
        {},
        "norm is LayerNorm; wanted nn.Linear",
    ),
    "the same twice": (
        lambda m, x: m.head(x),
        ["head", "head"],
        {},
        "head and head are one module",
    ),
    "no site": (lambda m, x: m.head(x), [], {}, "at least one of each"),
    "unknown score": (
        lambda m, x: m.head(x),
        ["head"],
        {"scores": ("fischer",)},
        "unknown score `fischer`; did you mean `fisher`",
    ),
    "not finite": (lambda m, x: m.head(x) * float("inf"), ["head"], {}, "score the model in fp32"),
    "a spectrum that is not finite": (
        lambda m, x: m.head(x) * float("inf"),
        ["head"],
        {"scores": ("spectrum",)},
        "gradient is not finite",
    ),
    "more folds than rows": (lambda m, x: m.head(x), ["head"], {"folds": 4}, "3 rows in 4 folds"),
    "draws": (lambda m, x: m.head(x), ["head"], {"draws": -1}, "draws = -1"),
    "labels of spans drawn": (
        lambda m, x: m.head(x),
        ["head"],
        {"scores": ("true_fisher",), "task": "span"},
        "leave out true_fisher",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refuses_what_it_cannot_score(name):
    way, sites, options, words = REFUSED[name]
    with pytest.raises(ValueError, match=words):
        importance(Odd(way), [BATCH], sites, **options)


def test_refuses_autocast_and_every_class_of_many_labels():
    made = subject("llama")
    with torch.autocast("cpu", torch.bfloat16), pytest.raises(ValueError, match="under autocast"):
        importance(made.model, batched(made.rows, 3), made.sites)
    with pytest.raises(ValueError, match="a row has many labels"):
        importance(made.model, batched(made.rows, 3), made.sites, ("true_fisher",), draws=0)


@pytest.mark.parametrize("name", ["bert", "llama"])
def test_a_batch_without_an_attention_mask_is_attended_everywhere(name):
    made = subject(name)
    rows = [
        {key: tensor[:, :4] if tensor.dim() == 2 else tensor for key, tensor in row.items()}
        for row in made.rows
    ]
    bare = [{key: tensor for key, tensor in row.items() if key != "attention_mask"} for row in rows]
    wanted = importance(made.model, [joined(rows)], made.sites)
    got = importance(made.model, [joined(bare)], made.sites)
    for score in DEFAULT:
        assert got.of(score) == pytest.approx(wanted.of(score), rel=1e-6), score


def test_a_score_that_was_not_asked_for_is_named():
    got = importance(
        Softmax(4, 4),
        [{"x": BATCH["x"].double(), "labels": BATCH["labels"]}],
        ["head"],
        ("fisher",),
    )
    with pytest.raises(ValueError, match=r"no `taylor` in this pass, only fisher"):
        got.of("taylor")


def test_what_a_reader_should_know_is_found():
    made = subject("llama")
    made.rows[1]["labels"][:] = -100
    got = importance(made.model, batched(made.rows, 2), made.sites)
    assert got.findings == ("1 rows score no token and count as gradient 0",)
    cut = importance(Odd(lambda m, x: m.head(x) + m.spare(x).detach()), [BATCH], ["head", "spare"])
    assert "no gradient reaches 1 sites, spare" in cut.findings[0]
    assert cut.of("fisher")["spare"] == 0
