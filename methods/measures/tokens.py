"""What training feeds the model, token by token, against what inference will feed it.

Two populations are audited alike: every training row as `gonogo.methods.tasks.rows.encode` gives it now, and the rows that really
entered forward (the observer's `batches.safetensors`), which no promise of the encoder can replace.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from gonogo.methods.run import NotObservable
from gonogo.methods.tasks.windows import separator

IGNORED = -100
METRICS = (
    "bos_wrong",
    "eos_unlearnable",
    "labels_misplaced",
    "prompt_supervised",
    "unsupervised_rows",
    "answer_truncated",
    "prefix_violations",
    "padding_attended",
    "observed_unknown",
)
Ids = list[int]  # of an image its pixels


@dataclass(frozen=True)
class Fed:
    """One row as the model gets it, padding included. `labels`: a list (causal), an int (classification), or None."""

    ids: Ids
    mask: Ids
    labels: Ids | int | None
    name: str

    @property
    def kept(self) -> Ids:
        """Ids under attention: the row without its padding."""
        return [i for i, m in zip(self.ids, self.mask, strict=True) if m]

    @property
    def kept_labels(self) -> Ids:
        """Labels under attention; all of the row's labels must lie there."""
        return (
            [y for y, m in zip(self.labels, self.mask, strict=True) if m]
            if isinstance(self.labels, list)
            else []
        )

    @property
    def key(self) -> tuple[Any, ...]:
        labels = tuple(self.kept_labels) if isinstance(self.labels, list) else self.labels
        return tuple(self.kept), labels


@dataclass(frozen=True)
class Truth:
    """What the row should be: ids of the inference prompt and of the answer (causal), or all ids and the class.

    `length` is the recipe's limit: only a conversation beyond it may be cut. `texts`: how many the row joins.
    """

    prompt: Ids
    answer: Ids
    label: int | None = None
    length: int = 0
    whole: Ids | None = None
    texts: int = 1


# ------------------------------------------------------------------------------------------------ the truth
def _template(tokenizer: Any, messages: list[dict[str, str]], generation: bool) -> Ids:
    """Ids as inference makes them: the template writes its own special tokens."""
    out = tokenizer.apply_chat_template(messages, tokenize=True, add_generation_prompt=generation)
    ids = out["input_ids"] if hasattr(out, "keys") else out
    return list(ids[0] if ids and isinstance(ids[0], list) else ids)


def _truth(row: dict[str, Any], tokenizer: Any, length: int) -> Truth:
    if "messages" not in row:
        limit = {"truncation": True, "max_length": length} if length else {}
        texts = (
            (row["text"] + separator(tokenizer), row["pair"]) if "pair" in row else (row["text"],)
        )
        return Truth(
            [],
            [],
            int(row["label"]),
            length,
            list(tokenizer(*texts, **limit)["input_ids"]),
            len(texts),
        )
    prompt = _template(tokenizer, row["messages"][:-1], True)
    answer = _template(tokenizer, row["messages"], False)[len(prompt) :]
    end = tokenizer.eos_token_id
    if end in answer:
        answer = answer[: len(answer) - answer[::-1].index(end)]
    return Truth(prompt, answer, length=length)


def _answer_start(ids: Ids, truth: Truth) -> int | None:
    """Where the answer begins if the row holds the inference prompt, whole or with its oldest tokens cut off.

    A cut is a choice of the recipe, as long as the prompt's end and its leading token stay in place.
    """
    prompt, answer = truth.prompt, truth.answer
    if ids[: len(prompt)] == prompt:
        return len(prompt)
    if len(prompt) + len(answer) <= max(len(ids), truth.length):
        return None
    for at in range(min(len(prompt), len(ids)) - 1, 0, -1):
        tail = prompt[len(prompt) - at + 1 :]
        if (
            ids[1:at] == tail
            and ids[0] in (prompt[0], prompt[-at])
            and ids[at:] == answer[: len(ids) - at]
        ):
            return at
    return None


