"""Scores of a finished run on its task: what is counted, what is vetoed, and that words and spans are read as they should."""

import json
from types import SimpleNamespace

import pytest
import torch
from gonogo.methods.instruments import answers
from gonogo.methods.measures import task_scores
from gonogo.methods.run import NotObservable
from gonogo.methods.tasks import models, rows
from gonogo.methods.tasks import table as tasks
from safetensors.torch import load_file, save_file
from torch import nn

from tests.methods import small_models, tiny_runs


@pytest.fixture
def told(clean, tmp_path):
    """The clean tiny run on data that says which task it is; the commonest training label is the rarer one in test."""
    run = tiny_runs.copied(clean, tmp_path / "run")
    data = tmp_path / "data"
    data.mkdir()
    for split in ("train", "dev", "test"):
        (data / f"{split}.jsonl").write_bytes((clean.data / f"{split}.jsonl").read_bytes())
    rarer = 1 - tasks.majority([row["label"] for row in rows.read(data, "test")])
    train = [
        {**row, "label": rarer if n else 1 - rarer}
        for n, row in enumerate(rows.read(data, "train"))
    ]
    (data / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in train))
    shared = [rows.read(data, "test")[n]["id"] for n in (0, 3)]
    (data / "meta.json").write_text(
        json.dumps({"source": "mrpc", "labels": ["no", "yes"], "shared_rows": shared})
    )
    recipe = run.recipe | {"data": {"path": str(data)}}
    (run.path / "recipe.json").write_text(json.dumps(recipe))
    return run


def test_the_score_is_that_of_the_reloaded_model_row_by_row(told):
    report = task_scores.outcome(told)
    test = rows.read(told.data, "test")
    model, tokenizer = models.load_trained(told, 3), models.load_tokenizer(told.recipe)
    wanted = []
    for item in rows.encode(test, tokenizer, told.recipe):
        batch = rows.collate([item], tokenizer)
        with torch.no_grad():
            wanted.append(float(int(model(**rows.inputs(batch)).logits.argmax()) == item["labels"]))
    assert report["values"]["score"] == wanted
    assert sum(wanted) / len(wanted) > 0.6
    assert report["counts"]["accuracy"] == sum(wanted) / len(wanted)
    assert report["vetoes"] == []
    assert report["digests"]["evaluation"] == tasks.evaluation_digest(test)


def test_shared_rows_and_baselines_are_told_apart(told):
    report = task_scores.outcome(told)
    test, train = rows.read(told.data, "test"), rows.read(told.data, "train")
    label = tasks.majority([row["label"] for row in train])
    assert report["values"]["majority"] == [float(row["label"] == label) for row in test]
    assert report["values"]["score_without_shared"] == [
        x for n, x in enumerate(report["values"]["score"]) if n not in (0, 3)
    ]
    truth, said = [row["label"] for row in test], report["arrays"]["predicted"]
    hits = sum(t == s == 1 for t, s in zip(truth, said, strict=True))
    assert report["counts"]["f1"] == pytest.approx(2 * hits / (sum(truth) + sum(said)))
    assert report["layout"]["score"]["shape"] == [1, 48]
    assert report["layout"]["score_without_shared"]["shape"] == [1, 46]


def test_a_run_that_did_not_train_what_its_method_trains_is_vetoed(told, tmp_path):
    assert task_scores.untrue(told) == []

    def freeze(seen):
        first = next(item for item in seen["tensors"] if item["requires_grad_last"])
        first["requires_grad_first"] = first["requires_grad_last"] = False

    frozen = tiny_runs.copied(told, tmp_path / "frozen", inventory=freeze)
    assert "did not train what its method trains" in task_scores.outcome(frozen)["vetoes"][0]


def test_a_tensor_that_never_moved_and_one_that_was_not_kept_are_vetoed(told, tmp_path):
    still = tiny_runs.copied(told, tmp_path / "still")
    (still.path / "initial.safetensors").write_bytes(
        (still.path / "final.safetensors").read_bytes()
    )
    assert any("never moved" in veto for veto in task_scores.untrue(still))
    other = tiny_runs.copied(told, tmp_path / "other")
    file = other.artifact / "adapter_model.safetensors"
    save_file({name: tensor * 2 for name, tensor in load_file(file).items()}, file)
    assert any("not the model that was trained" in veto for veto in task_scores.untrue(other))


def test_a_tensor_that_the_loss_does_not_depend_on_may_stand_still(told, monkeypatch):
    names = sorted(told.tensors("initial.safetensors"))
    assert task_scores.reached(told, names) == names
    method = models.method(told.recipe)

    def with_a_bystander(model, config):
        wrapped = method.wrap(model, config)
        wrapped.bystander = nn.Parameter(torch.ones(1))
        return wrapped

    monkeypatch.setattr(models, "method", lambda _: SimpleNamespace(wrap=with_a_bystander))
    assert task_scores.reached(told, ["bystander", *names]) == names


def test_dev_and_test_may_be_shortened_from_their_beginning(told):
    report = task_scores.outcome(told, dev_rows=5, test_rows=7)
    assert (len(report["values"]["score_dev"]), len(report["values"]["score"])) == (5, 7)


def test_clusters_number_the_groups_in_order():
    items = [
        {"id": "1", "group": "b"},
        {"id": "2", "group": "a"},
        {"id": "3", "group": "b"},
        {"id": "4", "group": None},
    ]
    assert task_scores.numbered(items) == [0, 1, 0, 2]


def test_a_run_without_a_declared_task_is_not_observable(clean):
    with pytest.raises(NotObservable, match="tasks with a declared metric are sst2"):
        task_scores.outcome(clean)


