"""Are the metrics of the audio-visual system computed correctly? Known answers, an independent library, identities, invariances."""

import importlib.util
import itertools
import math
import random
from collections.abc import Callable, Sequence
from typing import Any

import torch
from gonogo.methods.instruments.checks import Check, report
from gonogo.methods.run import NotObservable
from gonogo.methods.safe import captions, vqa
from gonogo.methods.safe.distillation import kl
from torch import Tensor

CANDIDATES = [
    "a man talking and a dog barking",
    "water is running into a sink",
    "birds chirp",
    "a woman sings a song",
    "a bell rings rings rings rings rings rings",
]
REFERENCES = [
    [
        "a man speaks while a dog barks",
        "a dog is barking and a man is talking",
        "man talking with a dog barking nearby",
    ],
    ["water runs from a tap", "water is running into a sink", "a faucet is running"],
    ["birds chirp in the distance while wind blows", "wind blowing and birds chirping"],
    [
        "an engine idles",
        "a car engine is idling and then revs",
        "an engine is running and revving up",
    ],
    ["a bell rings", "a bell rings three times and then stops"],
]
CIDER = [
    3.036793376061753,
    3.796044162005641,
    1.0718238227119494,
    0.0038147610380843363,
    1.1456420691849618,
]
"""Of the five above, by pycocoevalcap 1.2's Cider: a right one, a verbatim one, one too short, one on nothing, one that repeats itself."""
EQUAL = [
    ("Two", "2"),
    ("the red car", "red car"),
    ("dont", "don't"),
    ("1,000", "1000"),
    ("surfing.", "surfing"),
    ("t-shirt", "t shirt"),
    ("none", "0"),
]
APART = [
    ("3.5", "35"),
    ("its", "it's"),
    ("10:30", "1030"),
    ("yes", "no"),
    ("red car", "car red"),
]
"""Answers that normalisation must make equal, and answers that it must keep apart."""


def _same(a: float, b: float, within: float = 1e-12) -> bool:
    return math.isfinite(a) and abs(a - b) <= within


def _all_same(left: Sequence[float], right: Sequence[float], within: float = 1e-12) -> bool:
    return len(left) == len(right) and all(
        _same(a, b, within) for a, b in zip(left, right, strict=True)
    )


def _refused(metric: Callable[..., Any], *arguments: Any) -> bool:
    """True if the metric raises ValueError instead of scoring what is left."""
    try:
        metric(*arguments)
    except ValueError:
        return True
    return False


def _enumerated(truths: Sequence[str], answer: str) -> float:
    """The rule as it is told: each of the ten left out in turn, min(matches among the nine / 3, 1), their mean."""
    nines = itertools.combinations(truths, len(truths) - 1)
    return sum(min(sum(truth == answer for truth in nine) / 3, 1) for nine in nines) / len(truths)


def _of_vqa() -> dict[str, Check]:
    """Ten people, of whom 0 to 10 agree with the answer; and what normalisation must make equal or keep apart."""
    ten = {m: ["yes"] * m + ["no"] * (10 - m) for m in range(11)}
    wanted = {0: 0.0, 1: 0.3, 2: 0.6, 3: 0.9, 4: 1.0, 10: 1.0}
    return {
        "vqa: 0, 1, 2, 3, 4 and 10 of ten agree": lambda: all(
            _same(vqa.accuracy(ten[m], "yes"), wanted[m]) for m in wanted
        ),
        "vqa: equals the enumeration of the ten left out": lambda: all(
            _same(vqa.accuracy(ten[m], "yes"), _enumerated(ten[m], "yes")) for m in ten
        ),
        "vqa: is not min(matches / 3, 1)": lambda: not _same(vqa.accuracy(ten[2], "yes"), 2 / 3),
        "vqa: spellings that mean the same are one": lambda: all(
            vqa.normalise(a) == vqa.normalise(b) for a, b in EQUAL
        ),
        "vqa: other answers stay others": lambda: all(
            vqa.normalise(a) != vqa.normalise(b) for a, b in APART
        ),
        "vqa: both sides are normalised": lambda: vqa.accuracy(["Two dogs."] * 10, "2 dogs") == 1.0,
        "vqa: order of people does not matter": lambda: _same(
            vqa.accuracy(ten[3][::-1], "yes"), 0.9
        ),
        "vqa: one truth has no leave-one-out": lambda: _refused(vqa.accuracy, ["yes"], "yes"),
        "vqa: a question without answer is refused": lambda: _refused(
            vqa.accuracies, [ten[1], ten[2]], ["yes"]
        ),
        "exact match: any truth, normalised": lambda: (
            (vqa.exact_match(["a cat", "dog"], "Dog."), vqa.exact_match(["cat"], "dog"))
            == (1.0, 0.0)
        ),
    }


