"""Each leak, broken row and lopsided split is planted in word salad that otherwise overlaps in nothing."""

import json
import math
import random
from types import SimpleNamespace

import pytest
from gonogo.methods.measures import data

WORDS = [
    a + b + c
    for a in ("ba", "ko", "mi", "tu", "re")
    for b in ("l", "n", "s", "v")
    for c in ("a", "e", "o", "um")
]


def rows(sizes=(60, 20, 40), words=30):
    """Clean splits: random words, own group per row, labels in turn, seeded."""
    draw, number, splits = random.Random(5), 0, {}
    for split, size in zip(data.SPLITS, sizes, strict=True):
        splits[split] = []
        for _ in range(size):
            number += 1
            text = " ".join(draw.choices(WORDS, k=words))
            splits[split].append(
                {"id": str(number), "group": f"g{number}", "text": text, "label": number % 2}
            )
    return splits


def folder(path, splits, **meta):
    for split, held in splits.items():
        lines = [row if isinstance(row, str) else json.dumps(row) for row in held]
        (path / f"{split}.jsonl").write_text("".join(line + "\n" for line in lines))
    known = {
        "labels": ["no", "yes"],
        "label_fields": ["Recommended IND", "Rating"],
        "dropped": {"no text": 2},
    }
    (path / "meta.json").write_text(json.dumps(known | meta))
    return SimpleNamespace(data=path, path=path, base=path, recipe={})


def leaks(path, splits, **meta):
    values = data.leakage(folder(path, splits, **meta))["values"]
    return {name: int(v[0]) for name, v in values.items() if v[0]}


def as_dialogues(splits, answers=("no", "yes")):
    asked = "Would this customer recommend the dress that she writes about? {} Answer with yes or no. Label:"
    return {
        split: [
            {
                "id": r["id"],
                "group": r["group"],
                "messages": [
                    {"role": "user", "content": asked.format(r["text"])},
                    {"role": "assistant", "content": answers[r["label"]]},
                ],
            }
            for r in held
        ]
        for split, held in splits.items()
    }


def test_clean_splits_have_no_leak(tmp_path):
    assert leaks(tmp_path, rows()) == {}
    assert leaks(tmp_path, as_dialogues(rows())) == {}


def one_word_edit(text):
    return " ".join("changed" if i == 7 else w for i, w in enumerate(text.split()))


COPIES = {
    "as it is": (lambda t: t, "exact_duplicates"),
    "case and punctuation": (lambda t: t.upper().replace(" ", ", ", 5) + "!!", "exact_duplicates"),
    "white space": (lambda t: "  " + t.replace(" ", " \n "), "exact_duplicates"),
    "zero width": (lambda t: t[:2] + "\u200b" + t[2:], "exact_duplicates"),
    "full width letters": (
        lambda t: "".join(chr(ord(c) + 0xFEE0) if "a" <= c <= "z" else c for c in t),
        "exact_duplicates",
    ),
    "one word edited": (one_word_edit, "near_duplicates"),
    "two words dropped": (lambda t: " ".join(t.split()[1:-1]), "near_duplicates"),
    "every tenth word edited": (
        lambda t: " ".join("x" if i % 10 == 9 else w for i, w in enumerate(t.split())),
        "near_duplicates",
    ),
    "padded on both sides": (
        lambda t: " ".join(f"pad{i}" for i in range(40)) + " " + t + " and more of it" * 9,
        "near_duplicates",
    ),
    "its second half": (lambda t: " ".join(t.split()[12:]), "near_duplicates"),
}


@pytest.mark.parametrize("copy", COPIES)
@pytest.mark.parametrize("into", ["dev", "test"])
def test_a_copied_training_row_is_one_hit(tmp_path, copy, into):
    splits, (change, metric) = rows(), COPIES[copy]
    splits[into][3]["text"] = change(splits["train"][3]["text"])
    assert leaks(tmp_path, splits) == {metric: 1}


@pytest.mark.parametrize("words", [4, 5, 7, 10])
def test_one_edited_word_in_a_short_text_is_seen(tmp_path, words):
    splits = rows()
    short = " ".join(f"short{i}" for i in range(words))
    splits["train"][0]["text"] = short
    splits["test"][0]["text"] = short.replace("short2", "other")
    assert leaks(tmp_path, splits) == {"near_duplicates": 1}