class Constant(nn.Module):
    """Answers every row with the same logits."""

    def __init__(self, *logits: float) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(logits))

    def forward(self, input_ids, **_):
        return SimpleNamespace(logits=self.logits.expand(len(input_ids), -1))


@pytest.mark.parametrize(
    ("logits", "words"),
    [
        ((0.0, 1.0), "predictions is `equivalent`: a constant answer"),
        ((float("nan"), 1.0), "not finite"),
    ],
)
def test_a_constant_or_broken_model_is_vetoed(told, monkeypatch, logits, words):
    monkeypatch.setattr(task_scores.forward, "trained", lambda run: Constant(*logits))
    report = task_scores.outcome(told)
    assert any(words in veto for veto in report["vetoes"])


def test_a_score_at_the_baseline_is_found(told, monkeypatch):
    train = [row["label"] for row in rows.read(told.data, "train")]
    always = tasks.majority(train)
    monkeypatch.setattr(
        task_scores.forward, "trained", lambda run: Constant(*[float(n == always) for n in (0, 1)])
    )
    report = task_scores.outcome(told)
    assert "is not above" in report["findings"][0]


# ── words ────────────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.fixture
def words(llama, data, tmp_path):
    recipe = {**small_models.recipe(llama, data), "task": "causal-lm"}
    made = [
        {
            "id": str(n),
            "messages": [
                {"role": "user", "content": " ".join(f"w{k}" for k in range(n + 1))},
                {"role": "assistant", "content": ("no", "yes")[n % 2]},
            ],
        }
        for n in range(9)
    ]
    return recipe, models.load_base(recipe), models.load_tokenizer(recipe), made


def test_a_word_is_chosen_among_the_labels_words_at_the_answers_first_place(words):
    recipe, model, tokenizer, made = words
    among = ["no", "yes", *(f"w{n}" for n in range(30, 40))]
    seen = answers.answer(model, made, tokenizer, recipe, among)
    for row, said in zip(made, seen.predicted, strict=True):
        prompt, _ = rows.split_answer(row, tokenizer)
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([prompt])).logits[0, -1]
        assert said == int(logits[[small_models.WORDS.index(word) for word in among]].argmax())
    assert len(set(seen.predicted)) > 1
    assert seen.truth == [n % 2 for n in range(9)]


def test_words_that_begin_alike_or_are_missing_are_refused(words):
    recipe, model, tokenizer, made = words
    with pytest.raises(ValueError, match="first tokens differ"):
        answers.answer(model, made, tokenizer, recipe, ("no", "no yes"))
    with pytest.raises(ValueError, match="'yes' is none of the words"):
        answers.answer(model, made, tokenizer, recipe, ("no", "w1"))


# ── spans ────────────────────────────────────────────────────────────────────────────────────────────────────────────
OFFSETS = [None, (0, 3), (4, 7), (8, 11), None]
ASKED = {
    "id": "q",
    "question": "?",
    "context": "one two six",
    "answers": [{"text": "two", "start": 4}],
    "answerable": True,
}


def logits(start: int, end: int, certainty: float) -> torch.Tensor:
    told = torch.zeros(11)
    told[start], told[5 + end], told[-1] = 5.0, 5.0, certainty
    return told


def spans(asked: list, rows_: list = (ASKED,)) -> answers.Answers:
    items = [{"id": "q", "offsets": OFFSETS} for _ in asked]
    return answers._spans(list(rows_), items, enumerate(asked))


def test_the_surest_window_speaks():
    assert spans([logits(1, 1, 0.5), logits(2, 2, 3.0), logits(3, 3, 1.0)]).predicted == ["two"]
    assert spans([logits(2, 2, 3.0)]).score == [1.0]
    assert spans([logits(1, 2, 3.0)]).score == [pytest.approx(2 / 3)]


def test_an_unsure_model_answers_nothing():
    silent = spans([logits(2, 2, -0.1)])
    assert (silent.predicted, silent.score, silent.exact) == ([""], [0.0], [0.0])
    none = {**ASKED, "answers": [], "answerable": False}
    assert spans([logits(2, 2, -0.1)], [none]).score == [1.0]
    assert spans([logits(2, 2, 0.1)], [none]).score == [0.0]


def test_special_tokens_are_never_an_answer():
    assert spans([logits(0, 4, 3.0)]).predicted == ["one"]


def test_questions_with_and_without_an_answer_are_reported_apart():
    held = [{**ASKED, "id": str(n), "group": "g"} for n in range(3)]
    none = [
        {**ASKED, "id": str(n), "group": "h", "answers": [], "answerable": False}
        for n in range(3, 8)
    ]
    found = answers.Answers(
        [1.0, 0.5, 0.0, 1.0, 1.0, 0.0, 1.0, 0.0],
        ["two", "two six", "one", "", "", "one", "", "one"],
        [True] * 3 + [False] * 5,
        [1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 0.0],
    )
    more = task_scores._of_spans([*held, *none], found)
    assert more["values"] == {
        "hasans_f1": [1.0, 0.5, 0.0],
        "noans_f1": [1.0, 1.0, 0.0, 1.0, 0.0],
        "always_no_answer_f1": [0.0] * 3 + [1.0] * 5,
    }
    assert more["counts"]["exact"] == 4 / 8
    assert more["counts"]["hasans_exact"] == pytest.approx(1 / 3)
    assert more["counts"]["answered"] == 5
    assert (
        more["findings"]
        == ["0.5625 is not above 0.6250, what never answering gets on the same items"][
            : len(more["findings"])
        ]
    )
