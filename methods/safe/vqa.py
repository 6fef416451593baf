"""VQA accuracy as the VQA v2 evaluation counts it (Antol et al. 2015; visualqa.org/evaluation), and exact match. No torch.

Both sides are normalised in full. The official script leaves ten equal truths as they stand, and changes only the punctuation of
others; the published answers are lower case, with digits and without articles already, so the two agree on them.
"""

import re
from collections.abc import Sequence

ARTICLES = frozenset({"a", "an", "the"})
COUNT = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
DIGITS = {"none": "0"} | {word: str(n) for n, word in enumerate(COUNT)}
MARKS = ';/[]"{}()=+\\_-><@`,?!'
SPOKEN = """ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd he'd've he's
how'd how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've might've mustn't must've needn't not've o'clock oughtn't
'ow's'at shan't she'd've should've shouldn't shouldn't've somebody'd've somebody'll somebody's someone'd someone'd've someone'll
someone's something'd something'd've something'll that's there'd there'd've there're there's they'd they'd've they'll they're
they've 'twas wasn't we'd've we've weren't what'll what're what's what've when's where'd where's where've who'd who'd've who'll
who's who've why'll why're why's won't would've wouldn't wouldn't've y'all y'all'll y'all'd've you'd you'd've you'll you're you've"""
"""The contractions that the evaluation repairs. Those whose bare form is a word of its own (we're, I'll, its) are not among them."""

_MARK = re.compile("'")
CONTRACTIONS = {
    whole[: at.start()] + whole[at.end() :]: whole
    for whole in SPOKEN.split()
    for at in _MARK.finditer(whole)
}
"""Each with any one of its apostrophes missing → the contraction."""


def normalise(text: str) -> str:
    """Lower case; number words to digits; no articles; apostrophes of contractions restored; no full stop but in a decimal.

    Other punctuation becomes a space, or nothing where it stands beside a space or the text holds a comma between digits; colon
    and apostrophe stay.
    """
    said = " ".join(re.split(r"[\n\t]", text)).strip()
    plain, thousands = said, re.search(r"\d,\d", said)
    for mark in MARKS:
        loose = f"{mark} " in said or f" {mark}" in said
        plain = plain.replace(mark, "" if loose or thousands else " ")
    words = (DIGITS.get(word, word) for word in re.sub(r"\.(?!\d)", "", plain).lower().split())
    return " ".join(CONTRACTIONS.get(word, word) for word in words if word not in ARTICLES)


def accuracy(truths: Sequence[str], answer: str) -> float:
    """Mean over the people of min(matches among the others / 3, 1): ten truths in VQA v2, any number from 2 here.

    With m of n truths equal to the answer: (m·min((m−1)/3, 1) + (n−m)·min(m/3, 1)) / n. Raises ValueError for fewer than 2 truths.
    """
    if len(truths) < 2:
        raise ValueError(
            f"vqa accuracy: {len(truths)} truths; wanted at least 2 (VQA v2 has 10); use exact_match for a single one"
        )
    said = normalise(answer)
    hits = [normalise(truth) == said for truth in truths]
    m, n = sum(hits), len(hits)
    return (m * min((m - 1) / 3, 1) + (n - m) * min(m / 3, 1)) / n


def accuracies(truths: Sequence[Sequence[str]], answers: Sequence[str]) -> list[float]:
    """One a question. Raises ValueError where a question has no answer or an answer no question."""
    if len(truths) != len(answers) or not answers:
        raise ValueError(
            f"vqa accuracy: {len(truths)} questions and {len(answers)} answers; answer each question once"
        )
    return [accuracy(each, answer) for each, answer in zip(truths, answers, strict=True)]


def exact_match(truths: Sequence[str], answer: str) -> float:
    """1.0 if the answer equals any of the truths, both normalised."""
    said = normalise(answer)
    return float(any(normalise(truth) == said for truth in truths))