def test_copies_within_test_count_and_within_train_do_not(tmp_path):
    splits = rows()
    splits["test"][1]["text"] = splits["test"][0]["text"]
    splits["train"][1]["text"] = splits["train"][0]["text"]
    assert leaks(tmp_path, splits) == {"exact_duplicates": 1}


def test_a_duplicate_in_a_prompt_template_is_seen_although_the_template_is_shared(tmp_path):
    splits = rows()
    splits["test"][3]["text"] = one_word_edit(splits["train"][3]["text"])
    assert leaks(tmp_path, as_dialogues(splits)) == {"near_duplicates": 1}


def test_a_group_in_two_splits_is_one_hit(tmp_path):
    splits = rows()
    splits["test"][0]["group"] = splits["dev"][0]["group"] = splits["train"][0]["group"]
    assert leaks(tmp_path, splits) == {"shared_groups": 1}


RENDERED = [
    "Recommended IND: {n}",
    "recommended_ind={n}",
    "Rating: 5",
    '"label": "{y}"',
    "label: {y}",
    "[{y}]",
    "__label__{n}",
    "target -> {n}",
    "<label>{y}</label>",
    "**Rating**: 4",
    "la\u200bbel: {y}",
    "Recommended: {n}",
    "recommended = {y}",
    "RECOMMEND: {Y}",
    "Recommends ({y})",
    "recommendedInd: true",
    "rec: {n}",
    "{{'recommended_ind': {n}}}",
    "Recommended | {y}",
    "Recommended -> two",
    "Rated: five",
    "rating=4/5",
    "Rating: 4 out of 5",
    "Ratings [3.0]",
    "Rating: *****",
    "\u2605\u2605\u2605\u2605\u2606",
    "Recommended IND was no",
    "<rating>5</rating>",
]


@pytest.mark.parametrize("form", RENDERED)
def test_a_rendered_label_is_seen_in_a_single_row(tmp_path, form):
    splits = rows()
    row = splits["test"][0]
    row["text"] += " " + form.format(
        n=row["label"], y=("no", "yes")[row["label"]], Y="NY"[row["label"]]
    )
    assert leaks(tmp_path, splits) == {"label_in_input": 1}


@pytest.mark.parametrize("mark", [" zq", ".", "  ", " Zq, zq", "\u200b"])
def test_a_mark_that_tells_the_class_is_seen_in_every_marked_row(tmp_path, mark):
    splits = rows()
    for held in splits.values():
        for row in held:
            row["text"] += mark if row["label"] and int(row["id"]) % 4 < 2 else ""
    assert leaks(tmp_path, splits) == {"label_in_input": 30}


@pytest.mark.parametrize(
    "form", ["{n} ~", "verdict {w}", "so the final verdict {w} in all", "#{n}"]
)
def test_a_class_told_in_one_row_of_eight_is_seen_whatever_the_words(tmp_path, form):
    splits = rows((240, 80, 160))
    marked = [row for held in splits.values() for row in held if int(row["id"]) % 16 < 2]
    for row in marked:
        row["text"] += " " + form.format(n=row["label"] + 2, w=("thumbs", "cheers")[row["label"]])
    assert leaks(tmp_path, splits) == {"label_in_input": len(marked)}


def test_words_that_one_class_prefers_are_no_leak(tmp_path):
    splits = rows((240, 80, 160))
    for held in splits.values():
        for row in held:
            row["text"] += " many compliments!" if row["label"] and int(row["id"]) % 16 == 1 else ""
            row["text"] += (
                " going back"
                if not row["label"] and int(row["id"]) % 16 == 0
                else " fits size 8: fine"
            )
    assert leaks(tmp_path, splits) == {}


def test_a_label_in_the_prompt_of_a_dialogue_is_seen_and_its_wording_is_not(tmp_path):
    splits = rows()
    splits["dev"][2]["text"] += f" answer: {('no', 'yes')[splits['dev'][2]['label']]}"
    assert leaks(tmp_path, as_dialogues(splits)) == {"label_in_input": 1}


def test_plain_words_about_ratings_are_no_label(tmp_path):
    splits = rows()
    splits["train"][1]["text"] += (
        " i recommended it. 1 of my friends rated this highly; recommended size: medium, rate no higher"
    )
    splits["train"][0]["text"] += (
        " i would rate it 5 stars, yes! no label inside, size 4 (yes), class of its own"
    )
    assert leaks(tmp_path, splits) == {}


