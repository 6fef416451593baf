"""The span head: the loss as written by hand, padding out of reach, any backbone, saved and loaded by every method."""

import json
import math

import pytest
import torch
from gonogo.methods.observing import probe
from gonogo.methods.run import RunFolder
from gonogo.methods.tasks import models, rows, span, windows
from gonogo.methods.training import loop as training

from tests.methods import small_models

NAMES = ["Ada", "Bo", "Cy", "Di"]


@pytest.fixture(scope="session")
def questions(tmp_path_factory):
    """Rows whose answer is the word after the word that the question names; every third has none."""
    folder = tmp_path_factory.mktemp("span") / "rows"
    folder.mkdir()
    for split in ("train", "dev", "test"):
        told = [question(f"{split}{n}", n) for n in range(12)]
        (folder / f"{split}.jsonl").write_text(
            "".join(json.dumps(row) + "\n" for row in told), "utf-8"
        )
    (folder / "meta.json").write_text(json.dumps({"source": "squad_v2", "labels": []}), "utf-8")
    return folder


def question(name: str, n: int) -> dict:
    words = [f"w{(7 * n + 3 * k) % 40}" for k in range(20)]
    place, held = (5 * n) % 18, n % 3 != 0
    answers = (
        [{"text": words[place + 1], "start": len(" ".join(words[: place + 1])) + 1}] if held else []
    )
    asked = words[place] if held else "yes"
    return {
        "id": name,
        "group": f"g{n % 4}",
        "question": f"user {asked}",
        "context": " ".join(words),
        "answers": answers,
        "answerable": held,
    }


def recipe(base, data, method="lora", config=None, **more) -> dict:
    made = small_models.recipe(base, data, method, config, length=20, **more)
    return {**made, "task": "span", "probe": {"rows": 6, "split": "test"}}


def by_hand(logits: list[float], label: int) -> float:
    width = (len(logits) - 1) // 2
    starts, ends, answerable = logits[:width], logits[width : 2 * width], logits[-1]
    chance = 1 / (1 + math.exp(-answerable))
    if not label:
        return -math.log(1 - chance)
    first, last = divmod(label - 1, windows.PLACES)
    total = [math.log(sum(map(math.exp, side))) for side in (starts, ends)]
    return -math.log(chance) + (total[0] - starts[first] + total[1] - ends[last]) / 2


