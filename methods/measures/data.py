"""The data: does it have the declared shape, do its splits leak into each other, are its classes balanced?"""

import hashlib
import json
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import combinations, product
from typing import Any

from gonogo.methods.instruments import images
from gonogo.methods.instruments import label_leaks as tells
from gonogo.methods.instruments.overlap import (
    SPLITS,
    Row,
    Text,
    normalise,
    overlaps,
    without_template,
)
from gonogo.methods.run import NotObservable

TYPES = {
    "string": str,
    "str": str,
    "text": str,
    "integer": int,
    "int": int,
    "number": (int, float),
    "float": float,
    "list": list,
}

PLACEHOLDERS = {"nan", "none", "null", "n/a", "#n/a", "na", "<na>", "undefined", "nat"}
"""What a table writes where it has nothing; as a whole text it is a missing one."""
UNREADABLE = re.compile("[\ufffd\x00-\x08\x0b\x0c\x0e-\x1f]")
"""Traces of bytes that were read in another encoding, and control characters that no text holds."""
BLIND = "paraphrase, translation and synonyms: no lexical method sees them"


# ------------------------------------------------------------------------------------------------ reading
def _lines(run: Any, split: str) -> Iterator[tuple[int, Row | None]]:
    """Line number and row; None for a line that is no JSON object. A byte that is not UTF-8 becomes U+FFFD."""
    path = run.data / f"{split}.jsonl"
    if not path.exists():
        return
    with path.open(encoding="utf-8", errors="replace") as handle:
        for number, line in ((n, text) for n, text in enumerate(handle, 1) if text.strip()):
            try:
                row = json.loads(line)
            except ValueError:
                row = None
            yield number, row if isinstance(row, dict) else None


def _meta(run: Any) -> dict[str, Any]:
    path = run.data / "meta.json"
    return json.loads(path.read_text("utf-8")) if path.exists() else {}


def _digests(run: Any) -> dict[str, str]:
    files = [run.data / name for name in (*(f"{s}.jsonl" for s in SPLITS), "meta.json")]
    return {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in files if f.exists()}


def _dialogue(row: Row) -> list[dict[str, str]] | None:
    messages = row.get("messages")
    sound = isinstance(messages, list) and all(
        isinstance(m, dict) and isinstance(m.get("role"), str) and isinstance(m.get("content"), str)
        for m in messages
    )
    return messages if sound else None


def answer_of(row: Row) -> Any:
    """The class of a row: its label, whether its question has an answer, or the last assistant message."""
    if "question" in row:
        return row.get("answerable")
    if "messages" not in row:
        return row.get("label")
    said = [m["content"] for m in _dialogue(row) or [] if m["role"] == "assistant"]
    return said[-1] if said else None


def input_of(row: Row) -> str:
    """What the model may read: the text or texts, or every message before the last assistant message."""
    if "messages" not in row:
        return "\n".join(
            row[part]
            for part in ("text", "pair", "question", "context")
            if isinstance(row.get(part), str)
        )
    messages = _dialogue(row) or []
    last = max(
        (i for i, m in enumerate(messages) if m["role"] == "assistant"), default=len(messages)
    )
    return "\n".join(m["content"] for m in messages[:last])


# ------------------------------------------------------------------------------------------------ schema
def _faults(
    row: Row, labels: list[str], columns: dict[str, Any], shape: list[int] | None = None
) -> Iterator[str]:
    """What is wrong with one row, in words."""
    if not isinstance(row.get("id"), str) or not row["id"]:
        yield "id is not a non-empty string"
    if not isinstance(row.get("group"), str | None):
        yield "group is not a string"
    if "messages" in row:
        dialogue = _dialogue(row)
        if (
            not dialogue
            or _missing(answer_of(row))
            or not input_of(row).strip()
            or dialogue[-1]["role"] != "assistant"
        ):
            yield "messages need role and content, a question, and at the end an answer that is not empty"
    elif "question" in row:
        yield from _span_faults(row)
    else:
        if "pixels" in row:
            yield from images.faults(row["pixels"], shape)
        elif any(
            not isinstance(row.get(part), str) or _missing(row[part])
            for part in ("text", "pair")
            if part in row or part == "text"
        ):
            yield "text is empty, a placeholder or no string"
        label = row.get("label")
        if type(label) is not int or not 0 <= label < (len(labels) or math.inf):
            yield f"label {label!r} is no integer within the {len(labels)} declared labels"
    if UNREADABLE.search(f"{input_of(row)}{answer_of(row)}"):
        yield "holds characters of a broken encoding"
    for name, declared in columns.items():
        wanted = TYPES.get(str(declared).lower())
        if name in row and wanted and not isinstance(row[name], wanted):
            yield f"{name} is {type(row[name]).__name__}, declared {declared}"


def _span_faults(row: Row) -> Iterator[str]:
    texts, answers = [row.get(part) for part in ("question", "context")], row.get("answers")
    if not all(isinstance(text, str) and text.strip() for text in texts):
        yield "question or context is empty or no string"
    elif not isinstance(answers, list) or row.get("answerable") is not bool(answers):
        yield "answerable does not say whether there are answers"
    elif any(texts[1][a["start"] : a["start"] + len(a["text"])] != a["text"] for a in answers):
        yield "an answer is not where it is said to be"


