"""Lies in an audio-visual folder that `safe.data.files_load` did not count, or that ended in a traceback."""

import json

import pytest
from gonogo.methods.run import NotObservable, RunFolder
from gonogo.methods.safe import rows
from gonogo.methods.safe.measures import cost as safe_cost
from gonogo.methods.safe.measures import data as safe_data
from gonogo.methods.safe.measures import memory as safe_memory

from tests.methods.safe.measures.test_data import (
    change,
    files,
    folder,
    judge,
    rows_of,
    true,
)

EVERY = ("train", "dev", "test", "vqa")


def all_rows(folder, **fields):
    for split in EVERY:
        change(
            folder,
            split,
            lambda held: [
                {**row, **{name: make(row) for name, make in fields.items()}} for row in held
            ],
        )


def of_train(folder, *names):
    taught = [row for row in rows_of(folder, "train") if row["role"] == "irrelevant"] * 99
    change(
        folder,
        "vqa",
        lambda held: [
            {**row, **{name: other[name] for name in names}}
            for row, other in zip(held, taught, strict=False)
            if row["role"] == "irrelevant"
        ],
    )


def twice(folder):
    change(
        folder, "vqa", lambda held: [*held, *({**row, "id": f"{row['id']} again"} for row in held)]
    )


LIES = {
    "one id for all train rows": (
        lambda home: change(home, "train", lambda held: [{**row, "id": "train"} for row in held]),
        {"bad_rows": 1},
    ),
    "no test row": (lambda home: (home / "test.jsonl").write_text(""), {"bad_rows": 1}),
    "no dev file": (lambda home: (home / "dev.jsonl").unlink(), {"bad_rows": 1}),
    "a group for each row, not for each image": (
        lambda home: all_rows(home, group=lambda row: row["id"]),
        "bad_rows",
    ),
    "every vision-language question twice": (twice, "bad_rows"),
    "questions about sound among the vision-language ones": (
        lambda home: change(
            home,
            "vqa",
            lambda held: [*held, *(row for row in rows_of(home, "test") if row["need"] == "both")][
                : len(held) + 1
            ],
        ),
        "bad_rows",
    ),
    "vision-language questions about images of train": (
        lambda home: of_train(home, "image", "shape", "color", "group"),
        "shared_images",
    ),
    "vision-language questions with sounds of train": (
        lambda home: of_train(home, "audio", "event", "start", "end", "snr"),
        "duplicate_sounds",
    ),
    "a shape that no image has": (
        lambda home: all_rows(
            home, shape=lambda row: "blob" if row["kind"] != "match" else row["shape"]
        ),
        "bad_rows",
    ),
    "a level that is no number": (
        lambda home: all_rows(
            home, snr=lambda row: float("nan") if row["snr"] is not None else None
        ),
        "bad_rows",
    ),
    "a level without end": (
        lambda home: all_rows(
            home, snr=lambda row: float("inf") if row["snr"] is not None else None
        ),
        "bad_rows",
    ),
}


@pytest.mark.parametrize("what", LIES)
def test_what_no_row_shows_alone_is_counted(judge, folder, what):
    lie, wanted = LIES[what]
    lie(folder)
    found, _ = files(judge, folder)
    assert found == wanted if isinstance(wanted, dict) else found.get(wanted, 0) > 0


def meta(**fields):
    def lie(home):
        told = {**json.loads((home / "meta.json").read_text()), **fields}
        (home / "meta.json").write_text(
            json.dumps({name: value for name, value in told.items() if value is not None})
        )

    return lie


def text(name, content):
    return lambda home: (home / name).write_bytes(content)


UNREADABLE = {
    "no rate": (meta(rate=None), "rate None"),
    "a rate in words": (meta(rate="8000"), "rate '8000'"),
    "no events": (meta(events=None), "events None"),
    "one event": (meta(events=["bell"]), "two names or more"),
    "meta.json is a list": (text("meta.json", b"[]"), "holds"),
    "meta.json ends early": (text("meta.json", b"{"), "wanted JSON"),
    "a row that ends early": (
        text("test.jsonl", b'{"id": "test-0", "ne'),
        "test.jsonl: .*wanted JSON",
    ),
    "a row that is a list": (text("test.jsonl", b"[]"), "test.jsonl, line 1: .*wanted an object"),
    "a row that is nothing": (text("test.jsonl", b"null"), "line 1"),
    "another encoding": (text("test.jsonl", b"\xff\xfe"), "UTF-8"),
    "several answers": (
        lambda home: all_rows(home, answer=lambda row: [row["answer"]]),
        "wanted an object of texts and numbers",
    ),
}


@pytest.mark.parametrize("what", UNREADABLE)
@pytest.mark.parametrize("measure", [safe_data.files_load, safe_data.alignment])
def test_a_folder_that_cannot_be_read_is_refused_in_words(judge, folder, measure, what):
    lie, says = UNREADABLE[what]
    lie(folder)
    with pytest.raises(NotObservable, match=says):
        judge(folder, measure)


@pytest.mark.parametrize(
    ("lie", "says"),
    [
        (
            lambda home: change(
                home, "dev", lambda held: [{**row, "question": None} for row in held]
            ),
            "dev:.*: no question",
        ),
        (lambda home: all_rows(home, start=lambda _: None), "no start"),
        (meta(rate=16_000), "none of .* loads at 16000 Hz"),
    ],
)
def test_rows_that_no_sound_can_be_held_against_are_refused_in_words(judge, folder, lie, says):
    lie(folder)
    with pytest.raises(NotObservable, match=says):
        judge(folder)


@pytest.mark.parametrize("content", [None, b"", b"\n\n"])
def test_a_split_without_rows_is_said_and_no_crash(tmp_path, content):
    if content is not None:
        (tmp_path / "vqa.jsonl").write_bytes(content)
    with pytest.raises(NotObservable, match=r"vqa\.jsonl: no (row|such file)"):
        rows.read(tmp_path, "vqa")


@pytest.mark.parametrize("measure", [safe_cost.latency, safe_cost.throughput, safe_memory.memory])
def test_batches_are_as_large_as_they_are_said_to_be(tmp_path, monkeypatch, measure):
    """With 48 test rows every batch of the memory curve held 48: a line without slope, whose sign is a draw of the allocator."""
    (tmp_path / "recipe.json").write_text(
        json.dumps({"data": {"path": str(tmp_path)}, "base": {"path": str(tmp_path)}})
    )
    (tmp_path / "test.jsonl").write_text('{"id": 1}\n' * 48)
    for module in (safe_cost, safe_memory):
        monkeypatch.setattr(
            module, "shipped", lambda _: (type("Safe", (), {"train": lambda self: self})(), None)
        )
    monkeypatch.setattr(safe_memory, "give_back_freed_pages", lambda: None)
    with pytest.raises(NotObservable, match=r"48 rows; wanted \d+"):
        measure(RunFolder(tmp_path))
