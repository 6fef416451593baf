"""What the turns of the servers tell: their times, whose answers they gave, what each server held."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from gonogo.methods.serving import answers, campaign
from gonogo.methods.serving.campaign import Turn
from gonogo.methods.serving.contract import BASE, Answer, Request


def timed(seen: Sequence[Turn]) -> dict:
    values, unit, counts = {}, {}, {"blocks": float(len({t.block for t in seen}))}
    for arm, own in campaign.by_arm(seen).items():
        figures = {
            "latency_p50": ([t.latency(0.5) for t in own], "seconds"),
            "latency_p95": ([t.latency(0.95) for t in own], "seconds"),
            "first_token": ([t.first_token_s for t in own], "seconds"),
            "throughput": ([t.throughput for t in own], "tokens/s"),
            "processor": ([t.processor_s for t in own], "seconds"),
        }
        for name, (numbers, what) in figures.items():
            values[f"{name}@{arm}"], unit[f"{name}@{arm}"] = numbers, what
        for name, share in (("p50", 0.5), ("p95", 0.95)):
            limits = campaign.quantile_limits(values[f"latency_{name}@{arm}"], share)
            counts |= dict(
                zip(
                    (f"{name}@{arm}", f"{name}_low@{arm}", f"{name}_high@{arm}"),
                    limits,
                    strict=True,
                )
            )
    strays = campaign.apart(seen)
    values["not_interleaved"], unit["not_interleaved"] = [float(len(strays))], "blocks"
    findings = [f"block {block}: its arms did not take turns side by side" for block in strays[:5]]
    return {
        "values": values,
        "unit": unit,
        "counts": counts,
        "findings": findings,
        "vetoes": [],
        "not_scored": {},
    }


def checked(
    seen: Sequence[Turn], references: answers.References, merged: str, new_tokens: int
) -> dict:
    pairs = [
        (t.arm, request, answer)
        for t in seen
        for request, answer in zip(t.requests, t.answers, strict=True)
    ]
    verdicts = [
        (arm, answers.wrong(request, answer, references, merged)) for arm, request, answer in pairs
    ]
    strays = Counter(arm for arm, verdict in verdicts if verdict)
    wanted = new_tokens if not next(iter(references[BASE].values())).scores else 1
    miscounted = sum(answer.generated != wanted for _, _, answer in pairs)
    constant = _constant(pairs)
    scored = [float(verdict) for _, verdict in verdicts if verdict is not None]
    values = {
        "wrong_adapter": scored,
        "agreement": [answers.agreement(r, a, references, merged) for _, r, a in pairs],
        "other_token_count": [float(miscounted)],
        "constant_answers": [float(len(constant))],
    }
    return {
        "values": values,
        "unit": {
            "wrong_adapter": "answers",
            "agreement": "1",
            "other_token_count": "answers",
            "constant_answers": "arms",
        },
        "counts": {"answers": len(pairs)},
        "findings": _strange_answers(strays, constant),
        "not_scored": {"all adapters answer alike": len(verdicts) - len(scored)},
        "vetoes": []
        if scored
        else ["every adapter answers every prompt alike: it cannot be seen which of them answered"],
    }


def _constant(pairs: Sequence[tuple[str, Request, Answer]]) -> list[str]:
    """Arms that say the same to different prompts."""
    return [
        arm
        for arm in {arm for arm, _, _ in pairs}
        if answers.constant([(r, a) for each, r, a in pairs if each == arm])
    ]


def _strange_answers(strays: Counter[str], constant: Sequence[str]) -> list[str]:
    lines = [
        f"{arm}: {n} answers are another adapter's, or as much like it"
        for arm, n in strays.most_common()
    ]
    return lines + [
        f"{arm}: one and the same answer, or none, to different prompts" for arm in sorted(constant)
    ]


def kept(held: Mapping[str, tuple[list[str], Any]]) -> dict:
    """What each server holds, by its own word and against its arm's name, and the memory of its process."""
    wanted = {
        arm: int(arm.removeprefix("adapters_")) if arm.startswith("adapters_") else 0
        for arm in held
    }
    other = [
        f"{arm}: the server holds {len(there)} adapters ({', '.join(there) or 'none'}), wanted {wanted[arm]}"
        for arm, (there, _) in held.items()
        if len(there) != wanted[arm]
    ]
    peaks = {
        f"peak_bytes@{arm}": [float(memory.accelerator_peak or memory.peak)]
        for arm, (_, memory) in held.items()
    }
    counts = {f"rss@{arm}": memory.rss for arm, (_, memory) in held.items()}
    return {
        "values": {"other_adapters_held": [float(len(other))], **peaks},
        "unit": {"other_adapters_held": "arms", **dict.fromkeys(peaks, "bytes")},
        "counts": counts,
        "findings": other,
        "vetoes": [],
        "not_scored": {},
    }


def merge(*reports: Mapping[str, Any]) -> dict:
    found: dict[str, Any] = {}
    for name in ("values", "unit", "counts", "not_scored"):
        found[name] = {key: value for report in reports for key, value in report[name].items()}
    found["findings"] = [line for report in reports for line in report["findings"]][:20]
    found["vetoes"] = [line for report in reports for line in report["vetoes"]]
    return found
