"""Were the answers those of the adapter that was asked for? Judged against the offline reference of every adapter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gonogo.methods.serving.contract import MERGED, Answer, Request

References = Mapping[str, Mapping[tuple[int, ...], Answer]]
"""adapter or "base" → prompt → the offline answer."""


def owner(request: Request, merged: str) -> str:
    """Whose answer this request must get; `merged` names the adapter that is folded in."""
    return merged if request.adapter == MERGED else request.adapter


def likeness(seen: Answer, wanted: Answer) -> float:
    """Generation: length of the common beginning, in tokens. Classification: minus the largest difference of a logit."""
    if wanted.scores:
        if len(seen.scores) != len(wanted.scores):
            return float("-inf")
        return -max(abs(a - b) for a, b in zip(seen.scores, wanted.scores, strict=True))
    common = 0
    for a, b in zip(seen.tokens, wanted.tokens, strict=False):
        if a != b:
            break
        common += 1
    return float(common)


def wrong(request: Request, answer: Answer, references: References, merged: str) -> bool | None:
    """Is the answer at least as much like another's as like its own? None where all would answer this prompt alike."""
    whose = owner(request, merged)
    own = references[whose][request.prompt]
    others = [each[request.prompt] for name, each in references.items() if name != whose]
    others = [each for each in others if identity(each) != identity(own)]
    if not others:
        return None
    return likeness(answer, own) <= max(likeness(answer, each) for each in others)


def agreement(request: Request, answer: Answer, references: References, merged: str) -> float:
    """Generation: share of the tokens up to the first difference from its own reference. Classification: 1 if the class is the same."""
    own = references[owner(request, merged)][request.prompt]
    if own.scores:
        return float(answer.tokens == own.tokens)
    return likeness(answer, own) / len(own.tokens)


def identity(answer: Answer) -> tuple[float, ...]:
    return answer.scores or answer.tokens


def constant(pairs: Sequence[tuple[Request, Answer]]) -> bool:
    """Empty, or one and the same answer to different prompts (for one adapter)."""
    if any(not answer.tokens for _, answer in pairs):
        return True
    for name in {request.adapter for request, _ in pairs}:
        own = [
            (request.prompt, identity(answer))
            for request, answer in pairs
            if request.adapter == name
        ]
        if len({prompt for prompt, _ in own}) > 1 and len({answer for _, answer in own}) == 1:
            return True
    return False