def _of_captions() -> dict[str, Check]:
    order = [3, 0, 4, 2, 1]

    def score(places: Sequence[int] = range(5)) -> list[float]:
        return captions.cider([CANDIDATES[n] for n in places], [REFERENCES[n] for n in places])

    def loud() -> list[float]:
        return captions.cider([text.upper() + "!" for text in CANDIDATES], REFERENCES)

    return {
        "cider: known values of the library": lambda: _all_same(score(), CIDER),
        "cider: the only reference, word for word, scores 10": lambda: _all_same(
            captions.cider(["a b c d e", "f g h i j"], [["a b c d e"], ["f g h i j"]]), [10.0, 10.0]
        ),
        "cider: no shared word scores 0": lambda: (
            captions.cider(["x y", "a b"], [["c d"], ["a b"]])[0] == 0.0
        ),
        "cider: a second run gives the same": lambda: score() == score(),
        "cider: order of items does not matter": lambda: _all_same(
            score(order), [score()[n] for n in order]
        ),
        "cider: order of references does not matter": lambda: _all_same(
            captions.cider(CANDIDATES, [r[::-1] for r in REFERENCES]), score()
        ),
        "cider: case and a closing mark do not matter": lambda: _all_same(loud(), score()),
        "cider: one item alone is refused": lambda: _refused(
            captions.cider, CANDIDATES[:1], REFERENCES[:1]
        ),
        "cider: an item without reference is refused": lambda: _refused(
            captions.cider, CANDIDATES, [*REFERENCES[:4], []]
        ),
    }


def _of_spider() -> dict[str, Check]:
    known = {"cider": 88.5, "spice": 16.5, "spider": 52.5}
    return {
        "spider: (88.5 + 16.5) / 2": lambda: captions.spider(88.5, 16.5) == 52.5,
        "spider: the mean of means is the mean of items": lambda: _same(
            captions.spider(sum(CIDER) / 5, 0.15), sum(captions.spider(c, 0.15) for c in CIDER) / 5
        ),
        "published rows: one that fits is passed": lambda: captions.contradictions([known]) == [],
        "published rows: one that does not is told": lambda: (
            len(captions.contradictions([known | {"spider": 53.5}])) == 1
        ),
    }


def _drawn() -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(5)
    teacher, student = (torch.randn(3, 6, 9, generator=draw, dtype=torch.float64) for _ in range(2))
    return teacher, student, torch.arange(18).reshape(3, 6) % 3 != 0


def _gradient_is_right(teacher: Tensor, student: Tensor, mask: Tensor) -> bool:
    own = student.clone().requires_grad_()
    kl(teacher, own, mask).backward()
    wanted = (student.softmax(-1) - teacher.softmax(-1)) * mask[..., None] / mask.sum()
    return bool((own.grad - wanted).abs().max() <= 1e-14)


