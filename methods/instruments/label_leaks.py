"""What gives a row's class away: a label written into the text, or a mark that only one class carries. Plain text only."""

import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

GENERIC_FIELDS = ("label", "labels", "target", "class", "answer", "gold", "rating", "ground truth")
INPUT_WORDS = frozenset(
    (
        "text",
        "review",
        "title",
        "comment",
        "sentence",
        "question",
        "content",
        "body",
        "message",
        "name",
        "field",
        "column",
        "value",
        "index",
        "flag",
        "score",
        "number",
        "product",
        "item",
        "user",
        "customer",
        "data",
        "input",
        "output",
        "type",
    )
)
"""Words of a field's name that may as well name what the model reads: alone before a colon they tell nothing."""
ENDING = re.compile(r"(?:ations?|ings?|ers?|ed|es|s|ion)$")
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
ANSWERS = ("yes", "no", "true", "false", "positive", "negative", "pos", "neg", "y", "n", "t", "f")
STARS = "★☆⭐✩✪✭✮"
SURE, CHANCE_BITS = 0.98, 25.0
"""A telling mark: the share of its rows that lie in one class, and how far that must lie beyond chance, in bits. Over 24
draws of real reviews no mark of signs or digits came beyond 14 bits; sure words reach 50, so words need more."""


# ------------------------------------------------------------------------------------------------ a label as a field
def label_pattern(fields: Iterable[Any], labels: Iterable[Any]) -> re.Pattern[str]:
    """A label written as a field: whole name (`Recommended IND: 1`, `recommendedInd=yes`), a form of one of its words
    behind a sign (`Recommended: 1`, `rec = no`, `Recommends (Y)`), a generic name (`"label": "yes"`), a tag, stars."""
    fields, labels = (
        [str(field).strip() for field in fields],
        [re.escape(str(label)) for label in labels],
    )
    names = "|".join([*sorted(labels, key=len, reverse=True), *ANSWERS])
    value = rf"""["'*_(\[]*\s*(?:[-+]?\d+(?:[.,]\d+)?(?:\s*(?:/|out of)\s*\d+)?\b|(?:{names}|{"|".join(NUMBERS)})\b|[*{STARS}]+(?!\w))"""
    sign = r"""["'*_`\])>]*\s*(?:[:=|(\[<>]|->|=>|→)+\s*"""
    generic = "|".join(re.sub(" ", r"[\\W_]*", field) for field in GENERIC_FIELDS)
    whole = "|".join(spread(field) for field in fields if re.search(r"\w", field))
    short = "|".join(
        form for field in fields for word in telling_words(field) for form in forms(word)
    )
    tag = "|".join([*labels, "yes", "no", "true", "false"])
    parts = [
        rf"\b(?:{whole})\b[\s\W_]{{0,4}}(?:is\s+|was\s+)?{value}" if whole else "",
        rf"(?<![^\W_])(?:{short}){sign}{value}" if short else "",
        rf"""\b(?:{generic})["'*_]*\s*(?:[:=]|->|=>)\s*{value}""",
        rf"[\[<{{#]\s*/?(?:{tag})\s*[\]>}}#]|__label__\w+|<(?:{generic})>{value}",
        rf"[{STARS}]{{2,}}",
    ]
    return re.compile("|".join(part for part in parts if part), re.IGNORECASE)


def split_name(field: str) -> list[str]:
    """Words of a field's name: camel case, snake case, dots and spaces taken apart."""
    return re.findall(r"[^\W\d_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", field))


def spread(field: str) -> str:
    """The whole name in any case, its words joined by anything or nothing."""
    return r"[\W_]*".join(
        re.escape(word)
        for word in re.findall(r"[^\W_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", field))
    )


def telling_words(field: str) -> list[str]:
    return [
        word
        for word in map(str.lower, split_name(field))
        if len(word) > 3 and word not in INPUT_WORDS
    ]


def forms(word: str) -> list[str]:
    """A word with any ending, and its beginnings from three letters on."""
    stem = ENDING.sub("", word) if len(ENDING.sub("", word)) >= 3 else word
    cut = [re.escape(stem[:length]) for length in range(3, len(stem))]
    return [rf"{re.escape(stem)}[^\W\d_]{{0,6}}", *cut]


def visible(text: str) -> str:
    """NFKC without characters that have no width."""
    return "".join(
        c for c in unicodedata.normalize("NFKC", text) if unicodedata.category(c) != "Cf"
    )


def rendered(
    inputs: Sequence[str], answers: Sequence[str], fields: Iterable[Any], labels: Iterable[Any]
) -> set[int]:
    """Rows whose input holds a rendered label; a rendering that (nearly) every row has is the prompt's own wording.

    answers : what a dialogue's answer says, to be looked for behind a field name; empty where there is none.
    """
    pattern, held = label_pattern(fields, labels), {}
    for i, (text, answer) in enumerate(zip(inputs, answers, strict=True)):
        plain = visible(text)
        found = {m.group(0).casefold() for m in pattern.finditer(plain)} | answered(plain, answer)
        if found:
            held[i] = found
    often = Counter(m for found in held.values() for m in found)
    wording = {m for m, n in often.items() if len(inputs) >= 20 and n >= 0.95 * len(inputs)}
    return {i for i, found in held.items() if found - wording}


