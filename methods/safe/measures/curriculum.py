"""The stages of a finished audio-visual training, read from its curriculum.jsonl: drawn as declared, passed as declared?

The log's first line is {"declared": [stages]}, then a line {"step", "stage", "rows": [ids]} per optimizer step, and between
them the decisions {"step", "stage", "event", "metrics", "reason"}. What should have been decided is worked out here anew.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from gonogo.methods.run import NotObservable, RunFolder
from gonogo.methods.safe.measures import entered as safe_entered

STRATA = ("audio", "both", "none")
TOTALS = {
    "outside_limits": "cells",
    "filtered_in": "rows",
    "transition_off": "decisions",
    "unlogged": "steps",
    "unknown_rows": "rows",
    "declared_otherwise": "stages",
    "trained_otherwise": "steps",
}
Line = Mapping[str, Any]


def _log(run: RunFolder) -> tuple[list[dict[str, Any]], list[Line], list[Line]]:
    """The declared stages, the steps and the decisions."""
    lines = run.lines("curriculum.jsonl")
    if not lines or not lines[0].get("declared"):
        raise NotObservable(
            f'{run.path}/curriculum.jsonl does not begin with the declared stages; write {{"declared": [...]}} as its first line'
        )
    return (
        lines[0]["declared"],
        [line for line in lines if "rows" in line],
        [line for line in lines if "event" in line],
    )


# ------------------------------------------------------------------------------------------------ what was drawn
def sampling(run: RunFolder, window: int = 200, alpha: float = 0.05) -> dict[str, Any]:
    """The rows that were drawn, stage by stage, and every decision, against the recipe's curriculum.

    Metrics:
        ratio_error [1]: per stage and stratum: |realised share − declared share| of the rows drawn
        window_error [1]: the largest in any `window` rows in a row
        outside_limits [cells]: the exact two-sided binomial test at `alpha` over the number of cells excludes the declared
            share, or a row came again before all of its stratum had come
        filtered_in [rows]: that the difficulty filter keeps out
        transition_off [decisions]: and steps in another stage than the decisions say
        unlogged [steps]: or that were not made, or are not of one batch
        unknown_rows [rows]: not in train.jsonl
        declared_otherwise [stages]: than in the recipe
        trained_otherwise [steps]: on other rows than logged
    """
    declared, steps, events = _log(run)
    made = {line["step"] for line in run.lines("trace.jsonl")}
    batch = run.recipe["training"]["batch"]
    rows = {row["id"]: row for row in RunFolder(run.data).lines("train.jsonl")}
    drawn: dict[str, list[str]] = defaultdict(list)
    for step in steps:
        drawn[step["stage"]] += step["rows"]
    cells = [
        cell for stage in declared for cell in _cells(stage, drawn[stage["name"]], rows, window)
    ]
    outside = [cell for cell in cells if cell["p"] < alpha / len(cells) or cell["repeated"]]
    low = _let_in(declared, drawn, rows)
    unknown = [name for held in drawn.values() for name in held if name not in rows]
    off = [fault for fault, _ in walked(declared, events)] + _misplaced(steps, events)
    other = _undeclared(run, declared)
    trained = _trained_otherwise(run, steps, rows)
    unlogged = gaps(steps, events, made) + sum(
        step["step"] not in made or 0 < len(step["rows"]) != batch for step in steps
    )
    totals = (*map(len, (outside, low, off)), unlogged, *map(len, (unknown, other, trained)))
    return {
        "values": {
            "ratio_error": [cell["error"] for cell in cells],
            "window_error": [cell["window"] for cell in cells],
            **{name: [float(total)] for name, total in zip(TOTALS, totals, strict=True)},
        },
        "unit": {"ratio_error": "1", "window_error": "1", **TOTALS},
        "sampling_unit": "stage and stratum",
        "counts": {
            "steps": len(steps),
            "stages": len(declared),
            **{f"{cell['stage']} {cell['stratum']}": cell["share"] for cell in cells},
        },
        "findings": [*_in_words(outside), *other, *trained[:5], *off, *low, *map(str, unknown)][
            :20
        ],
    }


def _let_in(
    declared: Sequence[Line], drawn: Mapping[str, Sequence[str]], rows: Mapping[str, Line]
) -> list[str]:
    """The rows drawn that the difficulty filter of their stage keeps out."""
    return [
        f"{stage['name']}: {name} at {rows[name]['snr']} dB"
        for stage in declared
        for name in drawn[stage["name"]]
        if name in rows
        and rows[name].get("snr") is not None
        and "min_snr" in stage
        and not rows[name]["snr"] >= stage["min_snr"]
    ]


def _trained_otherwise(
    run: RunFolder, steps: Sequence[Line], rows: Mapping[str, Line]
) -> list[str]:
    held = run.tensors("batches.safetensors")
    return [
        *safe_entered.questions(held, steps, rows),
        *safe_entered.files(run, held, steps, rows),
        *safe_entered.answers(run, steps, rows),
    ]


def _in_words(outside: Sequence[Line]) -> list[str]:
    return [
        f"{cell['stage']}: {cell['share']:.4f} {cell['stratum']}, declared {cell['declared']:.4f}{cell['repeated']}"
        for cell in outside
    ]


def _cells(
    stage: Line, drawn: Sequence[str], rows: Mapping[str, Line], window: int
) -> Iterator[dict[str, Any]]:
    from scipy.stats import binomtest

    needs = np.array([rows[name]["need"] if name in rows else "" for name in drawn])
    for stratum in STRATA:
        declared, is_one = float(stage["mix"].get(stratum, 0)), (needs == stratum).astype(float)
        if not len(is_one):
            yield {
                "stage": stage["name"],
                "stratum": stratum,
                "declared": declared,
                "share": 0.0,
                "error": 1.0,
                "window": 1.0,
                "p": 0.0,
                "repeated": "",
            }
            continue
        sums = np.concatenate([[0], np.cumsum(is_one)])
        size = min(window, len(is_one))
        yield {
            "stage": stage["name"],
            "stratum": stratum,
            "declared": declared,
            "share": float(is_one.mean()),
            "error": float(abs(is_one.mean() - declared)),
            "window": float(np.abs((sums[size:] - sums[:-size]) / size - declared).max()),
            "p": float(binomtest(int(is_one.sum()), len(is_one), min(1.0, declared)).pvalue),
            "repeated": _repeated(
                [name for name in drawn if name in rows and rows[name]["need"] == stratum],
                _admitted(stage, stratum, rows),
            ),
        }


def _admitted(stage: Line, stratum: str, rows: Mapping[str, Line]) -> int:
    """How many rows of a stratum the stage's filter lets in."""
    least = stage.get("min_snr", -np.inf)
    return sum(
        row["need"] == stratum and (row.get("snr") is None or row["snr"] >= least)
        for row in rows.values()
    )


