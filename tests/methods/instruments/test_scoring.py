"""Scoring leaves work out and answers what the plain forward answers, draw after draw, and leaves no trace."""

import pytest
import torch
from gonogo.methods.instruments import scoring
from gonogo.methods.tasks import models, rows

from tests.methods import small_models

OPENING = " ".join(f"w{n}" for n in range(12))


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("shared")
    return {
        "llama": small_models.write_llama(root / "llama"),
        "bert": small_models.write_bert(root / "bert", 0.0),
    }, (small_models.write_data(root / "data"))


def adapted(folders, kind, **config):
    bases, data = folders
    recipe = small_models.recipe(bases[kind], data, config=config, length=64)
    table = rows.read(data, "test")[:12]
    for row in table:
        row["messages"][0]["content"] = f"{OPENING} {row['messages'][0]['content']}"
    tokenizer = models.load_tokenizer(recipe)
    model = models.method(recipe).wrap(models.load_base(recipe, 0), recipe["method"]["config"], 0)
    return model, rows.encode(table, tokenizer, recipe), tokenizer


def by_hand(model, items):
    """Loss and predictions of each row, alone in its batch, from all the logits."""
    losses, predicted = [], []
    for item in items:
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([item["input_ids"]])).logits.squeeze(0)
        if isinstance(item["labels"], int):
            places, told = [0], [item["labels"]]
            logits = logits[None]
        else:
            places = [at - 1 for at, label in enumerate(item["labels"]) if label != rows.IGNORED]
            told = [item["labels"][at + 1] for at in places]
        chances = logits.log_softmax(-1)
        losses.append(
            -sum(float(chances[at, label]) for at, label in zip(places, told, strict=True))
            / len(told)
        )
        predicted.append(tuple(int(logits[at].argmax()) for at in places))
    return losses, predicted


def redrawn(model):
    """Names of the adapter's tensors, each filled anew."""
    own = {name: tensor for name, tensor in model.named_parameters() if "lora_" in name}
    with torch.no_grad():
        for tensor in own.values():
            tensor.normal_()
    return list(own)


@pytest.mark.parametrize(
    ("kind", "layers", "opening", "still"),
    [("llama", [1], 14, 1), ("llama", None, 14, 0), ("bert", [1], 0, 1)],
)
def test_scores_are_those_of_the_plain_forward_for_every_draw(
    folders, kind, layers, opening, still
):
    model, items, tokenizer = adapted(folders, kind, layers_to_transform=layers)
    scores = scoring.Scorer(model, items, tokenizer, redrawn(model))
    assert (len(scores.opening), len(scores.below)) == (opening, still)
    seen = []
    for _ in range(3):
        redrawn(model)
        answers, (losses, predicted) = scores.evaluate(), by_hand(model, items)
        assert answers.loss == pytest.approx(losses, abs=1e-4)
        assert answers.predicted == predicted
        seen.append(sum(losses))
    assert len({round(total, 2) for total in seen}) == 3


def test_rows_that_share_their_answer_too_are_scored_in_full(folders):
    model, items, tokenizer = adapted(folders, "llama")
    redrawn(model)
    alike = [items[0]] * 3
    answers, (losses, predicted) = scoring.evaluate(model, alike, tokenizer), by_hand(model, alike)
    assert answers.loss == pytest.approx(losses, abs=1e-4)
    assert answers.predicted == predicted


def test_a_tensor_that_moves_outside_the_stack_leaves_no_layer_still(folders):
    model, items, tokenizer = adapted(folders, "llama", layers_to_transform=[1])
    moving = [*redrawn(model), "base_model.model.lm_head.weight"]
    assert scoring.Scorer(model, items, tokenizer, moving).below == []


def test_what_was_shared_is_not_left_in_the_model(folders):
    model, items, tokenizer = adapted(folders, "llama", layers_to_transform=[1])
    before = scoring.evaluate(model, items, tokenizer).loss
    scores = scoring.Scorer(
        model, items, tokenizer, [name for name, _ in model.named_parameters() if "lora_" in name]
    )
    scores.evaluate()
    scores.evaluate()
    assert scoring.evaluate(model, items, tokenizer).loss == before


def test_answers_do_not_depend_on_the_size_of_the_batch(folders):
    model, items, tokenizer = adapted(folders, "llama")
    redrawn(model)
    alone, together = (scoring.evaluate(model, items, tokenizer, size) for size in (1, 40))
    assert alone.loss == pytest.approx(together.loss, abs=1e-4)
    assert alone.predicted == together.predicted


@pytest.mark.parametrize("kind", ["llama", "bert"])
def test_weights_cast_once_give_the_products_of_autocast_and_leave_the_adapter_alone(folders, kind):
    model, items, tokenizer = adapted(folders, kind)
    own = {name: tensor for name, tensor in model.named_parameters() if "lora_" in name}
    redrawn(model)
    before = scoring.Scorer(model, items, tokenizer, own, fast=True).evaluate()
    scoring.cast_once(model, own.values())
    assert all(tensor.dtype == torch.float32 for tensor in own.values())
    assert scoring.Scorer(model, items, tokenizer, own, fast=True).evaluate() == before


def test_scoring_ends_when_the_losses_exceed_a_sum(folders):
    model, items, tokenizer = adapted(folders, "bert")
    scorer = scoring.Scorer(model, items, tokenizer, batch_rows=3)
    whole = scorer.evaluate()
    part = scorer.evaluate(beyond=0.5 * sum(whole.loss))
    asked = [row for row, said in enumerate(part.predicted) if said]
    assert len(asked) % 3 == 0
    assert 0 < len(asked) < len(items)
    assert [part.loss[row] for row in asked] == [whole.loss[row] for row in asked]
    assert 0.5 * sum(whole.loss) < sum(part.loss) < sum(whole.loss)
    assert max(len(items[row]["input_ids"]) for row in asked) <= min(
        len(items[row]["input_ids"]) for row in range(len(items)) if row not in asked
    )
    assert scorer.evaluate(beyond=float("nan")) == whole
