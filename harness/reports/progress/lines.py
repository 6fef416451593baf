"""What is under way, in words: cells for a terminal, one line for a log."""

from __future__ import annotations

from gonogo.harness.plan import about, spoken
from gonogo.harness.reports.progress.states import SILENT_S, Measuring, Snapshot, Training
from gonogo.harness.reports.words import neutral

LONGEST_NAME = 60
COLUMNS = 5
BARRED = "waiting: another gonogo session measures alone on this device"
DROPPED = (3, 2)  # the rate goes first where the terminal is narrow, then the loss
ASCII = str.maketrans({"·": "|", "…": "~", "−": "-", "×": "x"})


def cells(snapshot: Snapshot, most: int) -> list[tuple[str, ...]]:
    """A row each of name, step, loss, rate, time left; trainings first, at most `most` rows."""
    told = [*map(training, snapshot.trainings), *map(measuring, snapshot.measurings)]
    if snapshot.barred:
        told.append((BARRED, *[""] * (COLUMNS - 1)))
    if len(told) <= most:
        return told
    more = len(told) - most + 1
    return [*told[: most - 1], (f"and {more} more", *[""] * (COLUMNS - 1))]


def training(run: Training) -> tuple[str, ...]:
    if run.step is None:
        return (named(run.name), "starting", "", "", waited(run))
    return (
        named(run.name),
        f"step {run.step}/{run.steps}" if run.steps else f"step {run.step}",
        "" if run.loss is None else f"loss {run.loss:.4f}",
        "" if not run.rate else f"{run.rate:,.0f} {run.unit}/s",
        waited(run),
    )


def waited(run: Training) -> str:
    """Time left, or how long nothing was heard; and where a killed run went on."""
    told = []
    if run.silent_s >= SILENT_S:
        told.append(f"no step for {spoken(run.silent_s)}")
    elif run.step is None:
        told.append(passed(run.seconds))
    elif run.steps is not None and run.step >= run.steps:
        told.append("ending")
    elif run.left_s is not None:
        told.append(f"{spoken(run.left_s)} left")
    if run.resumed_at:
        told.append(f"resumed after step {run.resumed_at}")
    return ", ".join(told)


def measuring(measure: Measuring) -> tuple[str, ...]:
    return (f"measure {named(measure.name)}", passed(measure.seconds), "", "", "")


def passed(seconds: float) -> str:
    return spoken(max(1.0, seconds))


def named(name: str) -> str:
    return neutral(name, LONGEST_NAME)


def summary(snapshot: Snapshot) -> str:
    """ "5 of 9 runs, about 2 min"; empty where the session trains nothing, or no longer."""
    if snapshot.done >= snapshot.total:
        return ""
    left = "" if snapshot.left_s is None else f", {about(snapshot.left_s)}"
    return f"{snapshot.done} of {snapshot.total} runs{left}"


def fitting(rows: list[tuple[str, ...]], width: int) -> list[tuple[str, ...]]:
    """The rows without the columns that a narrow terminal has no room for."""
    kept = list(range(COLUMNS))
    for dropped in DROPPED:
        sizes = [max((len(row[at]) for row in rows), default=0) for at in kept]
        if sum(sizes) + 2 * (len(kept) - 1) <= width:
            break
        kept.remove(dropped)
    return [tuple(row[at] for at in kept) for row in rows]


def plain(snapshot: Snapshot) -> str:
    """Everything that is under way in one line, for a log."""
    told = [" ".join(filter(None, row)) for row in cells(snapshot, most=4)]
    return " · ".join(filter(None, [*told, summary(snapshot)]))


def begins(run: Training) -> str:
    steps = f", {run.steps} steps" if run.steps else ""
    resumed = f", resumed after step {run.resumed_at}" if run.resumed_at else ""
    return f"{named(run.name)} trains{steps}{resumed}"


def ends(run: Training, snapshot: Snapshot, *, trained: bool) -> str:
    """The last words on a run in a log; one that broke is explained by the gate that asked for it."""
    if not trained:
        return (
            f"{named(run.name)} ended without a run after {passed(run.seconds)}; its gates say why"
        )
    told = summary(snapshot)
    return f"{named(run.name)} is trained, {passed(run.seconds)}{f' · {told}' if told else ''}"


def written(text: str, encoding: str | None) -> str:
    """The text as this encoding can hold it."""
    try:
        text.encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return text.translate(ASCII).encode("ascii", "replace").decode("ascii")
    return text
