"""Caption metrics: CIDEr-D as coco-caption computes it, SPIDEr, and what published rows of them contradict. No torch.

CIDEr-D: Vedantam, Zitnick & Parikh (2015), eq. 1-4 and §4; SPIDEr: Liu et al. (2017); SPICE: Anderson et al. (2016).
"""

import importlib.util
import math
import re
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gonogo.methods.run import NotObservable

N, SIGMA, SCALE = 4, 6.0, 10.0

BRACKETS = {"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-"}
"""In lower case, as PTBTokenizer leaves them; coco-caption means to drop them and by their case does not, so they count."""
ASIDE = {"''", "'", "``", "`", '"', ".", "?", "!", ",", ":", "-", "--", "...", ";"}
PLAIN = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "—": "--", "…": "..."})
SPLIT = {
    "cannot": "can not",
    "gonna": "gon na",
    "gotta": "got ta",
    "wanna": "wan na",
    "gimme": "gim me",
    "lemme": "lem me",
}
TOKEN = re.compile(
    r"""
    (?:[a-z]\.){2,} | (?<![\w'.])[a-z]\.(?!\.)
  | (?:mrs?|ms|dr|st|jr|sr|prof|etc|vs|inc|ltd|co|corp|vol|al|mt|ft|gen|col|lt|sgt|capt|rev|hon|sen|rep|gov)\.(?!\w)
  | \d+(?:[.,:]\d+)+(?![a-z])                       # 3.5  1,000  5:30
  | 'n' | 'twas\b | [od]'[a-z]{2,}                  # rock 'n' roll, o'clock
  | '(?:s|re|ve|ll|d|m)(?![a-z]) | n't(?![a-z])     # the parted ends of contractions
  | [^\W\d_]+?(?=n't(?![a-z]))                      # does|n't
  | [^\W_]+(?:[-/][^\W_]+)*                         # words, well-known, clicking/clacking
  | \.{2,} | -+ | [?!]{2,} | \S
""",
    re.VERBOSE,
)


def tokenise(caption: str) -> list[str]:
    """Words in lower case as Stanford's PTBTokenizer parts them, without the punctuation that coco-caption drops.

    No Java; agreement with the original is counted in the tests. Abbreviations keep their full stop by a short list.
    """
    plain = caption.lower().translate(PLAIN)
    found = (BRACKETS.get(token) or SPLIT.get(token, token) for token in TOKEN.findall(plain))
    return [
        word
        for token in found
        for word in token.split()
        if word not in ASIDE and not re.fullmatch(r"\.{2,}|-+", word)
    ]


