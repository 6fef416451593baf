"""Training in stages: which rows each stage draws, in which proportion, and when it goes on to the next. Plain Python.

A stage is {"name", "steps", "mix": {"audio", "both", "none"}} and, if wanted, "min_snr" [dB], "until" {metric: at least},
"extend" [steps] and "extensions". At its end it passes on if every bound of `until` holds; else it is extended by `extend`
steps, up to `extensions` times, and then passes on all the same, with that reason in the log.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

STRATA = ("audio", "both", "none")
FIELDS = {"name", "steps", "mix", "min_snr", "until", "extend", "extensions"}
MET, SPENT = "bounds met", "extensions used up"

Row = Mapping[str, Any]
Stage = Mapping[str, Any]


# ------------------------------------------------------------------------------------------------ what is declared
def problems(stages: Sequence[Stage]) -> list[str]:
    """What is wrong with these stages, in words; empty if nothing."""
    found = [] if stages else ["no stages; wanted at least one"]
    names = Counter(stage["name"] for stage in stages if isinstance(stage.get("name"), str))
    found += [
        f"{count} stages are called {name!r}; wanted each name once"
        for name, count in names.items()
        if count > 1
    ]
    for number, stage in enumerate(stages, 1):
        where = f"stage {number} ({stage.get('name')!r})"
        found += [f"{where}: {problem}" for problem in _problems(stage)]
    return found


def _problems(stage: Stage) -> Iterable[str]:
    if unknown := sorted(set(stage) - FIELDS):
        yield f"unknown {', '.join(unknown)}; known are {', '.join(sorted(FIELDS))}"
    if not isinstance(stage.get("name"), str) or not stage["name"]:
        yield "name is no text"
    if not _whole(stage.get("steps"), 1):
        yield f"steps = {stage.get('steps')!r}; wanted a whole number from 1"
    yield from _mix_problems(stage.get("mix"))
    if "min_snr" in stage and not _number(stage["min_snr"]):
        yield f"min_snr = {stage['min_snr']!r}; wanted a number of dB"
    until = stage.get("until", {})
    if not isinstance(until, Mapping) or not all(_number(bound) for bound in until.values()):
        yield f"until = {until!r}; wanted metrics and the least number of each"
    if not _whole(stage.get("extensions", 0), 0):
        yield f"extensions = {stage['extensions']!r}; wanted a whole number from 0"
    elif stage.get("extensions") and not _whole(stage.get("extend"), 1):
        yield f"extend = {stage.get('extend')!r} steps; wanted a whole number from 1, as there are extensions"
    elif stage.get("extensions") and not until:
        yield "extensions without until; nothing would call for them"


def _mix_problems(mix: Any) -> Iterable[str]:
    if (
        not isinstance(mix, Mapping)
        or not mix
        or set(mix) - set(STRATA)
        or not all(_number(share) and share >= 0 for share in mix.values())
    ):
        yield f"mix = {mix!r}; wanted shares of {', '.join(STRATA)}"
    elif abs(sum(mix.values()) - 1) > 1e-6:
        yield f"mix adds up to {sum(mix.values()):g}; wanted 1"


def _number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < 1e300


def _whole(value: Any, least: int) -> bool:
    return type(value) is int and value >= least


# ------------------------------------------------------------------------------------------------ which rows
class Sampler:
    """The rows of one stage, one after another: after any n of them each stratum has had its share of n to within a row.

    Always the stratum furthest behind its share comes next, so a window of 200 rows is within 1 % of the mix. Within a
    stratum every row comes once before any comes again, in an order of (seed, stage, stratum, pass).
    rows: with "id", "need" and "snr" [dB or None]. Raises ValueError where a stratum of the mix has no rows.
    """

    def __init__(self, rows: Iterable[Row], stage: Stage, seed: int) -> None:
        self.name, self.seed = stage["name"], seed
        self.mix = {
            stratum: stage["mix"].get(stratum, 0)
            for stratum in STRATA
            if stage["mix"].get(stratum, 0) > 0
        }
        fit = [row for row in rows if admitted(row, stage)]
        self.rows = {
            stratum: [row for row in fit if row["need"] == stratum] for stratum in self.mix
        }
        if empty := [stratum for stratum, held in self.rows.items() if not held]:
            raise ValueError(
                f"stage {self.name!r}: no rows of need {', '.join(empty)} at min_snr {stage.get('min_snr')}; lower it, or leave them out of the mix"
            )
        self.drawn = dict.fromkeys(self.mix, 0)
        self._orders: dict[str, tuple[int, list[int]]] = {}

    def take(self, count: int) -> list[Row]:
        """The next `count` rows."""
        return [self._next() for _ in range(count)]

    def _next(self) -> Row:
        after = sum(self.drawn.values()) + 1
        stratum = max(
            self.mix,
            key=lambda name: (
                round(self.mix[name] * after - self.drawn[name], 9),
                -STRATA.index(name),
            ),
        )
        turn, place = divmod(self.drawn[stratum], len(self.rows[stratum]))
        self.drawn[stratum] += 1
        return self.rows[stratum][self._order(stratum, turn)[place]]

    def _order(self, stratum: str, turn: int) -> list[int]:
        if self._orders.get(stratum, (None, []))[0] != turn:
            order = list(range(len(self.rows[stratum])))
            random.Random(f"{self.seed}:{self.name}:{stratum}:{turn}").shuffle(order)
            self._orders[stratum] = (turn, order)
        return self._orders[stratum][1]


def admitted(row: Row, stage: Stage) -> bool:
    """Whether the stage's difficulty filter lets this row in; a row without an event has no SNR and is let in."""
    least = stage.get("min_snr")
    return least is None or row.get("snr") is None or row["snr"] >= least