def _missing(text: Any) -> bool:
    said = str(text or "").strip()
    return not said or said.casefold() in PLACEHOLDERS


def _lost(meta: dict[str, Any], seen: Counter[str]) -> list[str]:
    """Where the reader kept count: splits that hold other numbers of rows than it wrote, and rows that are nowhere."""
    wrote, read = meta.get("rows"), meta.get("rows_read")
    if not isinstance(wrote, dict):
        return []
    lines = [
        f"{s}.jsonl: {seen[s]} rows, {wrote[s]} were written"
        for s in SPLITS
        if s in wrote and seen[s] != wrote[s]
    ]
    kept = sum(wrote.values()) + sum((meta.get("dropped") or {}).values())
    return lines + (
        [f"meta.json: {read} rows read, {kept} written or dropped"] if read and kept != read else []
    )


def _refused(meta: dict[str, Any]) -> int:
    """Rows the reader could not use. `bad_rows` keeps only some of them; `dropped` counts all with the same reason."""
    bad, dropped = meta.get("bad_rows") or [], meta.get("dropped") or {}
    reasons = {row.get("why") for row in bad if isinstance(row, dict)}
    return max(len(bad), sum(n for why, n in dropped.items() if why in reasons))


def _line_faults(
    row: Row | None, place: str, meta: dict[str, Any], seen: dict[str, str]
) -> list[str]:
    """What is wrong with the line at this place; `seen` holds the place of each id before it, and then of its own."""
    if row is None:
        return ["no JSON object"]
    columns = meta.get("columns")
    columns = columns if isinstance(columns, dict) else {}
    faults = list(_faults(row, meta.get("labels") or [], columns, meta.get("shape")))
    name = str(row.get("id"))
    if name in seen:
        faults.append(f"id {row.get('id')!r} is already at {seen[name]}")
    else:
        seen[name] = place
    return faults


def _ungrouped(counts: Counter[str], good: int) -> list[str]:
    """Either every good row has a group or none; counts: rows without one, by split."""
    if counts.total() >= good:
        return []
    return [f"{split}.jsonl: {n} rows have no group, others do" for split, n in counts.items() if n]


def schema(run: Any) -> dict[str, Any]:
    """Whether every row of every split is what the recipe declares.

    Metrics:
        rows_loaded_fraction [1]: two numbers where the reader kept count (`rows_read`, `bad_rows` of meta.json): split files,
            source file. Rows dropped for a declared reason (`dropped`) are choices, not failures; they are only counted
        schema_violations [rows]: one total. Ids must be unique over all splits together; either every row has a group or
            none. A missing split file is a violation, and so is a split with other rows than the reader wrote
    """
    meta, seen, found, total, good = _meta(run), {}, [], 0, 0
    sizes: Counter[str] = Counter()
    ungrouped: Counter[str] = Counter()
    for split in SPLITS:
        before = total
        for number, row in _lines(run, split):
            total += 1
            faults = _line_faults(row, f"{split}:{number}", meta, seen)
            good += not faults
            sizes[split] += 1
            ungrouped[split] += not faults and row is not None and not row.get("group")
            found += [f"{split}.jsonl:{number}: {'; '.join(faults)}"] if faults else []
        if total == before:
            found.append(f"{split}.jsonl: missing or empty")
    found += _ungrouped(ungrouped, good) + _lost(meta, sizes)
    refused, read = _refused(meta), int(meta.get("rows_read") or 0)
    fractions = [good / total if total else math.nan] + ([1 - refused / read] if read else [])
    return {
        "values": {"rows_loaded_fraction": fractions, "schema_violations": [float(len(found))]},
        "unit": {"rows_loaded_fraction": "1", "schema_violations": "rows"},
        "sampling_unit": "file",
        "counts": {
            "rows": total,
            "good": good,
            "rows_read": read,
            "refused_by_the_reader": refused,
        },
        "not_scored": {
            f"dropped by the reader: {why}": n for why, n in (meta.get("dropped") or {}).items()
        },
        "findings": found[:20],
        "digests": _digests(run),
    }


def _read(run: Any) -> list[Text]:
    rows = [(split, row) for split in SPLITS for _, row in _lines(run, split) if row is not None]
    words = [normalise(input_of(row)) for _, row in rows]
    if any("messages" in row for _, row in rows):
        words = without_template(words)
    return [(split, row, w) for (split, row), w in zip(rows, words, strict=True)]


def _group(row: Row) -> str:
    """A row's group without what tables add on their way: case and blanks, and the `.0` of a whole number."""
    return re.sub(r"^(\d+)\.0+$", r"\1", " ".join(str(row.get("group") or "").casefold().split()))


# ------------------------------------------------------------------------------------------------ the measures
def _shared_groups(texts: list[Text]) -> list[str]:
    """Groups with rows in two splits."""
    where: dict[str, set[str]] = defaultdict(set)
    for split, row, _ in texts:
        if name := _group(row):
            where[name].add(split)
    return [
        f"group {g} is in {', '.join(sorted(s))}" for g, s in sorted(where.items()) if len(s) > 1
    ]


