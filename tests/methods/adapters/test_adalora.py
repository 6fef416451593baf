"""AdaLoRA in gonogo's loop: peft's schedule, its penalty, and what is exported."""

import pytest
import torch
from gonogo.methods.adapters import adalora
from safetensors.torch import load_file
from transformers import BertConfig, BertForSequenceClassification

CONFIG = {
    "target_r": 2,
    "init_r": 4,
    "lora_alpha": 8,
    "target_modules": ["query", "value"],
    "modules_to_save": ["classifier"],
}


def bert():
    torch.manual_seed(0)
    return BertForSequenceClassification(
        BertConfig(
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=48,
            vocab_size=50,
            num_labels=2,
        )
    ).eval()


def batch():
    torch.manual_seed(1)
    return {
        "input_ids": torch.randint(3, 50, (8, 6)),
        "attention_mask": torch.ones(8, 6, dtype=torch.long),
        "labels": torch.randint(0, 2, (8,)),
    }


def trained(steps=60):
    model = adalora.wrap(bert(), CONFIG, seed=0)
    adalora.begin(model, CONFIG, steps)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    for step in range(steps):
        loss = torch.nn.functional.cross_entropy(
            model(**{k: v for k, v in batch().items() if k != "labels"}).logits, batch()["labels"]
        ) + adalora.penalty(model)
        loss.backward()
        optimizer.step()
        adalora.after_step(model, step + 1)
        optimizer.zero_grad()
    return model


def test_the_schedule_is_the_protocols():
    told = adalora.schedule(adalora.config({}), 600)
    assert told == {"total_step": 600, "tinit": 60, "tfinal": 180, "deltaT": 10}
    assert adalora.schedule(adalora.config({}), 30)["deltaT"] == 1


def test_the_penalty_is_pefts():
    model = adalora.wrap(bert(), CONFIG, seed=0).train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    own = torch.nn.functional.cross_entropy(
        model(**{k: v for k, v in batch().items() if k != "labels"}).logits, batch()["labels"]
    ) + adalora.penalty(model)
    assert own.item() == pytest.approx(model(**batch()).loss.item(), rel=1e-6)
    assert adalora.penalty(model).item() > 0


def test_it_starts_as_the_base():
    with torch.no_grad():
        assert torch.equal(
            adalora.wrap(bert(), CONFIG, seed=0)(**batch()).logits, bert()(**batch()).logits
        )


def test_what_is_exported_are_the_ranks_that_were_kept(tmp_path):
    model = trained()
    kept = sum(int((p.detach() != 0).sum()) for n, p in model.named_parameters() if "lora_E" in n)
    assert (
        kept <= 2 * 4 + 2
    )  # the budget: two ranks in each of four matrices; ties may keep a few more
    adalora.save(model, tmp_path)
    stored = load_file(tmp_path / "adapter_model.safetensors")
    triplets = sum(t.numel() for n, t in stored.items() if "lora_E" in n)
    assert (
        triplets
        == sum(sum(mask) for mask in model.peft_config["default"].rank_pattern.values())
        <= 2 * 4 + 2
    )
    again = adalora.load(bert(), tmp_path)
    with torch.no_grad():
        assert torch.allclose(again(**batch()).logits, model.eval()(**batch()).logits, atol=1e-5)


def test_unknown_words_are_refused():
    with pytest.raises(ValueError, match="rank"):
        adalora.config({"rank": 4})