def _repeated(names: Sequence[str], admitted: int) -> str:
    """In words where a row was drawn more often than rounds through the whole stratum were begun; else nothing."""
    most = Counter(names).most_common(1)
    rounds = -(-len(names) // max(1, admitted))
    return (
        f"; {most[0][0]} drawn {most[0][1]} times in {rounds} rounds"
        if most and most[0][1] > rounds
        else ""
    )


# ------------------------------------------------------------------------------------------------ what was decided
def _undeclared(run: RunFolder, declared: Sequence[Line]) -> list[str]:
    """The stages in which the log's first line is not the recipe: it is of another training."""
    asked = run.recipe["curriculum"]
    return [
        f"stage {at + 1} of the log is not the recipe's"
        for at in range(max(len(declared), len(asked)))
        if declared[at : at + 1] != asked[at : at + 1]
    ]


def walked(declared: Sequence[Line], events: Sequence[Line]) -> Iterator[tuple[str, bool]]:
    """What each decision should have been and was not, and whether its own metrics speak against it.

    A wrong decision is held against the run once: the walk goes on from where the run went.
    """
    left, start = list(events), 0
    for number, stage in enumerate(declared):
        last, used, end = number == len(declared) - 1, 0, start + stage["steps"]
        if not left or not _is(left[0], stage, "begin", start):
            yield (
                f"{stage['name']} should begin at step {start}; the log says {_words(left)}",
                False,
            )
        if left and left[0]["event"] == "begin":
            end = left.pop(0)["step"] + stage["steps"]
        while left and left[0]["event"] != "begin":
            seen = left.pop(0)
            wanted = (
                "extend"
                if _short(stage, seen) and used < stage.get("extensions", 0)
                else "end"
                if last
                else "transition"
            )
            if not _is(seen, stage, wanted, end):
                yield (
                    f"{stage['name']} should {wanted} at step {end}; the log says {_words([seen])}",
                    seen["event"] != wanted,
                )
            start = seen["step"]
            if seen["event"] != "extend":
                break
            used, end = used + 1, seen["step"] + stage.get("extend", 0)
        else:
            yield f"{stage['name']} has no end; wanted one at step {end}", False
            start = end
    yield from ((f"after the last stage: {_words([event])}", False) for event in left)


def _is(seen: Line, stage: Line, event: str, step: int) -> bool:
    return (seen["stage"], seen["event"], seen["step"]) == (stage["name"], event, step)


def _words(events: Sequence[Line]) -> str:
    return (
        f"{events[0]['event']} of {events[0]['stage']} at step {events[0]['step']}"
        if events
        else "nothing"
    )


def _short(stage: Line, seen: Line) -> list[str]:
    """The metrics that do not reach their bounds; one that was not logged, or is no share, does not."""
    told = seen.get("metrics") or {}
    return [
        name
        for name, bound in stage.get("until", {}).items()
        if not (_is_share(told.get(name)) and told[name] >= bound)
    ]


def _is_share(value: Any) -> bool:
    """What dev is scored by, accuracies, lies from 0 to 1."""
    return type(value) in (int, float) and 0 <= value <= 1


def _misplaced(steps: Sequence[Line], events: Sequence[Line]) -> list[str]:
    """Steps that were made in another stage than the one begun last."""
    begun = [(event["step"], event["stage"]) for event in events if event["event"] == "begin"]
    wrong = []
    for step in steps:
        held = [stage for start, stage in begun if start < step["step"]]
        if not held or held[-1] != step["stage"]:
            wrong.append(
                f"step {step['step']} was made in {step['stage']}; begun was {held[-1] if held else 'nothing'}"
            )
    return wrong


def gaps(steps: Sequence[Line], events: Sequence[Line], made: Iterable[int] = ()) -> int:
    """Steps without a line of their own: left out up to the last step, decision or step `made`, or there twice, or without rows."""
    seen = Counter(step["step"] for step in steps)
    last = max([*seen, *(event["step"] for event in events), *made], default=0)
    return sum(seen[step] != 1 for step in range(1, last + 1)) + sum(
        not step["rows"] for step in steps
    )


def rehearsal(run: RunFolder) -> dict[str, Any]:
    """Totals of a rehearsed curriculum: order_off [stages] not begun when their turn came, or others than the recipe's; criteria_misapplied [decisions]
    that their own metrics, or the extensions left, speak against, or with another reason than the one that held;
    log_gaps [lines] of steps or decisions; paths_unseen [paths]: a stage passed with its bounds met, and, if some stage
    may be extended, an extension."""
    declared, steps, events = _log(run)
    order = _disordered(declared, events) or _undeclared(run, declared)
    by_name = {stage["name"]: stage for stage in declared}
    passed = [event for event in events if event["event"] in ("transition", "end")]
    wrong = [fault for fault, against in walked(declared, events) if against]
    wrong += [
        f"{_words([event])} says {event.get('reason')!r}"
        for event in passed
        if event["stage"] in by_name and not _reasoned(by_name[event["stage"]], event)
    ]
    gone = (
        gaps(steps, events)
        + max(0, len(declared) - len(passed))
        + sum(not {"metrics", "reason"} <= set(event) for event in events)
    )
    unseen = _unseen(declared, passed, events)
    return {
        "values": {
            "order_off": [float(len(order))],
            "criteria_misapplied": [float(len(wrong))],
            "log_gaps": [float(gone)],
            "paths_unseen": [float(len(unseen))],
        },
        "unit": {
            "order_off": "stages",
            "criteria_misapplied": "decisions",
            "log_gaps": "lines",
            "paths_unseen": "paths",
        },
        "sampling_unit": "run",
        "counts": {
            "steps": len(steps),
            "stages": len(declared),
            **Counter(event["event"] for event in events),
        },
        "findings": [*order, *wrong, *unseen][:20],
    }


def _disordered(declared: Sequence[Line], events: Sequence[Line]) -> list[str]:
    """The stages that were not begun when their turn came."""
    begun = [event["stage"] for event in events if event["event"] == "begin"]
    wanted = [stage["name"] for stage in declared]
    return [
        f"stage {n + 1} should be {name}; begun was {begun[n] if n < len(begun) else 'nothing'}"
        for n, name in enumerate(wanted)
        if begun[n : n + 1] != [name]
    ] + [f"{name} was begun after the last stage" for name in begun[len(wanted) :]]


def _unseen(declared: Sequence[Line], passed: Sequence[Line], events: Sequence[Line]) -> list[str]:
    """The paths through the curriculum that this log does not take."""
    by_name = {stage["name"]: stage for stage in declared}
    reached = any(
        event["stage"] in by_name and not _short(by_name[event["stage"]], event) for event in passed
    )
    extendable = any(stage.get("extensions") for stage in declared)
    extended = any(event["event"] == "extend" for event in events)
    return ["no stage was passed with its bounds met"] * (not reached) + [
        "no stage was extended"
    ] * (extendable and not extended)


def _reasoned(stage: Line, seen: Line) -> bool:
    return seen.get("reason") == ("extensions used up" if _short(stage, seen) else "bounds met")
