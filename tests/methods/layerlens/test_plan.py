"""Plans, their file, their rules, their parameters, and what peft really allocates for them."""

import random

import pytest
import torch
from gonogo.methods.layerlens import method, plan, rules
from gonogo.methods.layerlens.layout import Layout
from gonogo.methods.layerlens.plan import Given, Plan
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    LlamaConfig,
    LlamaForCausalLM,
    ViTConfig,
    ViTForImageClassification,
)

SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
}


def bert():
    torch.manual_seed(0)
    return BertForSequenceClassification(
        BertConfig(**SMALL, vocab_size=50, num_labels=2, attn_implementation="sdpa")
    ).eval()


def llama():
    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            **SMALL,
            num_key_value_heads=2,
            vocab_size=50,
            pad_token_id=0,
            attn_implementation="sdpa",
        )
    ).eval()


def vit():
    torch.manual_seed(0)
    return ViTForImageClassification(
        ViTConfig(
            **SMALL,
            image_size=8,
            patch_size=4,
            num_channels=1,
            num_labels=3,
            attn_implementation="sdpa",
        )
    ).eval()


MODELS = {"bert": bert, "llama": llama, "vit": vit}


def batch_of(name):
    torch.manual_seed(1)
    if name == "vit":
        return {"pixel_values": torch.randn(3, 1, 8, 8)}
    mask = torch.ones(3, 7, dtype=torch.long)
    mask[1, 4:] = 0
    return {"input_ids": torch.randint(3, 50, (3, 7)), "attention_mask": mask}


def drawn(layout: Layout, draw: random.Random) -> Plan:
    """A random plan that every rule allows."""
    sites = []
    for layer in range(len(layout)):
        names = list(layout.at(layer).linear)
        kind = draw.choice(["none", "lora", "lora-each", "adapter", "prefix"])
        if kind == "lora":
            sites.append(
                Given(
                    layer, "lora", draw.randint(1, 8), tuple(draw.sample(names, draw.randint(2, 3)))
                )
            )
        elif kind == "lora-each":
            sites += [
                Given(layer, "lora", draw.randint(1, 8), (name,)) for name in draw.sample(names, 2)
            ]
        else:
            sites.append(Given(layer, kind, 0 if kind == "none" else draw.randint(1, 8)))
    return Plan.of(sites)


def config_of(chosen: Plan, name: str) -> dict:
    return {"sites": chosen.plain(), "modules_to_save": [] if name == "llama" else ["classifier"]}


# ── the layout ───────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("name", MODELS)
def test_the_layout_names_what_can_be_adapted(name):
    model = MODELS[name]()
    found = method.layout(model)
    assert len(found) == 3
    assert found.hidden == 32
    for layer in range(3):
        for module, (inputs, outputs) in found.at(layer).linear.items():
            seen = model.get_submodule(found.full(layer, module))
            assert (seen.in_features, seen.out_features) == (inputs, outputs)
        assert found.attention(layer)[1] == (16 if name == "llama" else 32)
        assert found.adapter(layer)[1] == 32
        last = model.get_submodule(found.full(layer, found.adapter(layer)[0]))
        assert last.in_features == 48
    heads = 0 if name == "llama" else sum(p.numel() for p in model.classifier.parameters())
    assert found.head == heads
    assert found.total + found.head == sum(p.numel() for p in model.parameters())
    assert Layout.read(found.plain()) == found


# ── planned = allocated = stored ─────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("name", MODELS)
def test_planned_parameters_are_those_that_train_and_those_that_are_stored(name, tmp_path):
    from safetensors.torch import load_file

    draw = random.Random(3)
    where = method.layout(MODELS[name]())
    for number in range(25):
        chosen = drawn(where, draw)
        assert not any(rules.violations(chosen, where).values())
        model = method.wrap(MODELS[name](), config_of(chosen, name), seed=number)
        trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
        assert trained == chosen.parameters(where) + where.head
        folder = tmp_path / str(number)
        folder.mkdir()
        method.save(model, folder)
        stored = sum(
            t.numel() for file in folder.rglob("*.safetensors") for t in load_file(file).values()
        )
        assert stored == trained


@pytest.mark.parametrize("name", MODELS)
def test_what_is_saved_is_what_is_loaded(name, tmp_path):
    draw, batch = random.Random(5), batch_of(name)
    where = method.layout(MODELS[name]())
    for number in range(6):
        chosen = drawn(where, draw)
        model = method.wrap(MODELS[name](), config_of(chosen, name), seed=number)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.add_(torch.randn_like(parameter) * 0.1)
            wanted = model(**batch).logits
            folder = tmp_path / str(number)
            folder.mkdir()
            method.save(model, folder)
            torch.manual_seed(99)
            again = method.load(MODELS[name](), folder)
            assert torch.equal(again(**batch).logits, wanted)
            if chosen.methods:
                with method.switched_off(again):
                    assert not torch.equal(again(**batch).logits, wanted)
                assert torch.equal(again(**batch).logits, wanted)


