"""The rows of an audio-visual folder: read, or refused in words; and what is wrong with them that no row shows alone."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from gonogo.methods.run import NotObservable, RunFolder

Row = dict[str, Any]
SPLITS = ("train", "dev", "test")
ASKED = (*SPLITS, "vqa")  # vqa asks every question of easy-VQA's test split, with sounds of test
TEXTS = (
    "id",
    "need",
    "kind",
    "type",
    "question",
    "answer",
    "image",
    "shape",
    "color",
    "audio",
    "role",
    "group",
)
DO = "build the folder again"


def read(run: RunFolder) -> tuple[dict[str, Any], list[tuple[str, Row]]]:
    """meta.json and every row with its split.

    Raises NotObservable: other data, a file that is no JSON of the kind, or a meta.json that does not say how the sounds are to be read.
    """
    folder = RunFolder(run.data)
    meta = _parsed(f"{run.data}/meta.json", lambda: folder.json("meta.json"))
    if not isinstance(meta, dict) or meta.get("kind") != "audio-visual":
        held = meta.get("kind") if isinstance(meta, dict) else meta
        raise NotObservable(
            f"{run.data} holds {held!r} data; this measure reads audio-visual questions; leave its gate out"
        )
    events, pairs = meta.get("events"), meta.get("pairs")
    if (
        type(meta.get("rate")) is not int
        or meta["rate"] < 1
        or not isinstance(events, list)
        or len(set(map(str, events))) < 2
        or not isinstance(pairs, dict)
    ):
        raise NotObservable(
            f"{run.data}/meta.json: rate {meta.get('rate')!r}, events {events!r}, pairs {pairs!r}; wanted samples a second, two names or more, a table; {DO}"
        )
    rows = [
        (split, row)
        for split in ASKED
        if (run.data / f"{split}.jsonl").is_file()
        for row in _lines(folder, f"{split}.jsonl")
    ]
    return meta, rows


def _parsed(where: str, load: Any) -> Any:
    try:
        return load()
    except ValueError as error:
        raise NotObservable(f"{where}: {error}; wanted JSON in UTF-8; {DO}") from error


def _lines(folder: RunFolder, name: str) -> list[Row]:
    rows = _parsed(f"{folder.path}/{name}", lambda: folder.lines(name))
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict) or any(
            isinstance(row.get(part), list | dict)
            for part in (*TEXTS, "event", "start", "end", "snr")
        ):
            raise NotObservable(
                f"{folder.path}/{name}, line {number}: {str(row)[:60]!r}; wanted an object of texts and numbers; {DO}"
            )
    return rows


def judgeable(rows: Sequence[tuple[str, Row]]) -> None:
    """Raises NotObservable for a row that lacks what its alignment is judged by."""
    for split, row in rows:
        lacking = [name for name in TEXTS if not isinstance(row.get(name), str)] + [
            name for name in ("start", "end", "snr") if type(row.get(name)) not in (int, float)
        ]
        if lacking:
            raise NotObservable(
                f"{split}:{row.get('id')}: no {', '.join(lacking)}; a sound cannot be held against such a row; {DO}"
            )


def together(rows: Sequence[tuple[str, Row]]) -> list[str]:
    """What is wrong with the rows of a set, though each alone is sound, a line each: nothing in a split, an id or an item twice, an image in two
    groups, a question about sound among the vision-language ones."""
    count = Counter(split for split, _ in rows)
    ids = Counter((split, row.get("id")) for split, row in rows)
    items = Counter(
        (split, row.get("image"), row.get("question"), row.get("audio")) for split, row in rows
    )
    groups = defaultdict(set)
    for _, row in rows:
        groups[row.get("image")] |= {row["group"]} if isinstance(row.get("group"), str) else set()
    return [
        *(f"{split}: no row" for split in SPLITS if not count[split]),
        *(
            f"{split}:{name}: {times} rows of this id"
            for (split, name), times in ids.items()
            if times > 1
        ),
        *(
            f"{split}: {question} about {image} with {audio}, {times} times"
            for (split, image, question, audio), times in items.items()
            if times > 1
        ),
        *(
            f"{image}: in {len(held)} groups; the rows of one image belong together"
            for image, held in groups.items()
            if len(held) > 1
        ),
        *(
            f"vqa:{row.get('id')}: need {row.get('need')}"
            for split, row in rows
            if split == "vqa" and row.get("need") != "none"
        ),
    ]


def taught_sounds(rows: Sequence[tuple[str, Row]], prints: Mapping[Any, str]) -> list[str]:
    """Sounds of vqa, beside those of test, that are by their bytes of train or dev: the model was taught or chosen by them."""
    of: dict[bool, dict[str, str]] = {True: {}, False: {}}
    for split, row in rows:
        if split != "test":
            of[split == "vqa"].setdefault(
                prints.get(row.get("audio"), str(row.get("audio"))), f"{split}:{row.get('id')}"
            )
    tested = {
        prints.get(row.get("audio"), str(row.get("audio")))
        for split, row in rows
        if split == "test"
    }
    return [
        f"{of[False][sound]} and {asked}"
        for sound, asked in of[True].items()
        if sound in of[False] and sound not in tested
    ]