# ------------------------------------------------------------------------------------------------ one row
def _bos_wrong(ids: Ids, truth: Truth | None, tokenizer: Any, habit: int | None) -> bool:
    """Not exactly one leading BOS. Templates that open every turn with it (ChatML) may hold more further on."""
    cls, sep = getattr(tokenizer, "cls_token_id", None), getattr(tokenizer, "sep_token_id", None)
    if cls is not None and sep is not None and (truth is None or not truth.prompt):
        texts = truth.texts if truth else 1
        return (
            ids.count(cls) != 1 or ids[:1] != [cls] or ids.count(sep) != texts or ids[-1:] != [sep]
        )
    bos = tokenizer.bos_token_id
    if bos is None:
        return False
    if ids[:2] == [bos, bos]:
        return True
    written = truth.prompt + truth.answer if truth else []
    expected = written[:1] == [bos] or habit == bos
    return (expected and ids[:1] != [bos]) or (
        bool(written) and ids.count(bos) > max(written.count(bos), int(expected))
    )


def _padding_attended(fed: Fed, tokenizer: Any) -> bool:
    """Attention on padding, a hole in it, or none on a word."""
    held = [i for i, m in enumerate(fed.mask) if m]
    if not held or held[-1] - held[0] + 1 != len(held):
        return True
    pad, end = getattr(tokenizer, "pad_token_id", None), tokenizer.eos_token_id
    if pad is None:
        return False
    blind = {i for i, m in zip(fed.ids, fed.mask, strict=True) if not m}
    ids = fed.kept
    attended = ids[-2:] == [pad, pad] or ids[:2] == [pad, pad] if pad == end else pad in ids
    return attended or (bool(blind - {pad}) and len(blind) > 1)


def _causal_faults(fed: Fed, truth: Truth | None, tokenizer: Any) -> set[str]:
    """Faults of ids and labels of one causal row; without its truth only what the row itself shows."""
    ids, labels, faults = fed.kept, fed.kept_labels, set()
    supervised = [i for i, y in enumerate(labels) if y != IGNORED]
    start = _answer_start(ids, truth) if truth else None
    if truth:
        if start is None:
            faults.add("prefix_violations")
            ends = bool(truth.answer) and ids[-len(truth.answer) :] == truth.answer
            start = len(ids) - len(truth.answer) if ends else min(len(truth.prompt), len(ids))
        elif ids[start : start + len(truth.answer)] != truth.answer:
            faults.add("answer_truncated")
        if start >= len(ids):
            faults.add("answer_truncated")
    if not isinstance(fed.labels, list):
        return faults
    if not supervised:
        faults.add("unsupervised_rows")
    unlearned = (
        start is not None
        and truth is not None
        and set(range(start, start + len(truth.answer))) - set(supervised)
    )
    if any(labels[i] != ids[i] for i in supervised) or _labels_on_padding(fed):
        faults.add("labels_misplaced")
    if supervised and unlearned:
        faults.add("unsupervised_rows")
    if supervised and supervised[0] < (start if start is not None else 1):
        faults.add("prompt_supervised")
    ends = _ends(truth, tokenizer)
    if not any(labels[i] in ends for i in supervised if i >= (start or 0)):
        faults.add("eos_unlearnable")
    return faults


def _ends(truth: Truth | None, tokenizer: Any) -> set[int]:
    """Tokens that end an answer: EOS, or the special token with which the template closes the turn."""
    special = set(getattr(tokenizer, "all_special_ids", []) or [])
    closing = [i for i in (truth.answer if truth else []) if i in special][-1:]
    return {tokenizer.eos_token_id, *closing} - {None}


def _labels_on_padding(fed: Fed) -> bool:
    return any(y != IGNORED and not m for y, m in zip(fed.labels, fed.mask, strict=True))