def test_a_plan_of_lora_alone_is_a_peft_adapter_that_anyone_can_load(tmp_path):
    from peft import PeftModel

    sites = [
        {"layer": 0, "method": "lora", "rank": 3, "modules": ["attention.self.query"]},
        {"layer": 0, "method": "lora", "rank": 5, "modules": ["attention.self.value"]},
        {"layer": 1, "method": "none"},
        {
            "layer": 2,
            "method": "lora",
            "rank": 2,
            "modules": ["output.dense", "intermediate.dense"],
        },
    ]
    model = method.wrap(bert(), {"sites": sites, "modules_to_save": ["classifier"]}, seed=1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_()
    method.save(model, tmp_path)
    theirs = PeftModel.from_pretrained(bert(), str(tmp_path)).eval()
    assert torch.equal(theirs(**batch_of("bert")).logits, model(**batch_of("bert")).logits)
    ranks = {n: p.shape[0] for n, p in theirs.named_parameters() if "lora_A" in n}
    assert sorted(ranks.values()) == [2, 2, 3, 5]
    scalings = {
        m.scaling["default"]
        for m in theirs.modules()
        if isinstance(getattr(m, "scaling", None), dict) and "default" in m.scaling
    }
    assert scalings == {2.0}


@pytest.mark.parametrize("name", MODELS)
def test_without_a_prefix_the_start_is_the_base_itself(name):
    where, batch = method.layout(MODELS[name]()), batch_of(name)
    modules = tuple(where.at(0).linear)[:2]
    chosen = Plan.of([Given(0, "lora", 2, modules), Given(1, "adapter", 4), Given(2, "none")])
    assert method.promises(config_of(chosen, name))["identity_at_init"]
    with torch.no_grad():
        base = MODELS[name]()(**batch).logits
        assert torch.equal(
            method.wrap(MODELS[name](), config_of(chosen, name), seed=0)(**batch).logits, base
        )


# ── a prefix in one layer ────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("name", ["bert", "llama"])
@pytest.mark.parametrize("padded", [True, False])
def test_a_prefix_on_every_layer_is_pefts_prefix(name, padded):
    """peft's own prefix tuning, with the same keys and values, answers the same."""
    from peft import PrefixTuningConfig, get_peft_model

    batch = batch_of(name)
    if not padded:
        batch["attention_mask"] = torch.ones_like(batch["attention_mask"])
    plain = [{"layer": layer, "method": "prefix", "tokens": 4} for layer in range(3)]
    ours = method.wrap(MODELS[name](), {"sites": plain}, seed=0)
    theirs = get_peft_model(
        MODELS[name](),
        PrefixTuningConfig(
            num_virtual_tokens=4, task_type="SEQ_CLS" if name == "bert" else "CAUSAL_LM"
        ),
    ).eval()
    found = [
        module.prefix
        for module in ours.modules()
        if hasattr(module, "prefix") and isinstance(module.prefix, method.prefixes.Prefix)
    ]
    flat = torch.stack(
        [torch.stack([p.key, p.value]) for p in found]
    ).detach()  # layer, 2, heads, tokens, width
    flat = flat.permute(3, 0, 1, 2, 4).reshape(4, -1)
    with torch.no_grad():
        next(theirs.prompt_encoder["default"].parameters()).copy_(flat)
        moved = torch.arange(4, 4 + batch["input_ids"].shape[1])[None].expand(
            3, -1
        )  # as peft numbers what follows a prefix
        assert torch.allclose(
            ours(**batch, position_ids=moved).logits, theirs(**batch).logits, atol=1e-5
        )


def test_a_prefix_sees_no_padding_and_no_future():
    model = method.wrap(llama(), {"sites": [{"layer": 1, "method": "prefix", "tokens": 3}]}, seed=0)
    batch = batch_of("llama")
    with torch.no_grad():
        whole = model(**batch).logits
        alone = model(
            input_ids=batch["input_ids"][1:2, :4], attention_mask=batch["attention_mask"][1:2, :4]
        ).logits
        assert torch.allclose(whole[1, :4], alone[0], atol=1e-5)
        changed = batch["input_ids"].clone()
        changed[:, -1] = 4
        assert torch.allclose(
            model(input_ids=changed, attention_mask=batch["attention_mask"]).logits[0, :-1],
            whole[0, :-1],
            atol=1e-6,
        )


def test_a_prefix_generates_with_a_cache_as_without():
    model = method.wrap(llama(), {"sites": [{"layer": 1, "method": "prefix", "tokens": 3}]}, seed=0)
    ids = batch_of("llama")["input_ids"][:1]
    with torch.no_grad():
        first = model(input_ids=ids[:, :-1], use_cache=True)
        step = model(input_ids=ids[:, -1:], past_key_values=first.past_key_values, use_cache=True)
        assert torch.allclose(step.logits[0, -1], model(input_ids=ids).logits[0, -1], atol=1e-5)


# ── rules ────────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_every_rule_that_decides_has_a_plan_that_breaks_it_and_it_alone():
    where = method.layout(bert())
    assert set(rules.BREAKING) == {one.name for one in rules.RULES if one.decides}
    for name, make in rules.BREAKING.items():
        broken = {rule for rule, lines in rules.violations(*make(where)).items() if lines}
        assert broken == {name}, name


def test_the_seeds_rule_is_told_and_does_not_decide():
    where = method.layout(bert())
    chosen = Plan.of([Given(0, "prefix", 2), Given(1, "none"), Given(2, "none")])
    assert not any(rules.violations(chosen, where).values())
    assert rules.violations(chosen, where, decides=False) == {
        "seed-attention": ["layer 0: a prefix on an attention layer"]
    }


def test_a_model_refuses_a_site_that_it_does_not_have():
    for site, said in [
        ({"layer": 7, "method": "adapter", "width": 2}, "the model has 3"),
        (
            {"layer": 0, "method": "lora", "rank": 2, "modules": ["c_attn"]},
            "no linear map `c_attn`",
        ),
    ]:
        with pytest.raises(ValueError, match=said):
            method.wrap(bert(), {"sites": [site]})


# ── the file ─────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_a_plan_is_read_as_it_was_written(tmp_path):
    where, draw = method.layout(bert()), random.Random(9)
    for number in range(20):
        chosen, path = drawn(where, draw), tmp_path / f"{number}.toml"
        path.write_text(plan.text(chosen, ["made for a test"]))
        assert plan.read(path) == chosen


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("schema = 2", "wanted schema = 1"),
        ("schema = 1\nsite = 3", "wanted schema = 1|sites"),
        ("schema = ", "is not TOML"),
        (
            'schema = 1\n[[site]]\nlayer = 0\nmethod = "lorra"',
            "wanted one of none, lora, adapter, prefix",
        ),
        ('schema = 1\n[[site]]\nlayer = -1\nmethod = "none"', "wanted a whole number from 0"),
        (
            'schema = 1\n[[site]]\nlayer = 0\nmethod = "lora"\nrank = 0\nmodules = ["query"]',
            "wanted a whole number from 1",
        ),
        (
            'schema = 1\n[[site]]\nlayer = 0\nmethod = "lora"\nrank = 2',
            "wanted the names of linear maps",
        ),
        (
            'schema = 1\n[[site]]\nlayer = 0\nmethod = "prefix"\nrank = 2',
            "rank: unknown for prefix",
        ),
        ('schema = 1\n[[site]]\nlayer = 0\nmethod = "none"\nwidth = 2', "width: unknown for none"),
        ('schema = 1\n[[site]]\nlayer = true\nmethod = "none"', "wanted a whole number from 0"),
    ],
)
def test_a_bad_plan_says_where_and_what(tmp_path, written, said):
    path = tmp_path / "plan.toml"
    path.write_text(written)
    with pytest.raises(ValueError, match=said) as told:
        plan.read(path)
    assert str(path) in str(told.value)