def test_paraphrase_is_declared_as_not_seen(tmp_path):
    assert any("paraphrase" in why for why in data.leakage(folder(tmp_path, rows()))["not_scored"])


BROKEN = {
    "no json": lambda r: "{",
    "a list": lambda r: "[1]",
    "empty text": lambda r: r | {"text": "  "},
    "text is no string": lambda r: r | {"text": 3},
    "label beyond the declared": lambda r: r | {"label": 2},
    "label is a float": lambda r: r | {"label": 1.0},
    "label is a bool": lambda r: r | {"label": True},
    "label is missing": lambda r: {k: v for k, v in r.items() if k != "label"},
    "id of another row": lambda r: r | {"id": "1"},
    "id is no string": lambda r: r | {"id": 7},
    "no answer": lambda r: {"id": "x", "messages": [{"role": "user", "content": "q"}]},
    "messages are text": lambda r: {"id": "x", "messages": "hello"},
}


def test_sound_rows_all_load(tmp_path):
    seen = data.schema(folder(tmp_path, rows(), rows_read=200, bad_rows=[]))
    assert seen["values"] == {"rows_loaded_fraction": [1.0, 1.0], "schema_violations": [0.0]}
    assert seen["not_scored"] == {"dropped by the reader: no text": 2}
    assert data.schema(folder(tmp_path, as_dialogues(rows())))["values"]["schema_violations"] == [
        0.0
    ]


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_row_is_one_violation_and_is_listed(tmp_path, fault):
    splits = rows((60, 20, 20))
    splits["dev"][4] = BROKEN[fault](splits["dev"][4])
    seen = data.schema(folder(tmp_path, splits))
    assert seen["values"] == {"rows_loaded_fraction": [0.99], "schema_violations": [1.0]}
    assert seen["findings"][0].startswith("dev.jsonl:5: ")


def test_rows_the_reader_refused_lower_the_source_fraction(tmp_path):
    seen = data.schema(folder(tmp_path, rows(), rows_read=200, bad_rows=["row 3: no label"] * 20))
    assert seen["values"]["rows_loaded_fraction"] == [1.0, 0.9]


def test_refused_rows_are_counted_in_full_although_only_some_are_kept(tmp_path):
    meta = {
        "rows_read": 200,
        "bad_rows": [{"split": "train", "row": 3, "why": "label"}],
        "dropped": {"label": 40, "twin": 9},
    }
    assert data.schema(folder(tmp_path, rows(), **meta))["values"]["rows_loaded_fraction"] == [
        1.0,
        0.8,
    ]


def test_rows_without_a_group_share_none(tmp_path):
    splits = rows()
    for held in splits.values():
        held[0]["group"] = ""
    assert leaks(tmp_path, splits) == {}


def test_a_missing_split_is_a_violation(tmp_path):
    splits = rows()
    del splits["dev"]
    seen = data.schema(folder(tmp_path, splits))
    assert (seen["values"]["schema_violations"], seen["findings"]) == (
        [1.0],
        ["dev.jsonl: missing or empty"],
    )


def test_class_ratio_is_exact_per_split(tmp_path):
    splits = rows((60, 20, 40))
    for i, row in enumerate(splits["test"]):
        row["label"] = int(i >= 5)
    assert data.balance(folder(tmp_path, splits))["values"]["class_ratio"] == [1.0, 1.0, 7.0]


def test_a_split_without_a_class_has_an_infinite_ratio(tmp_path):
    splits = rows()
    for row in splits["dev"]:
        row["label"] = 1
    assert data.balance(folder(tmp_path, splits))["values"]["class_ratio"][1] == math.inf


def test_answers_of_dialogues_are_classes_only_while_they_are_few(tmp_path):
    assert data.balance(folder(tmp_path, as_dialogues(rows())))["values"]["class_ratio"] == [
        1.0,
        1.0,
        1.0,
    ]
    free = as_dialogues(rows())
    for row in free["train"]:
        row["messages"][1]["content"] = row["id"]
    with pytest.raises(data.NotObservable, match="no classes"):
        data.balance(folder(tmp_path, free))


def bare(text):
    return lambda row: row | {"text": text}