def test_the_joint_loss_is_the_written_formula():
    logits = torch.randn(5, 13, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([windows.packed(0, 0), 0, windows.packed(2, 5), windows.packed(5, 5), 0])
    wanted = [by_hand(row.tolist(), int(label)) for row, label in zip(logits, labels, strict=True)]
    assert span.joint_loss(logits, labels, "none").tolist() == pytest.approx(wanted, rel=1e-5)
    assert float(training.summed_loss(logits, labels, "span")) == pytest.approx(
        sum(wanted), rel=1e-5
    )
    assert float(probe.reference_loss(logits, labels, "span")) == pytest.approx(
        sum(wanted) / 5, rel=1e-5
    )


def test_a_window_without_an_answer_teaches_no_place():
    logits = torch.randn(2, 13, generator=torch.Generator().manual_seed(0)).requires_grad_()
    span.joint_loss(logits, torch.tensor([0, windows.packed(1, 2)])).backward()
    assert not logits.grad[0, :-1].any()
    assert logits.grad[0, -1] != 0
    assert logits.grad[1].all()


def test_a_label_behind_the_window_is_refused():
    with pytest.raises(ValueError, match="points behind the 6 tokens"):
        span.joint_loss(torch.zeros(1, 13), torch.tensor([windows.packed(2, 6)]))


@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_padding_changes_no_logit_and_cannot_be_chosen(kind, questions, request):
    wanted = recipe(request.getfixturevalue(kind), questions)
    model = models.load_base(wanted, head_seed=1)
    short = torch.tensor([[2, 9, 10, 11, 3]])
    alone = model(input_ids=short, attention_mask=torch.ones_like(short)).logits
    padded = torch.cat([short, torch.zeros(1, 4, dtype=torch.long)], 1)
    wide = model(input_ids=padded, attention_mask=(torch.arange(9) < 5).long()[None]).logits
    for one, other in zip(span.parts(alone), span.parts(wide), strict=True):
        assert torch.allclose(one, other[..., : one.shape[-1]], atol=1e-5)
        assert (other[..., one.shape[-1] :] == span.OUT_OF_REACH).all()


def test_answerability_is_read_from_the_first_and_the_last_word():
    head = span.SpanHead(3, 0.02)
    hidden, mask = torch.randn(1, 6, 3), torch.tensor([[0, 1, 1, 1, 0, 0]])
    wanted = head.answerable(torch.cat([hidden[:, 1], hidden[:, 3]], -1))
    assert torch.equal(head(hidden, mask)[:, -1:], wanted)


@pytest.mark.parametrize(
    ("kind", "method", "config"),
    [
        ("bert", "lora", {}),
        ("llama", "lora", {"target_modules": ["q_proj", "v_proj"]}),
        ("bert", "full", {}),
        ("bert", "head", {}),
        ("bert", "bottleneck", {"size": 4}),
        ("bert", "lora", {"task_type": "SEQ_CLS", "modules_to_save": ["classifier"]}),
    ],
)
def test_a_trained_span_model_answers_the_same_after_reload(
    kind, method, config, questions, request, tmp_path
):
    wanted = recipe(request.getfixturevalue(kind), questions, method, config)
    run = small_models.run(tmp_path / "run", wanted)
    live = []
    keep = models.method(wanted).save

    def save(model, folder):
        live.append(probe.probe_logits(model, batch, "span"))
        keep(model, folder)

    batch = probe.probe_batch(wanted, models.load_tokenizer(wanted))
    untrained = probe.probe_logits(models.load_base(wanted, head_seed=5), batch, "span")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models.method(wanted), "save", save)
        training.train(run)
    reloaded = models.load_trained(RunFolder(tmp_path / "run"), head_seed=5)
    assert torch.equal(probe.probe_logits(reloaded, batch, "span"), live[0])
    assert not torch.equal(live[0], untrained)
    if method == "lora":
        assert torch.allclose(
            probe.probe_logits(models.merged(reloaded), batch, "span"), live[0], atol=1e-4
        )


def test_the_head_trains_beside_lora_though_the_subject_names_no_module(bert, questions):
    model = training.build(recipe(bert, questions))
    trains = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert {name.split(".")[-2] for name in trains if "span_head" in name} == {
        "places",
        "answerable",
    }
    assert all("lora_" in name or "modules_to_save" in name for name in trains)


def test_the_accumulated_gradient_is_that_of_one_batch(bert, questions):
    """Windows weigh alike, however many answers a micro-batch holds."""
    wanted = recipe(bert, questions, micro_batch=3, accumulation=4)
    tokenizer = models.load_tokenizer(wanted)
    items = rows.encode(rows.read(questions, "train"), tokenizer, wanted)[:12]
    assert len({item["labels"] > 0 for item in items}) == 2
    model = models.load_base(wanted, head_seed=1)
    parts = [rows.collate(items[n : n + 3], tokenizer) for n in range(0, 12, 3)]
    total = sum(training.count_items(part["labels"]) for part in parts)
    for part in parts:
        (training.summed_loss(model(**part).logits, part["labels"], "span") / total).backward()
    seen = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    whole = rows.collate(items, tokenizer)
    probe.reference_loss(model(**whole).logits, whole["labels"], "span").backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if name in seen}
    largest = max(float(gradient.norm()) for gradient in gradients.values())
    assert (
        max(float((gradient - seen[name]).norm()) for name, gradient in gradients.items())
        < 1e-5 * largest
    )
