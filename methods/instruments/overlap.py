"""Which texts repeat each other between splits: equal, nearly equal, or one inside the other. Pure text, no files."""

import html
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from itertools import combinations, pairwise
from typing import Any
from zlib import crc32

SPLITS = ("train", "dev", "test")
Row = dict[str, Any]
Words = list[str]
Text = tuple[str, Row, Words]
"""Split, row, and the words of its normalised input."""


LOOK_ALIKES = str.maketrans("аеорсухіјѕһӏԛԝαορνικτυχ", "aeopcyxijshlqwaopviktux")
"""Cyrillic and Greek small letters that are drawn like a Latin one (Unicode TR39, confusables)."""
RUN, FEW, LEAST, COPIED = 9, 8, 24, 0.45
"""Letters of a run; in how many texts it may stand to be telling; how many two texts must share, and which share of the
shorter one's. Over the splits of clean draws of real reviews no two texts as a whole shared more than 0.3 of them."""


def normalise(text: str) -> Words:
    """Words after entities and NFKC, case folding, look-alike letters; without accents, zero widths and punctuation."""
    plain = unicodedata.normalize("NFKC", html.unescape(text)).casefold()
    folded = unicodedata.normalize("NFD", plain.translate(LOOK_ALIKES))
    kept = (c for c in folded if unicodedata.category(c) not in ("Cf", "Mn"))
    return re.findall(r"[^\W_]+", "".join(kept))


def without_template(texts: list[Words]) -> list[Words]:
    """Drop the words that every prompt starts and ends with, so that a shared instruction is no duplicate."""
    distinct = [t for t in texts if t]
    if len(distinct) < 20:
        return texts
    head = _shared(distinct)
    tail = _shared([t[head:][::-1] for t in distinct])
    return [t[head : len(t) - tail] for t in texts]


def _shared(texts: list[Words]) -> int:
    low, high = min(texts), max(texts)
    return next(
        (i for i, (a, b) in enumerate(zip(low, high, strict=False)) if a != b),
        min(len(low), len(high)),
    )


def _grams(words: Words, size: int) -> set[tuple[str, ...]]:
    return {tuple(words[i : i + size]) for i in range(len(words) - size + 1)}


def _buckets(keys: Iterable[tuple[int, Any]]) -> Iterator[list[int]]:
    """Indices that share a key, for every key that more than one shares."""
    held: dict[Any, list[int]] = defaultdict(list)
    for index, key in keys:
        held[key].append(index)
    return (sorted(b) for b in held.values() if len(b) > 1)


def _candidates(
    texts: list[Text], shingles: list[set[tuple[str, ...]]], similarity: float
) -> set[tuple[int, int]]:
    """Pairs worth an exact look, over-inclusive: MinHash-LSH on words, a shared rare shingle, one word left out."""
    from datasketch import MinHash, MinHashLSH

    buckets = list(_buckets((i, s) for i, held in enumerate(shingles) for s in held))
    common = max(20, len(texts) // 50)
    pairs = {p for b in buckets if len(b) <= common for p in combinations(b, 2)}
    short = [(i, w) for i, (_, _, w) in enumerate(texts) if 3 < len(w) <= 16]
    gaps = ((i, tuple(w[:at] + w[at + 1 :])) for i, w in short for at in range(len(w) + 1))
    pairs |= {p for b in _buckets(set(gaps)) for p in combinations(b, 2)}
    blank = MinHash(num_perm=128, seed=1)
    index = MinHashLSH(threshold=0.7 * similarity, num_perm=128)
    for i, (_, _, words) in enumerate(texts):
        if words:
            sketch = blank.copy()
            sketch.update_batch([w.encode() for w in set(words)])
            pairs |= {(j, i) for j in index.query(sketch)}
            index.insert(i, sketch)
    return pairs


def _alike(a: Words, b: Words, a_shingles: set, b_shingles: set, similarity: float) -> str:
    """Why two different texts are near-duplicates, or empty: shingles, words, one edited word, one inside the other."""
    common = len(a_shingles & b_shingles)
    union = len(a_shingles | b_shingles)
    if union and common / union >= similarity:
        return f"shingle Jaccard {common / union:.2f}"
    left, right = Counter(a), Counter(b)
    both, either = (left & right).total(), (left | right).total()
    if min(len(a), len(b)) > 3 and (both / either >= similarity or _one_edit(a, b)):
        return f"word Jaccard {both / either:.2f}"
    fewest = min(len(a_shingles), len(b_shingles))
    if fewest > 3 and common / fewest >= similarity:
        return f"one holds {common / fewest:.2f} of the other"
    return f"{common} shared shingles" if common >= 16 else ""


def _one_edit(a: Words, b: Words) -> bool:
    """One word replaced, added or removed."""
    if len(a) > len(b):
        a, b = b, a
    at = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), len(a))
    return (len(a) == len(b) and a[at + 1 :] == b[at + 1 :]) or (
        len(a) + 1 == len(b) and a[at:] == b[at + 1 :]
    )