def cider(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> list[float]:
    """CIDEr-D of each item, from 0 to 10; the corpus score is their mean. 1.0 is what tables print as 100.

    candidates (n,) captions, references (n,) lists of captions, tokenised here. An n-gram's weight is its count times
    ln n − ln(items whose references hold it, at least 1); the cosine of the clipped weights, times exp(−δ²/2σ²) of the
    difference δ in words, is averaged over references and n = 1..4. Raises ValueError for fewer than 2 items,
    where every weight is 0, or an item without a reference.
    """
    if len(candidates) != len(references) or len(candidates) < 2:
        raise ValueError(
            f"cider: {len(candidates)} candidates, {len(references)} lists of references; wanted one list each, 2 items or more"
        )
    if not all(references):
        raise ValueError(
            f"cider: item {[bool(each) for each in references].index(False)} has no reference; leave it out of both lists"
        )
    held = [[_grams(tokenise(text)) for text in texts] for texts in references]
    frequency = Counter(
        gram for texts in held for gram in {gram for text in texts for gram in text}
    )
    weigh = {gram: math.log(len(held) / count) for gram, count in frequency.items()}
    own = [_weighted(_grams(tokenise(text)), weigh, len(held)) for text in candidates]
    return [
        SCALE
        * sum(_similarity(mine, _weighted(text, weigh, len(held))) for text in texts)
        / len(texts)
        for mine, texts in zip(own, held, strict=True)
    ]


Grams = Counter[tuple[str, ...]]
Weighted = tuple[list[dict[tuple[str, ...], float]], int]


def _grams(words: Sequence[str]) -> Grams:
    return Counter(
        tuple(words[i : i + n]) for n in range(1, N + 1) for i in range(len(words) - n + 1)
    )


def _weighted(grams: Grams, weigh: Mapping[tuple[str, ...], float], items: int) -> Weighted:
    """The weights by length of n-gram, and the number of words. An n-gram of no reference weighs as one that a single item holds."""
    parts: list[dict[tuple[str, ...], float]] = [{} for _ in range(N)]
    for gram, count in grams.items():
        parts[len(gram) - 1][gram] = count * weigh.get(gram, math.log(items))
    return parts, sum(count for gram, count in grams.items() if len(gram) == 1)


def _similarity(mine: Weighted, other: Weighted) -> float:
    return (
        math.exp(-((mine[1] - other[1]) ** 2) / (2 * SIGMA**2))
        * sum(map(_clipped_cosine, mine[0], other[0]))
        / N
    )


def _clipped_cosine(mine: Mapping[Any, float], other: Mapping[Any, float]) -> float:
    sizes = math.hypot(*mine.values()) * math.hypot(*other.values())
    return (
        sum(
            min(weight, other[gram]) * other[gram] for gram, weight in mine.items() if gram in other
        )
        / sizes
        if sizes
        else 0.0
    )


def spider(cider_score: float, spice_score: float) -> float:
    """(CIDEr + SPICE) / 2, of an item or a corpus."""
    return (cider_score + spice_score) / 2


def spice(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> list[float]:
    """SPICE's F of each item, by the original Java program through pycocoevalcap. Raises NotObservable where a part is missing.

    The library would fetch Stanford CoreNLP from the web by itself; here that is asked for instead.
    """
    found = importlib.util.find_spec("pycocoevalcap")
    if found is None or not found.submodule_search_locations:
        raise NotObservable(
            "SPICE needs pycocoevalcap, which is not installed; `pip install pycocoevalcap` and Java 8 to 13"
        )
    if not shutil.which("java"):
        raise NotObservable(
            "SPICE is a Java program and there is no `java` on the PATH; install a Java runtime, 8 to 13"
        )
    home = Path(next(iter(found.submodule_search_locations))) / "spice"
    if len(list((home / "lib").glob("stanford-corenlp-3.6.0*.jar"))) < 2:
        raise NotObservable(
            f"SPICE needs stanford-corenlp-3.6.0.jar and its -models.jar in {home / 'lib'}; run {home / 'get_stanford_models.py'}"
        )
    from pycocoevalcap.spice.spice import Spice

    try:
        _, scores = Spice().compute_score(
            {n: list(texts) for n, texts in enumerate(references)},
            {n: [text] for n, text in enumerate(candidates)},
        )
    except Exception as broken:  # the library passes on whatever the Java process died of
        raise NotObservable(
            f"SPICE's Java program failed ({type(broken).__name__}: {broken}); it is known to need Java 8 to 13"
        ) from broken
    return [float(each["All"]["f"]) for each in scores]


def contradictions(rows: Sequence[Mapping[str, Any]], decimals: int = 1) -> list[str]:
    """What published rows say against themselves; [] if nothing.

    A row holds `name` and any of cider, spice, spider and other scores in points, `split` it was measured on and `titled`, the
    split it is shown as. SPIDEr may differ from (CIDEr + SPICE)/2 by what rounding all three to `decimals` explains.
    """
    return [
        f"{row.get('name', n)}: {said}"
        for n, row in enumerate(rows)
        for said in _against_itself(row, decimals)
    ]


def _against_itself(row: Mapping[str, Any], decimals: int) -> list[str]:
    told = []
    if all(name in row for name in ("cider", "spice", "spider")):
        mean = spider(row["cider"], row["spice"])
        if not abs(row["spider"] - mean) <= 10.0**-decimals + 1e-9:
            told.append(
                f"SPIDEr {row['spider']} is not the mean of CIDEr {row['cider']} and SPICE {row['spice']}, {mean:.{decimals + 1}f}"
            )
    if row.get("titled", row.get("split")) != row.get("split"):
        told.append(f"shown as {row['titled']}, measured on {row.get('split')}")
    shares = [
        name
        for name in ("spice", "bleu_1", "bleu_2", "bleu_3", "bleu_4", "meteor", "rouge_l")
        if name in row
    ]
    return told + [
        f"{name} {row[name]} is outside 0 to 100" for name in shares if not 0 <= row[name] <= 100
    ]