# ------------------------------------------------------------------------------------------------ when to go on
class Curriculum:
    """The stages of one training, step by step: `draw` the rows of a step, train on them, ask `after_step` what it decides.

    log: every decision so far, {"step", "stage", "event": "begin" | "extend" | "transition" | "end", "metrics", "reason"}; step
    counts the optimizer steps done. Raises ValueError for stages that have problems.
    """

    def __init__(self, stages: Sequence[Stage], rows: Sequence[Row], seed: int) -> None:
        if found := problems(stages):
            raise ValueError(f"curriculum: {'; '.join(found)}")
        self.stages, self.rows, self.seed = [dict(stage) for stage in stages], rows, seed
        self.step, self.at, self.left, self.extended, self.told = 0, 0, stages[0]["steps"], 0, 0
        self.log = [self._event("begin", {}, "first stage")]
        samplers = [
            Sampler(rows, stage, seed) for stage in self.stages
        ]  # all, so that a stage without rows shows at once
        self.sampler = samplers[0]

    @property
    def stage(self) -> Stage:
        return self.stages[self.at]

    @property
    def done(self) -> bool:
        return self.left == 0

    @property
    def planned_steps(self) -> int:
        """Optimizer steps of all stages if none is extended."""
        return sum(stage["steps"] for stage in self.stages)

    def draw(self, count: int) -> list[Row]:
        """The next `count` rows of the stage."""
        if self.done:
            raise ValueError(
                f"curriculum: all stages ended at step {self.step}; nothing is left to draw"
            )
        return self.sampler.take(count)

    def after_step(
        self, step: int, scores: Callable[[], Mapping[str, float]]
    ) -> list[dict[str, Any]]:
        """Count optimizer step number `step` as done; the decisions that the log does not hold yet.

        scores: the metrics of `until`; called only where the stage has bounds and its steps are done. Raises ValueError for a
        step out of turn, and where a bound's metric is missing.
        """
        if step != self.step + 1 or self.done:
            raise ValueError(
                f"curriculum: step {step} after step {self.step}; wanted the next one; restore the state that belongs to it"
            )
        if self.left == 1:
            metrics = (
                {name: float(value) for name, value in scores().items()}
                if self.stage.get("until")
                else {}
            )
            if missing := sorted(set(self.stage.get("until", {})) - set(metrics)):
                raise ValueError(
                    f"curriculum: stage {self.stage['name']!r} ends at step {step} and asks for {', '.join(missing)}; measured are {', '.join(metrics)}"
                )
        self.step, self.left = step, self.left - 1
        if self.left == 0:
            self._decide(metrics)
        new, self.told = self.log[self.told :], len(self.log)
        return new

    def _decide(self, metrics: dict[str, float]) -> None:
        met = all(metrics[name] >= bound for name, bound in self.stage.get("until", {}).items())
        if not met and self.extended < self.stage.get("extensions", 0):
            self.extended, self.left = self.extended + 1, self.stage["extend"]
            short = [
                name for name, bound in self.stage["until"].items() if not metrics[name] >= bound
            ]
            self.log.append(self._event("extend", metrics, f"below its bound: {', '.join(short)}"))
            return
        last = self.at == len(self.stages) - 1
        self.log.append(
            self._event("end" if last else "transition", metrics, MET if met else SPENT)
        )
        if not last:
            self.at, self.extended = self.at + 1, 0
            self.left, self.sampler = self.stage["steps"], Sampler(self.rows, self.stage, self.seed)
            self.log.append(self._event("begin", {}, "next stage"))

    def _event(self, event: str, metrics: dict[str, float], reason: str) -> dict[str, Any]:
        return {
            "step": self.step,
            "stage": self.stage["name"],
            "event": event,
            "metrics": metrics,
            "reason": reason,
        }

    def state(self) -> dict[str, Any]:
        """Where this training stands, as plain JSON; to be kept between steps."""
        return {
            "declared": self.stages,
            "step": self.step,
            "at": self.at,
            "left": self.left,
            "extended": self.extended,
            "told": self.told,
            "drawn": dict(self.sampler.drawn),
            "log": [dict(event) for event in self.log],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on exactly where `state` was taken. Raises ValueError where it belongs to other stages."""
        if state["declared"] != self.stages:
            raise ValueError(
                "curriculum: the state was taken under other stages; restore it with the same, or begin anew"
            )
        self.step, self.at, self.left, self.extended, self.told = (
            state[name] for name in ("step", "at", "left", "extended", "told")
        )
        self.log = [dict(event) for event in state["log"]]
        self.sampler = Sampler(self.rows, self.stage, self.seed)
        self.sampler.drawn = dict(state["drawn"])