def test_a_plan_that_is_not_there_is_no_traceback(tmp_path):
    with pytest.raises(ValueError, match="cannot be read"):
        plan.read(tmp_path / "none.toml")


@pytest.mark.parametrize(
    "kinds", [("lora",), ("adapter",), ("prefix",), ("lora", "adapter", "prefix")]
)
def test_a_head_of_two_parts_trains_whole_and_is_counted_as_head(kinds):
    """DistilBERT: peft's modules_to_save = ["classifier"] takes pre_classifier along, by the end of its name."""
    torch.manual_seed(0)
    model = DistilBertForSequenceClassification(
        DistilBertConfig(dim=32, n_layers=3, n_heads=4, hidden_dim=48, vocab_size=50)
    ).eval()
    where = method.layout(model)
    assert where.head == sum(
        p.numel() for part in (model.pre_classifier, model.classifier) for p in part.parameters()
    )
    given = {
        "lora": {"rank": 2, "modules": ["attention.q_lin"]},
        "adapter": {"width": 3},
        "prefix": {"tokens": 2},
    }
    sites = [
        {"layer": layer, "method": kinds[layer % len(kinds)], **given[kinds[layer % len(kinds)]]}
        for layer in range(3)
    ]
    planned = Plan.of(sites).parameters(where)
    made = method.wrap(model, {"sites": sites, "modules_to_save": ["classifier"]}, seed=0)
    assert sum(p.numel() for p in made.parameters() if p.requires_grad) == planned + where.head
    trained = {name for name, p in made.named_parameters() if p.requires_grad}
    assert all(
        any(f"{part}." in name for name in trained) for part in ("pre_classifier", "classifier")
    )