def _labels_told(texts: list[Text], meta: dict[str, Any]) -> list[str]:
    """Rows whose text tells the label."""
    inputs = [input_of(row) for _, row, _ in texts]
    answers = [
        str(answer_of(row) or "").strip() if "messages" in row else "" for _, row, _ in texts
    ]
    rendered = tells.rendered(
        inputs, answers, meta.get("label_fields") or [], meta.get("labels") or []
    )
    told = tells.give_aways(
        tells.without_prompt(inputs, answers), [str(answer_of(row)) for _, row, _ in texts]
    )
    return [
        f"{texts[i][0]}:{texts[i][1].get('id')}: {told.get(i, 'a rendered label')}: {input_of(texts[i][1])[:60]!r}"
        for i in sorted(rendered | set(told))
    ]


def leakage(run: Any, similarity: float = 0.8, shingle: int = 5) -> dict[str, Any]:
    """What the splits share; a hit is evidence. Exact: equal after normalisation, between splits and within test.

    similarity : what counts as a near-duplicate: Jaccard of word shingles, of word multisets, or the share of the
        smaller text's shingles that lie in the larger one. Texts of 4 to 16 words also count if one word differs, and
        any two that share 16 shingles (a copied passage of about 20 words).
    shingle : words per shingle.
    Candidates come from MinHash-LSH and from exact indices; each is confirmed on the words themselves. Images are
    compared pixel by pixel (`images.overlaps`).

    Metrics:
        exact_duplicates [hits]
        near_duplicates [hits]
        shared_groups [hits]: groups with rows in two splits
        label_in_input [hits]: rows whose text tells the label
    Source: Broder 1997 (MinHash), arXiv 2107.06499 (overlap in published sets).
    """
    texts, meta = _read(run), _meta(run)
    if not texts:
        raise NotObservable(
            f"leakage: no rows in {run.data}; write train.jsonl, dev.jsonl and test.jsonl there"
        )
    seen = [
        (split, row)
        for split, row, _ in texts
        if "pixels" in row and not list(images.faults(row["pixels"]))
    ]
    exact, near = images.overlaps(seen) if seen else overlaps(texts, similarity, shingle)
    hits = {
        "exact_duplicates": exact,
        "near_duplicates": near,
        "shared_groups": _shared_groups(texts),
        "label_in_input": _labels_told(texts, meta),
    }
    sizes = Counter(split for split, _, _ in texts)
    blind = images.BLIND if seen else BLIND
    ungrouped = sum(not _group(row) for _, row, _ in texts)
    unseen = [
        f"{ungrouped} of {len(texts)} rows have no group: what they share with the others is not seen"
    ]
    return {
        "values": {name: [float(len(found))] for name, found in hits.items()},
        "unit": dict.fromkeys(hits, "hits"),
        "sampling_unit": "run",
        "counts": {
            "rows": len(texts),
            **sizes,
            "split_pairs": sum(sizes[a] * sizes[b] for a, b in combinations(SPLITS, 2)),
        },
        "not_scored": {blind: len(texts)}
        | ({"rows without a group": ungrouped} if ungrouped else {}),
        "findings": [f"{name}: {line}" for name, found in hits.items() for line in found[:5]],
        "vetoes": unseen if 0 < ungrouped < len(texts) else [],
        "digests": _digests(run),
    }


def balance(run: Any) -> dict[str, Any]:
    """How unequal the classes are. Instruction rows: their distinct answers are the classes.

    Metrics:
        class_ratio [ratio]: rows of the largest class over rows of the smallest, one per split that has rows; infinite if a
            declared class (or one seen in another split) is missing
    Raises NotObservable: more than 20 distinct answers are no classes.
    """
    rows = {split: [row for _, row in _lines(run, split) if row is not None] for split in SPLITS}
    seen = {answer_of(row) for held in rows.values() for row in held} - {None}
    instruction = any("messages" in row for held in rows.values() for row in held)
    if not seen or (instruction and len(seen) > 20):
        raise NotObservable(
            f"balance: {len(seen)} distinct answers are no classes; declare labels or leave this gate out"
        )
    classes = sorted(
        seen if instruction else seen | set(range(len(_meta(run).get("labels") or []))), key=str
    )
    tables = {s: Counter(answer_of(row) for row in held) for s, held in rows.items() if held}
    ratios = [
        max(t[c] for c in classes) / low if (low := min(t[c] for c in classes)) else math.inf
        for t in tables.values()
    ]
    return {
        "values": {"class_ratio": ratios},
        "unit": {"class_ratio": "ratio"},
        "sampling_unit": "split",
        "counts": {f"{split} {c}": tables[split][c] for split, c in product(tables, classes)},
        "findings": [
            f"{s}: {dict(t)}, ratio {r:.2f}"
            for (s, t), r in zip(tables.items(), ratios, strict=True)
        ],
        "digests": _digests(run),
    }