def _faults(
    fed: Fed, truth: Truth | None, tokenizer: Any, habit: int | None, task: str
) -> set[str]:
    faults = {"padding_attended"} if _padding_attended(fed, tokenizer) else set()
    if _bos_wrong(fed.kept, truth, tokenizer, habit):
        faults.add("bos_wrong")
    if task == "classification":
        wrong = truth is not None and fed.labels is not None and fed.labels != truth.label
        other = truth is not None and truth.whole is not None and fed.kept != truth.whole
        return (
            faults
            | ({"labels_misplaced"} if wrong else set())
            | ({"prefix_violations"} if other else set())
        )
    return faults | _causal_faults(fed, truth, tokenizer)


# ------------------------------------------------------------------------------------------------ two populations
def _encoded(
    rows: list[dict[str, Any]], tokenizer: Any, recipe: Any
) -> tuple[list[tuple[Fed, dict]], list[str]]:
    """Every row as training encodes it, and the rows that the encoder refuses, with its words."""
    encode = import_module("gonogo.methods.tasks.rows").encode
    try:
        held, refused = list(zip(encode(rows, tokenizer, recipe), rows, strict=True)), []
    except ValueError:
        held, refused = [], []
        for row in rows:
            try:
                held += [(encode([row], tokenizer, recipe)[0], row)]
            except ValueError as why:
                refused.append(f"train {row.get('id')}: {why}")
    return [(of_item(e, f"train {r.get('id')}"), r) for e, r in held], refused


def of_item(item: Mapping[str, Any], name: str = "") -> Fed:
    """An encoded row as the model gets it; of an image every pixel, all of them attended to."""
    if "pixel_values" in item:
        return _pixels(item["pixel_values"].flatten().tolist(), item["labels"], name)
    return _fed(item["input_ids"], item["attention_mask"], item["labels"], name)


def _pixels(values: list[float], label: int | None, name: str) -> Fed:
    return Fed(values, [1] * len(values), label, name)


def _fed(ids: Any, mask: Any, labels: Any, name: str) -> Fed:
    whole = labels if labels is None or isinstance(labels, int) else [int(y) for y in labels]
    return Fed([int(i) for i in ids], [int(m) for m in mask], whole, name)


def training_rows(run: Any) -> list[Fed]:
    """Every training row as it is encoded now; those that the encoder refuses are left out."""
    tokenizer = import_module("gonogo.methods.tasks.models").load_tokenizer(run.recipe)
    held, _ = _encoded(
        import_module("gonogo.methods.tasks.rows").read(run.data, "train"), tokenizer, run.recipe
    )
    return [fed for fed, _ in held]


def observed(run: Any) -> list[Fed]:
    """Rows that entered forward in training, as the observer kept them; empty if it kept none. Images pixel by pixel."""
    path = run.path / "batches.safetensors"
    if not path.exists():
        return []
    from safetensors.numpy import load_file

    tensors, rows = load_file(path), []
    for key in sorted(k for k in tensors if k.endswith(".input_ids")):
        stem = key.removesuffix(".input_ids")
        ids, mask, labels = (
            tensors[key],
            tensors.get(f"{stem}.attention_mask"),
            tensors.get(f"{stem}.labels"),
        )
        for i, held in enumerate(ids.tolist()):
            attention = [1] * len(held) if mask is None else mask[i].tolist()
            rows.append(
                _fed(
                    held,
                    attention,
                    None if labels is None else labels[i].tolist(),
                    f"{stem} row {i}",
                )
            )
    for key in sorted(k for k in tensors if k.endswith(".pixel_values")):
        stem = key.removesuffix(".pixel_values")
        images, labels = (
            tensors[key].reshape(len(tensors[key]), -1).tolist(),
            tensors.get(f"{stem}.labels"),
        )
        rows += [
            _pixels(held, None if labels is None else int(labels[i]), f"{stem} row {i}")
            for i, held in enumerate(images)
        ]
    return rows