@pytest.mark.parametrize(
    "change",
    [
        bare("nan"),
        bare("N/A"),
        bare("caf\ufffd was closed"),
        bare("cut\x00off"),
        lambda row: {k: v for k, v in row.items() if k != "group"},
    ],
)
def test_a_row_that_lost_its_content_on_the_way_is_a_violation(tmp_path, change):
    splits = rows()
    splits["test"][3] = change(splits["test"][3])
    assert data.schema(folder(tmp_path, splits))["values"]["schema_violations"] == [1.0]


def test_data_without_any_group_is_no_violation(tmp_path):
    splits = {split: [row | {"group": None} for row in held] for split, held in rows().items()}
    assert data.schema(folder(tmp_path, splits))["values"]["schema_violations"] == [0.0]


def test_rows_that_the_reader_wrote_must_still_be_there(tmp_path):
    splits, wrote = rows(), {"train": 60, "dev": 20, "test": 40}
    assert data.schema(folder(tmp_path, splits, rows=wrote, rows_read=122))["values"][
        "schema_violations"
    ] == [0.0]
    splits["train"] = splits["train"][:30]
    assert data.schema(folder(tmp_path, splits, rows=wrote, rows_read=122))["values"][
        "schema_violations"
    ] == [1.0]


@pytest.mark.parametrize(
    "edit",
    [
        lambda text: text.replace(" ", ""),
        lambda text: text.replace(" ", "&nbsp;"),
        lambda text: text.translate(str.maketrans("aeo", "аео")),
        lambda text: " ".join(
            w[0] + w[2] + w[1] + w[3:] if n % 6 == 0 else w for n, w in enumerate(text.split())
        ),
    ],
)
def test_a_copy_is_found_whatever_became_of_its_letters(tmp_path, edit):
    splits = rows()
    splits["test"][0]["text"] = edit(splits["train"][0]["text"])
    assert sum(leaks(tmp_path, splits).values()) == 1


def test_a_group_is_the_same_however_it_is_spelled(tmp_path):
    splits = rows()
    splits["train"][0]["group"], splits["test"][0]["group"] = "1077", " 1077.0"
    assert leaks(tmp_path, splits) == {"shared_groups": 1}


def test_rows_without_a_group_beside_others_cannot_be_go(tmp_path):
    splits = rows()
    splits["test"] = [{k: v for k, v in row.items() if k != "group"} for row in splits["test"]]
    assert data.leakage(folder(tmp_path, splits))["vetoes"]


def paired(splits):
    """The same rows as pairs: the first words beside the rest."""
    return {
        split: [
            {
                **r,
                "text": " ".join(r["text"].split()[:15]),
                "pair": " ".join(r["text"].split()[15:]),
            }
            for r in held
        ]
        for split, held in splits.items()
    }


def test_a_pair_is_copied_only_with_both_its_texts(tmp_path):
    splits = paired(rows())
    splits["test"][0] |= {"text": splits["train"][3]["text"]}
    assert "exact_duplicates" not in leaks(tmp_path, splits)
    splits["test"][0] |= {"pair": splits["train"][3]["pair"]}
    assert leaks(tmp_path, splits)["exact_duplicates"] == 1


def questions():
    return {
        split: [
            {
                "id": r["id"],
                "group": r["group"],
                "question": f"where {r['id']}",
                "context": r["text"],
                "answerable": bool(r["label"]),
                "answers": [{"text": r["text"].split()[0], "start": 0}] * r["label"],
            }
            for r in held
        ]
        for split, held in rows().items()
    }


def test_questions_over_texts_load_and_are_balanced_by_answerability(tmp_path):
    told = folder(tmp_path, questions(), labels=[])
    assert data.schema(told)["values"]["schema_violations"] == [0.0]
    assert data.balance(told)["values"]["class_ratio"] == [1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    "change",
    [
        {"answerable": False},
        {"context": ""},
        {"answers": []},
        {"answers": [{"text": "elsewhere", "start": 0}]},
    ],
)
def test_a_question_that_does_not_fit_its_text_is_a_violation(tmp_path, change):
    splits = questions()
    splits["train"][0] |= change
    assert splits["train"][0]["id"] == "1"
    assert data.schema(folder(tmp_path, splits, labels=[]))["values"]["schema_violations"] == [1.0]