def _of_kl() -> dict[str, Check]:
    teacher, student, mask = _drawn()
    half, most = (torch.tensor([[p, 1 - p]], dtype=torch.float64).log() for p in (0.5, 0.9))
    one = torch.tensor([True])
    value = kl(teacher, student, mask).item()
    padding = torch.full((3, 4, 9), torch.nan, dtype=torch.float64)

    return {
        "kl: two coins, ln(5/3)": lambda: _same(kl(half, most, one).item(), math.log(5 / 3)),
        "kl: the teacher comes first": lambda: _same(
            kl(most, half, one).item(), 0.9 * math.log(1.8) + 0.1 * math.log(0.2)
        ),
        "kl: equal logits, 0": lambda: kl(teacher, teacher, mask).item() == 0,
        "kl: shifts of a token's logits do not matter": lambda: _same(
            kl(teacher, student + 3 * mask[..., None], mask).item(), value
        ),
        "kl: batch size does not matter": lambda: _same(
            kl(*(x.repeat(2, *[1] * (x.ndim - 1)) for x in (teacher, student, mask))).item(), value
        ),
        "kl: length does not matter": lambda: _same(
            kl(*(torch.cat([x, x], 1) for x in (teacher, student, mask))).item(), value
        ),
        "kl: padding does not matter": lambda: _same(
            kl(
                torch.cat([teacher, padding], 1),
                torch.cat([student, padding], 1),
                torch.cat([mask, mask[:, :4] & False], 1),
            ).item(),
            value,
        ),
        "kl: temperature 2 counts four times": lambda: _same(
            kl(teacher, student, mask, 2.0).item(), 4 * kl(teacher / 2, student / 2, mask).item()
        ),
        "kl: its gradient is the softmax difference": lambda: _gradient_is_right(
            teacher, student, mask
        ),
        "kl: a second run gives the same": lambda: kl(teacher, student, mask).item() == value,
    }


def _sentences(draw: random.Random, count: int) -> list[str]:
    words = ["dog", "barks", "man", "talks", "water", "runs", "and", "a", "the", "while", "engine"]
    return [" ".join(draw.choices(words, k=draw.randint(1, 9))) for _ in range(count)]


def _against_library() -> dict[str, Check]:
    """pycocoevalcap's Cider on 40 items drawn once; {} where it is not installed. Its tokeniser is left out: the text is plain."""
    if importlib.util.find_spec("pycocoevalcap") is None:
        return {}
    from pycocoevalcap.cider.cider import Cider

    draw = random.Random(7)
    said = _sentences(draw, 40)
    held = [_sentences(draw, draw.randint(1, 5)) for _ in said]

    def library() -> list[float]:
        return [
            float(x)
            for x in Cider().compute_score(
                dict(enumerate(held)), {n: [text] for n, text in enumerate(said)}
            )[1]
        ]

    return {"cider = pycocoevalcap": lambda: _all_same(captions.cider(said, held), library(), 1e-9)}


def _of_spice() -> tuple[dict[str, Check], dict[str, int]]:
    """A check of SPICE where its Java program can run, else why it cannot."""
    try:
        found = captions.spice(CANDIDATES, REFERENCES)
    except NotObservable as missing:
        return {}, {str(missing): 1}
    return {
        "spice: word for word beats nothing in common": lambda: 1 >= found[1] > found[3] >= 0
    }, {}


def captioning(run: Any = None) -> dict[str, Any]:
    """Whether the metrics of captions and answers are right. `run` is not looked at.

    Metrics:
        failed_checks [checks]: 0 or 1 per check, in a fixed order; a check that raises has failed
    Source: arXiv 1612.00370 (SPIDEr), visualqa.org/evaluation.html.
    """
    library, (spice, not_scored) = _against_library(), _of_spice()
    checks = {**_of_vqa(), **_of_captions(), **_of_spider(), **_of_kl(), **library, **spice}
    if not library:
        not_scored["pycocoevalcap is not installed: CIDEr stands on values stored from it"] = 1
    return report(checks, not_scored, library_checks=len(library) + len(spice))