def answered(plain: str, answer: str) -> set[str]:
    """The row's own answer written in its prompt behind a field name."""
    fields = r"\b(?:label|target|answer|output|response|solution|gold)\W{0,3}[:=]\W*"
    found = (
        re.search(fields + re.escape(answer) + r"(?!\w)", plain, re.IGNORECASE) if answer else None
    )
    return {found.group(0).casefold()} if found else set()


# ------------------------------------------------------------------------------------------------ a mark of a class
def without_prompt(inputs: Sequence[str], answers: Sequence[str]) -> list[str]:
    """Dialogues without the whole words that all of them open with: next to those, every first word would look marked."""
    if len(inputs) < 20 or not all(answers):
        return list(inputs)
    first, last = min(inputs), max(inputs)
    alike = next(
        (at for at, (a, b) in enumerate(zip(first, last, strict=False)) if a != b),
        min(len(first), len(last)),
    )
    cut = max((at + 1 for at in range(alike) if first[at].isspace()), default=0)
    return [text[cut:] for text in inputs]


def pieces(text: str) -> list[str]:
    return re.findall(r"\w+|[^\w\s]+|\s{2,}", text)


def marks(text: str) -> set[str]:
    """What can carry a mark: words as written, punctuation runs, wide gaps, runs of two and three, start and end."""
    tokens = pieces(text)
    ends = {
        f"{side} {part}" for n in (1, 2, 3, 4) for side, part in (("^", text[:n]), ("$", text[-n:]))
    }
    runs = {" ".join(tokens[at : at + n]) for n in (2, 3) for at in range(len(tokens) - n + 1)}
    return set(tokens) | runs | ends


def plain_words(mark: str) -> bool:
    """Letters and the punctuation of prose: what people who feel alike may well write alike."""
    return all(c.isalpha() or c in " .,!?'’^$" for c in mark)


def bits(inside: int, all_of_it: int, share: float) -> float:
    """−log2 of a bound on the chance that `inside` or more of a mark's rows fall into a class of this share."""
    return -math.log2(share) * inside - math.log2(math.comb(all_of_it, inside))


def give_aways(
    inputs: Sequence[str],
    classes: Sequence[str],
    precision: float = 0.95,
    coverage: float = 0.3,
    elsewhere: float = 0.02,
    rare: float = 0.05,
) -> dict[int, str]:
    """Rows that hold a mark which tells their class, and what it is.

    Three kinds: any mark in ≥ coverage of the class and ≤ elsewhere of the rest; a mark of signs or digits in ≥ rare
    of the class that is sure beyond chance; a phrase whose next word is one of a few, each sure of a class (`verdict yes`).
    Classes of fewer than 20 rows, or without 20 rows outside, have no power and are left alone.
    """
    held = [marks(text) for text in inputs]
    everywhere, told = Counter(m for found in held for m in found), {}
    keyed = keyed_values(inputs, classes)
    for name, size in Counter(classes).items():
        rest = len(inputs) - size
        if min(size, rest) < 20:
            continue
        inside = Counter(
            m for found, c in zip(held, classes, strict=True) if c == name for m in found
        )

        def common(mark: str, n: int, size: int = size, rest: int = rest) -> bool:
            every = everywhere[mark]
            return n >= coverage * size and n >= precision * every and every - n <= elsewhere * rest

        def strange(mark: str, n: int, size: int = size) -> bool:
            every = everywhere[mark]
            sure = n >= rare * size and n >= SURE * every and not plain_words(mark)
            return sure and bits(n, every, size / len(inputs)) >= CHANCE_BITS

        sure = keyed | {mark for mark, n in inside.items() if common(mark, n) or strange(mark, n)}
        told |= {
            i: f"{min(held[i] & sure, key=len)!r} tells class {name!r}"
            for i, c in enumerate(classes)
            if c == name and held[i] & sure
        }
    return told


def keyed_values(
    inputs: Sequence[str], classes: Sequence[str], covered: float = 0.9, least: int = 8
) -> set[str]:
    """Runs `phrase value` where the phrase of one or two words is nearly always followed by a value that is sure of its
    class, with values for two classes or more. People's phrases go on in many ways."""
    follow: dict[str, Counter[tuple[str, str]]] = defaultdict(Counter)
    for text, name in zip(inputs, classes, strict=True):
        tokens = pieces(text)
        seen = {(a, b) for a, b in pairwise(tokens)} | {
            (f"{a} {b}", c) for a, b, c in zip(tokens, tokens[1:], tokens[2:], strict=False)
        }
        for phrase, value in seen:
            follow[phrase][value, name] += 1
    share = {name: n / len(inputs) for name, n in Counter(classes).items()}
    told = set()
    for phrase, counts in follow.items():
        if counts.total() < 2 * least:
            continue
        values = Counter(value for value, _ in counts.elements())
        sure = {(v, c): n for (v, c), n in counts.items() if n >= max(least, SURE * values[v])}
        far = sum(bits(n, values[v], share[c]) for (v, c), n in sure.items())
        if (
            len({c for _, c in sure}) > 1
            and sum(sure.values()) >= covered * counts.total()
            and far >= CHANCE_BITS
        ):
            told |= {f"{phrase} {value}" for value, _ in sure}
    return told