def _runs(words: Words, step: int) -> set[str]:
    """Every run of letters across the words, of many texts one in `step`, the same ones everywhere."""
    letters = "".join(words)
    held = {letters[at : at + RUN] for at in range(len(letters) - RUN + 1)}
    return held if step == 1 else {run for run in held if crc32(run.encode()) % step == 0}


def copied_letters(texts: list[Text], budget: int = 2_000_000) -> dict[tuple[int, int], float]:
    """Pairs between splits that share their letters whatever became of the words (typing errors, lost blanks), with the
    share of the shorter text's runs that both hold. Only runs that few texts hold count."""
    step = 1 + sum(sum(map(len, words)) for _, _, words in texts) // budget
    runs = [_runs(words, step) for _, _, words in texts]
    shared: Counter[tuple[int, int]] = Counter()
    for bucket in _buckets((i, run) for i, held in enumerate(runs) for run in held):
        if len(bucket) <= FEW:
            shared.update(
                pair for pair in combinations(bucket, 2) if texts[pair[0]][0] != texts[pair[1]][0]
            )
    found = {
        (i, j): n / min(len(runs[i]), len(runs[j]))
        for (i, j), n in shared.items()
        if n * step >= LEAST
    }
    return {
        (i, j): share
        for (i, j), share in found.items()
        if share >= COPIED and throughout(texts[i][2], texts[j][2])
    }


def throughout(a: Words, b: Words, parts: int = 3, least: float = 0.2) -> bool:
    """Whether each part of either text shares runs with the other: a copy does, and a sentence that one person writes
    under every review lies in one part only."""

    def covered(letters: str, other: str) -> bool:
        held, size = (
            {other[at : at + RUN] for at in range(len(other) - RUN + 1)},
            len(letters) - RUN + 1,
        )
        shared = [letters[at : at + RUN] in held for at in range(size)]
        cuts = [size * part // parts for part in range(parts + 1)]
        return all(sum(shared[x:y]) >= least * (y - x) for x, y in pairwise(cuts))

    return covered("".join(a), "".join(b)) and covered("".join(b), "".join(a))


def overlaps(texts: list[Text], similarity: float, shingle: int) -> tuple[list[str], list[str]]:
    """Exact and near duplicates between splits, in words; exact ones within test too."""
    shingles = [_grams(w, shingle) for _, _, w in texts]
    exact, near = [], []
    for bucket in _buckets((i, tuple(w)) for i, (_, _, w) in enumerate(texts) if w):
        by_split = {s: [i for i in bucket if texts[i][0] == s] for s in SPLITS}
        exact += [
            _pair(texts, by_split[s][0], i, "equal")
            for s, t in combinations(SPLITS, 2)
            if by_split[s]
            for i in by_split[t]
        ]
        exact += [_pair(texts, by_split["test"][0], i, "equal") for i in by_split["test"][1:]]
    letters = copied_letters(texts)
    for i, j in sorted(_candidates(texts, shingles, similarity) | set(letters)):
        (one, _, a), (other, _, b) = texts[i], texts[j]
        if one != other and a != b:
            why = _alike(a, b, shingles[i], shingles[j], similarity)
            why = why or (
                f"{letters[i, j]:.2f} of its runs of letters" if (i, j) in letters else ""
            )
            near += [_pair(texts, i, j, why)] if why else []
    return exact, near


def _pair(texts: list[Text], i: int, j: int, why: str) -> str:
    (one, a, _), (other, b, words) = texts[i], texts[j]
    return f"{one}:{a.get('id')} ~ {other}:{b.get('id')}: {why}: {' '.join(words)[:60]!r}"