def _known(observed: list[Fed], encoded: list[tuple[Fed, Truth]]) -> list[Truth | None]:
    """The truth of each observed row, None where no training row has its ids and labels."""
    exact, by_ids = {}, defaultdict(list)
    for fed, truth in encoded:
        exact[fed.key] = truth
        by_ids[tuple(fed.kept)].append(truth)
    return [
        exact.get(fed.key)
        if fed.labels is not None
        else next(iter(by_ids.get(tuple(fed.kept), [])), None)
        for fed in observed
    ]


def template(run: Any) -> dict[str, Any]:
    """What training and inference both see, over all training rows as encoded now and the rows observed in forward.

    Metrics, each one total:
        bos_wrong [rows]: not one leading BOS; BERT: not one [CLS] first and one [SEP] last
        eos_unlearnable [rows]: the token that ends the answer is not supervised (causal)
        labels_misplaced [rows]: a supervised label differs from the id at its place, or lies on padding; the wrong class
        prompt_supervised [rows]: loss on a prompt token
        unsupervised_rows [rows]: an answer token without loss
        answer_truncated [rows]: the answer is cut, or gone
        prefix_violations [rows]: the inference prompt is not what the training row begins with (classification: the row is
            not what the tokenizer makes of its text at the recipe's length), or the encoder refuses the row
        padding_attended [rows]: attention on padding, a hole in it, or none on a word
        observed_unknown [rows]: entered forward and is no encoded training row
    Raises NotObservable if the run has no training rows of its task.
    Source: huggingface/trl#1400, huggingface/transformers#23530, hiyouga/LlamaFactory#2509.
    """
    recipe = dict(run.recipe)
    rows = import_module("gonogo.methods.tasks.rows").read(run.data, "train")
    task = recipe.get("task", "classification")
    if task == "image":
        raise NotObservable(
            "template: an image is read as it stands, without tokens, template or padding; there is nothing to compare"
        )
    rows = [r for r in rows if ("messages" in r) == (task != "classification")]
    if not rows:
        raise NotObservable(
            f"template: {run.data} has no {task} rows to encode; check task and data of the recipe"
        )
    tokenizer = import_module("gonogo.methods.tasks.models").load_tokenizer(recipe)
    habit = next(iter(tokenizer("a")["input_ids"]), None)
    held, refused = _encoded(rows, tokenizer, recipe)
    length = (recipe.get("training") or {}).get("length") or 0
    encoded = [(fed, _truth(row, tokenizer, length)) for fed, row in held]
    fed_in_training = observed(run)
    truths = _known(fed_in_training, encoded)
    found = [(fed, _faults(fed, truth, tokenizer, habit, task)) for fed, truth in encoded]
    for fed, truth in zip(fed_in_training, truths, strict=True):
        unknown = {"observed_unknown"} if truth is None else set()
        found.append((fed, _faults(fed, truth, tokenizer, habit, task) | unknown))
    totals = Counter(name for _, faults in found for name in faults)
    totals["prefix_violations"] += len(refused)
    return _report(
        totals,
        [f"{f.name}: {', '.join(sorted(v))}" for f, v in found[::-1] if v],
        refused,
        encoded,
        fed_in_training,
    )


def _report(
    totals: Counter, found: list[str], refused: list[str], encoded: list, observed: list[Fed]
) -> dict[str, Any]:
    cut = sum(bool(t.prompt) and f.kept[: len(t.prompt)] != t.prompt for f, t in encoded)
    missing = (
        {} if observed else {"rows that entered forward: the run left no batches.safetensors": 1}
    )
    unlabelled = sum(fed.labels is None for fed in observed)
    return {
        "values": {name: [float(totals[name])] for name in METRICS},
        "unit": dict.fromkeys(METRICS, "rows"),
        "sampling_unit": "run",
        "counts": {
            "rows_encoded": len(encoded),
            "rows_refused": len(refused),
            "rows_observed": len(observed),
            "prompts_cut": cut,
        },
        "not_scored": missing
        | ({"labels of observed rows: not passed to forward": unlabelled} if unlabelled else {}),
        "findings": (refused + found)[:20],
    }
