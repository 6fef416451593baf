"""Each fault of a training row is planted once, in a toy chat format whose right answer is known by construction."""

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from gonogo.methods.measures import tokens
from safetensors.numpy import save_file

PAD, BOS, USER, ASSISTANT, EOS = 0, 1, 2, 3, 4


class Toy:
    """`<bos> <user> w w <assistant> w <eos>`; a word is the id 10 + its length."""

    bos_token_id, eos_token_id, pad_token_id = BOS, EOS, PAD
    all_special_ids = (PAD, BOS, USER, ASSISTANT, EOS)

    def __call__(self, text):
        return {"input_ids": [10 + len(w) for w in text.split()]}

    def apply_chat_template(self, messages, tokenize=True, add_generation_prompt=False):
        ids = [BOS]
        for m in messages:
            words = self(m["content"])["input_ids"]
            ids += [USER, *words] if m["role"] == "user" else [ASSISTANT, *words, EOS]
        return {"input_ids": ids + ([ASSISTANT] if add_generation_prompt else [])}


class Bert(Toy):
    bos_token_id, eos_token_id, cls_token_id, sep_token_id = None, None, 5, 6

    def __call__(self, text, truncation=False, max_length=None):
        words = [10 + len(w) for w in text.split()]
        return {"input_ids": [5, *words[: max_length and max_length - 2], 6]}


def right(row):
    ids = Toy().apply_chat_template(row["messages"])["input_ids"]
    start = ids.index(ASSISTANT) + 1
    return {
        "input_ids": ids,
        "attention_mask": [1] * len(ids),
        "labels": [-100] * start + ids[start:],
    }


ROWS = [
    {
        "id": str(n),
        "messages": [
            {"role": "user", "content": "a bb " + "c" * n},
            {"role": "assistant", "content": "dd eee"},
        ],
    }
    for n in range(1, 6)
]


def measure(
    monkeypatch,
    folder,
    encode,
    rows=ROWS,
    tokenizer=None,
    task="causal-lm",
    observed=None,
    length=99,
):
    """The measure over `rows`, encoded by `encode(row)`, with `observed` rows as one batch that entered forward."""
    (folder / "train.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    fake = SimpleNamespace(
        encode=lambda rs, t, recipe: [encode(r) for r in rs], read=lambda d, s: rows
    )
    monkeypatch.setitem(sys.modules, "gonogo.methods.tasks.rows", fake)
    monkeypatch.setitem(
        sys.modules,
        "gonogo.methods.tasks.models",
        SimpleNamespace(load_tokenizer=lambda recipe: tokenizer or Toy()),
    )
    if observed:
        save_file(
            {f"step0.micro0.{k}": np.array([o[k] for o in observed]) for k in observed[0]},
            folder / "batches.safetensors",
        )
    return tokens.template(
        SimpleNamespace(
            recipe={"task": task, "training": {"length": length}},
            data=folder,
            base=folder,
            path=folder,
        )
    )


def offences(result):
    return {name: values[0] for name, values in result["values"].items() if values[0]}


def test_right_rows_have_no_fault(monkeypatch, tmp_path):
    result = measure(monkeypatch, tmp_path, right, observed=[right(r) for r in ROWS[:3]])
    assert offences(result) == {}
    assert set(result["values"]) == set(tokens.METRICS)
    assert result["counts"]["rows_observed"] == 3


def edited(change):
    def encode(row):
        out = right(row)
        ids, mask, labels = change(out["input_ids"], out["attention_mask"], out["labels"])
        return {"input_ids": ids, "attention_mask": mask, "labels": labels}

    return encode


PLANTED = {
    "bos_wrong": lambda i, m, y: ([BOS, *i], [1, *m], [-100, *y]),
    "eos_unlearnable": lambda i, m, y: (i, m, [-100 if t == EOS else t for t in y]),
    "labels_misplaced": lambda i, m, y: (i, m, [*y[1:-1], EOS, EOS]),
    "prompt_supervised": lambda i, m, y: (i, m, list(i)),
    "unsupervised_rows": lambda i, m, y: (i, m, [-100] * len(y)),
    "answer_truncated": lambda i, m, y: (i[:-2], m[:-2], y[:-2]),
    "prefix_violations": lambda i, m, y: ([BOS, *i[2:]], m[1:], y[1:]),
    "padding_attended": lambda i, m, y: ([*i, PAD], [*m, 1], [*y, -100]),
}


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_counted_in_every_row(monkeypatch, tmp_path, fault):
    assert offences(measure(monkeypatch, tmp_path, edited(PLANTED[fault])))[fault] == len(ROWS)


def test_an_answer_of_which_only_the_end_is_trained_is_a_fault(monkeypatch, tmp_path):
    partly = edited(lambda i, m, y: (i, m, [t if t == EOS else -100 for t in y]))
    assert offences(measure(monkeypatch, tmp_path, partly)) == {"unsupervised_rows": len(ROWS)}


def test_a_hole_in_the_attention_is_a_fault(monkeypatch, tmp_path):
    holed = edited(lambda i, m, y: (i, [1, 0, *m[2:]], y))
    assert offences(measure(monkeypatch, tmp_path, holed))["padding_attended"] == len(ROWS)


