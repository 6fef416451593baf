"""What each method promises at its start, and what it refuses."""

import subprocess
import sys
from dataclasses import FrozenInstanceError
from importlib import import_module

import pytest
import torch
from gonogo.methods import METHODS
from gonogo.methods.run import NotObservable, Run, RunFolder
from gonogo.methods.tasks import models, rows

from tests.methods import small_models

CASES = [
    ("lora", {}),
    ("lora", {"use_rslora": True}),
    ("lora", {"use_dora": True}),
    ("lora", {"init_lora_weights": False}),
    ("lora", {"init_lora_weights": "pissa"}),
    ("lora", {"init_lora_weights": "olora"}),
    ("bottleneck", {}),
    ("bottleneck", {"style": "pfeiffer"}),
    ("prefix", {}),
    ("head", {}),
    ("full", {}),
]


def batch_of(recipe: dict) -> dict[str, torch.Tensor]:
    tokenizer = models.load_tokenizer(recipe)
    return rows.collate(
        rows.encode(rows.read(recipe["data"]["path"], "test")[:6], tokenizer, recipe), tokenizer
    )


@torch.no_grad()
def logits(model, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    return (
        model(**batch).logits[:, -batch["input_ids"].shape[1] :]
        if batch["labels"].dim() > 1
        else model(**batch).logits
    )


@pytest.mark.parametrize("base", ["bert", "llama"])
@pytest.mark.parametrize(("name", "config"), CASES)
def test_the_promise_at_the_start_holds(base, name, config, request, data):
    recipe = small_models.recipe(request.getfixturevalue(base), data, name, config)
    module, batch = models.method(recipe), batch_of(recipe)
    plain = logits(models.load_base(recipe, head_seed=1), batch)
    wrapped = module.wrap(models.load_base(recipe, head_seed=1), recipe["method"]["config"], seed=2)
    promised = module.promises(recipe["method"]["config"])["identity_at_init"]
    assert ((logits(wrapped, batch) - plain).abs().max() < 1e-4) == promised
    assert not any(part.training for part in wrapped.modules())
    assert models.trainable(wrapped)


@pytest.mark.parametrize(("name", "config"), CASES)
def test_mergeable_is_what_merges(name, config, bert, data):
    recipe = small_models.recipe(bert, data, name, config)
    module, batch = models.method(recipe), batch_of(recipe)
    model = module.wrap(models.load_base(recipe, head_seed=1), recipe["method"]["config"], seed=2)
    if not module.promises(recipe["method"]["config"])["mergeable"]:
        with pytest.raises(NotObservable, match="no merged form"):
            models.merged(model)
        return
    with torch.no_grad():
        for parameter in models.trainable(model).values():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    before = logits(model, batch)
    torch.testing.assert_close(logits(models.merged(model), batch), before, rtol=0, atol=1e-4)


@pytest.mark.parametrize("base", ["bert", "llama"])
@pytest.mark.parametrize(("name", "config"), CASES)
def test_saved_and_loaded_on_another_head_seed(base, name, config, request, data, tmp_path):
    recipe = small_models.recipe(request.getfixturevalue(base), data, name, config)
    module, batch = models.method(recipe), batch_of(recipe)
    model = module.wrap(models.load_base(recipe, head_seed=1), recipe["method"]["config"], seed=2)
    with torch.no_grad():
        for parameter in models.trainable(model).values():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    before = logits(model, batch)
    small_models.run(tmp_path / "run", recipe)
    module.save(model, tmp_path / "run" / "artifact")
    served = models.load_trained(RunFolder(tmp_path / "run"), head_seed=77)
    torch.testing.assert_close(logits(served, batch), before, rtol=0, atol=1e-4)
    assert not list((tmp_path / "run" / "artifact").glob("*.bin"))


def test_switching_a_bottleneck_off_gives_the_base_back(bert, data):
    from gonogo.methods.adapters import bottleneck

    recipe = small_models.recipe(bert, data, "bottleneck")
    batch, base = batch_of(recipe), models.load_base(recipe, head_seed=1)
    plain = logits(base, batch)
    model = bottleneck.wrap(base, {}, seed=2)
    for adapter in model.modules():
        if isinstance(adapter, bottleneck.Adapter):
            torch.nn.init.normal_(adapter.up.weight)
    assert (logits(model, batch) - plain).abs().max() > 1e-2
    bottleneck.enable(model, False)
    assert torch.equal(logits(model, batch), plain)


def test_places_of_both_styles(bert, llama, data):
    from gonogo.methods.adapters.bottleneck import places

    for base, expected in ((bert, (4, 2)), (llama, (4, 2))):
        model = models.load_base(small_models.recipe(base, data), head_seed=1)
        assert (len(places(model, "houlsby")), len(places(model, "pfeiffer"))) == expected


@pytest.mark.parametrize(
    ("name", "field", "near"),
    [
        ("lora", "lora_alhpa", "lora_alpha"),
        ("bottleneck", "sizes", "size"),
        ("prefix", "num_virtual_token", "num_virtual_tokens"),
        ("head", "module", "modules"),
        ("full", "r", "known are"),
    ],
)
def test_an_unknown_field_is_refused_with_the_near_one(name, field, near):
    module = import_module(METHODS[name])
    with pytest.raises(ValueError, match=near):
        module.config({field: 1})


def test_a_head_that_the_model_lacks_is_refused(bert, data):
    recipe = small_models.recipe(bert, data, "head", {"modules": ["clasifier"]})
    with pytest.raises(ValueError, match="did you mean 'classifier'"):
        models.method(recipe).wrap(models.load_base(recipe), recipe["method"]["config"])


def test_an_unknown_method_is_refused(bert, data):
    with pytest.raises(ValueError, match="did you mean 'lora'"):
        models.method(small_models.recipe(bert, data) | {"method": {"name": "lorra"}})


def test_configs_are_frozen():
    config = import_module(METHODS["lora"]).config({"r": 4})
    with pytest.raises(FrozenInstanceError):
        config.r = 5


def test_a_missing_head_is_drawn_from_its_own_seed(bert, data):
    recipe = small_models.recipe(bert, data)
    state = torch.get_rng_state()
    one, same, other = (
        models.load_base(recipe, head_seed=seed).classifier.weight for seed in (1, 1, 2)
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_saved_adapter_has_the_same_bytes_under_any_hash_seed(bert, data, tmp_path):
    from gonogo.methods.adapters import lora

    recipe = small_models.recipe(bert, data, config={"target_modules": ["value", "key", "query"]})
    lora.save(lora.wrap(models.load_base(recipe, 1), recipe["method"]["config"], 2), tmp_path)
    assert '"key",\n    "query",\n    "value"' in (tmp_path / "adapter_config.json").read_text()


def test_importing_the_package_loads_no_torch():
    code = "import sys, methods, gonogo.methods.run; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_run_is_read_only_and_a_missing_file_not_observable(tmp_path):
    run = Run(seed=0, output=tmp_path, recipe={"task": "causal-lm"}, base=tmp_path, data=tmp_path)
    with pytest.raises(TypeError):
        run.recipe["task"] = "classification"
    with pytest.raises(NotObservable, match=r"has no trace\.jsonl"):
        RunFolder(tmp_path).lines("trace.jsonl")