def test_labels_shifted_twice_are_misplaced(monkeypatch, tmp_path):
    shifted = edited(lambda i, m, y: (i, m, [*y[1:], -100]))
    assert offences(measure(monkeypatch, tmp_path, shifted))["labels_misplaced"] == len(ROWS)


def test_an_old_prompt_cut_off_is_no_fault_but_is_counted(monkeypatch, tmp_path):
    cut = edited(lambda i, m, y: ([BOS, *i[3:]], m[2:], y[2:]))
    result = measure(monkeypatch, tmp_path, cut, length=7)
    assert offences(result) == {}
    assert result["counts"]["prompts_cut"] == len(ROWS)


def test_what_entered_forward_outweighs_what_the_encoder_promises(monkeypatch, tmp_path):
    double = [PLANTED["bos_wrong"](*right(r).values()) for r in ROWS[:2]]
    width = max(len(d[0]) for d in double)
    batch = [
        {
            "input_ids": i + [PAD] * (width - len(i)),
            "attention_mask": m + [0] * (width - len(m)),
            "labels": y + [-100] * (width - len(y)),
        }
        for i, m, y in double
    ]
    assert offences(measure(monkeypatch, tmp_path, right, observed=batch)) == {
        "bos_wrong": 2,
        "observed_unknown": 2,
    }


def test_a_masked_eos_is_seen_in_forward(monkeypatch, tmp_path):
    masked = [edited(PLANTED["eos_unlearnable"])(r) for r in ROWS[:1]]
    found = offences(measure(monkeypatch, tmp_path, right, observed=masked))
    assert found == {"eos_unlearnable": 1, "observed_unknown": 1}


def test_a_row_the_encoder_refuses_is_a_prefix_violation(monkeypatch, tmp_path):
    def encode(row):
        if row["id"] == "3":
            raise ValueError("prompt is not a prefix")
        return right(row)

    result = measure(monkeypatch, tmp_path, encode)
    assert offences(result) == {"prefix_violations": 1}
    assert "prompt is not a prefix" in result["findings"][0]


CLASSES = [{"id": str(n), "text": "w " * n, "label": n % 2} for n in range(1, 5)]


def with_ids(encoded, ids):
    return {**encoded, "input_ids": ids, "attention_mask": [1] * len(ids)}


def bert(row):
    ids = Bert()(row["text"])["input_ids"]
    return {"input_ids": ids, "attention_mask": [1] * len(ids), "labels": row["label"]}


@pytest.mark.parametrize(
    ("change", "faults"),
    [
        (lambda e: e, []),
        (lambda e: {**e, "labels": 1 - e["labels"]}, ["labels_misplaced"]),
        (lambda e: with_ids(e, [5, *e["input_ids"]]), ["bos_wrong", "prefix_violations"]),
        (lambda e: with_ids(e, e["input_ids"][:-1]), ["bos_wrong", "prefix_violations"]),
        (lambda e: with_ids(e, [*e["input_ids"][:2], 6]), ["prefix_violations"]),
    ],
)
def test_classification_rows(monkeypatch, tmp_path, change, faults):
    result = measure(
        monkeypatch,
        tmp_path,
        lambda r: change(bert(r)),
        CLASSES,
        Bert(),
        "classification",
        [bert(CLASSES[0])],
    )
    found = offences(result)
    found.pop("observed_unknown", None)
    assert found == dict.fromkeys(faults, len(CLASSES))


def test_no_rows_of_the_task_is_not_run(monkeypatch, tmp_path):
    with pytest.raises(tokens.NotObservable, match="no causal-lm rows"):
        measure(monkeypatch, tmp_path, right, CLASSES)


class BertOfPairs(Bert):
    def __call__(self, text, pair=None, truncation=False, max_length=None):
        ids = super().__call__(text)["input_ids"]
        return {
            "input_ids": ids if pair is None else [*ids, *(10 + len(w) for w in pair.split()), 6]
        }

    def num_special_tokens_to_add(self, pair):
        return 3 if pair else 2


PAIRS = [{"id": str(n), "text": "a bb", "pair": "c" * n, "label": n % 2} for n in range(1, 6)]


@pytest.mark.parametrize(
    ("joined", "faults"),
    [
        ([5, 11, 12, 6, 13, 6], {}),
        ([5, 11, 12, 13, 6], {"bos_wrong": 5.0, "prefix_violations": 5.0}),
    ],
)
def test_a_pair_has_one_separator_behind_each_of_its_texts(monkeypatch, tmp_path, joined, faults):
    def encode(row):
        ids = [10 + len(row["pair"]) if i == 13 else i for i in joined]
        return {"input_ids": ids, "attention_mask": [1] * len(ids), "labels": row["label"]}

    report = measure(
        monkeypatch, tmp_path, encode, rows=PAIRS, tokenizer=BertOfPairs(), task="classification"
    )
    assert {name: seen[0] for name, seen in report["values"].items() if seen[0]} == faults
