"""How much each linear map of a model is worth adapting: every score from one pass over a calibration set.

Site l has weight W (o × d); row i has the loss ℓ_i = cross-entropy in nats SUMMED over the row's scored tokens (of a
classification its one label). A batch's loss is the sum over its rows, so G_i = ∇_W ℓ_i is the row's own whatever shares
its batch, and padding (label -100, attention 0) adds nothing. Means are over the n rows; biases are left out throughout.

    fisher       (1/n) Σ_i ‖G_i‖²_F             trace of the empirical Fisher matrix, labels from the data; nats²
    true_fisher  the same, labels from the model's own distribution: drawn with a seed, or summed over all classes
    gradient     ‖G‖_F, G = (1/n) Σ_i G_i       norm of the MEAN gradient; its square is ≤ fisher (Jensen)
    taylor       Σ |W ∘ G|                      first order; AdaLoRA's sensitivity (arXiv:2303.10512) is this per entry
    lora_b       ‖(α/r) G Aᵀ‖²_F                ‖∇_B‖² where LoRA starts (B = 0), A (r × d) drawn as peft draws it: uniform within
                                                ±1/√d. Over draws of A its mean is α²/(3rd)·‖G‖²
    energy       mean over rows of the mean over attended tokens of ‖W a_t‖²: LoRA-drop's output energy (arXiv:2402.07721)
                 of the FROZEN map; theirs is of ΔW, which is 0 before training. Of a decoder's output layer: over scored places
    trace_norm   sum of the r largest singular values of G (Ky Fan): the fall of the loss, to first order, that an update of rank r
                 and spectral norm 1 can bring
    spectrum     singular values of G, largest first

The squared gradient of a batch of b rows is no Fisher trace: in expectation it is, per row, (1/b)·E‖G_i‖² + (1 - 1/b)·‖E G_i‖².

Memory: the activations of one batch, and per site one G per fold (fp32, for scores of G only) and a
row of sums: nothing grows with n. Score a model in fp32: in bf16 the Fisher trace of one layer of SmolLM2 was 34 % off.
Tied weights are counted per module, with what flows through that module alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from math import isfinite

import torch
from gonogo.methods.instruments.ghost import is_4bit, weight
from gonogo.methods.instruments.moments import lora_a, of_mean, singular_values
from gonogo.methods.instruments.one_pass import Pass
from gonogo.methods.instruments.watch import Watch, watched
from gonogo.methods.observing.quiet import put_back
from torch import Tensor, nn

SCORES = (
    "fisher",
    "true_fisher",
    "gradient",
    "taylor",
    "lora_b",
    "energy",
    "trace_norm",
    "spectrum",
)
OF_SUMS = ("gradient", "taylor", "lora_b", "trace_norm", "spectrum")
DEFAULT = ("fisher", "gradient", "taylor", "lora_b", "energy")


@dataclass(frozen=True)
class Importance:
    """What one pass found.

    rows            : n. parameters: site → o·d.
    values          : score → site → number, over all rows; folds: the same over rows i with i mod folds = 0, 1, ...
    errors          : score → site → standard error over rows, of scores that are means over rows. layer_errors: likewise per
                      layer, of the sum over its sites.
    spectrum        : site → singular values of G; output_spectrum: module → those of (1/n) Σ_i Σ_t δ_t y_tᵀ (o × o), y its output.
    findings        : what a reader should know.
    """

    rows: int
    parameters: dict[str, int]
    values: dict[str, dict[str, float]]
    folds: tuple[dict[str, dict[str, float]], ...]
    errors: dict[str, dict[str, float]]
    layer_errors: dict[str, dict[str, float]]
    spectrum: dict[str, tuple[float, ...]]
    output_spectrum: dict[str, tuple[float, ...]]
    findings: tuple[str, ...] = ()

    def of(
        self, score: str, per_parameter: bool = False, fold: int | None = None
    ) -> dict[str, float]:
        """site → the score, of all rows or of one fold's; divided by o·d if `per_parameter`.

        Raises:
            ValueError: the pass was not asked for this score.
        """
        known = self.values if fold is None else self.folds[fold]
        if score not in known:
            raise ValueError(
                f"importance: no `{score}` in this pass, only {', '.join(known)}; name it in `scores`"
            )
        return {
            site: value / (self.parameters[site] if per_parameter else 1)
            for site, value in known[score].items()
        }

    def by_layer(
        self, score: str, per_parameter: bool = False, fold: int | None = None
    ) -> dict[str, float]:
        """layer → the sum over its sites (of `gradient`, a norm, the root of the sum of squares)."""
        power = 2 if score == "gradient" else 1
        total: dict[str, float] = {}
        size: dict[str, int] = {}
        for site, value in self.of(score, fold=fold).items():
            layer = layer_of(site)
            total[layer] = total.get(layer, 0.0) + value**power
            size[layer] = size.get(layer, 0) + self.parameters[site]
        return {
            layer: value ** (1 / power) / (size[layer] if per_parameter else 1)
            for layer, value in total.items()
        }


def layer_of(site: str) -> str:
    """The site's name up to its first number ("encoder.layer.3"); the whole name where there is none."""
    found = re.match(r"(.*?\.\d+)(\.|$)", site)
    return found[1] if found else site


def importance(
    model: nn.Module,
    batches: Iterable[Mapping[str, Tensor]],
    sites: Sequence[str],
    scores: Sequence[str] = DEFAULT,
    *,
    folds: int = 2,
    seed: int = 0,
    rank: int = 8,
    alpha: float = 16,
    task: str = "",
    top: int = 64,
    outputs: Sequence[str] = (),
    draws: int = 1,
) -> Importance:
    """Score the linear maps `sites` (module names) on batches as `rows.collate` makes them, or {"pixel_values", "labels"}.

    The model is scored in eval mode and handed back as it was: weights, gradients, forwards, hooks, modes, generators.

    folds   : rows i with the same i mod folds are also scored alone, e.g. for the agreement of two halves.
    rank, alpha, seed : of lora_b's A; seed also of the drawn labels, which depend on it and the row's number only.
    task    : "span" for `span.joint_loss`; other losses are told by the shape of the labels.
    top     : singular values to keep.
    outputs : modules whose output-side matrix is wanted, for adapters behind them.
    draws   : labels drawn per row for true_fisher; 0: the exact sum over all classes (classification only).

    Raises:
        ValueError: unknown score or site, a site that is called twice or mixes rows, too few rows, numbers that are not finite.
    """
    _check(scores, sites, task, draws)
    device = next(model.parameters()).device
    with put_back(model), torch.enable_grad():
        model.eval().requires_grad_(False)
        watch = Watch(
            model, sites, outputs, folds, any(score in OF_SUMS for score in scores), device
        )
        run = Pass(model, watch, scores, seed, task, draws)
        with watched(model, watch):
            for batch in batches:
                run.over({name: tensor.to(device) for name, tensor in batch.items()})
        return _result(run, rank, alpha, top)


def _check(scores: Sequence[str], sites: Sequence[str], task: str, draws: int) -> None:
    for score in scores:
        if score not in SCORES:
            near = get_close_matches(score, SCORES, n=1, cutoff=0)[0]
            raise ValueError(f"importance: unknown score `{score}`; did you mean `{near}`?")
    if not sites or not scores:
        raise ValueError("importance: no site or no score is named; wanted at least one of each")
    if task == "span" and "true_fisher" in scores:
        raise ValueError(
            "importance: labels of task span cannot be drawn from the model; leave out true_fisher"
        )
    if draws < 0:
        raise ValueError(f"importance: draws = {draws}; wanted 1 or more, or 0 for every class")


def _result(run: Pass, rank: int, alpha: float, top: int) -> Importance:
    """Raises ValueError if a fold has no row or a number is not finite."""
    watch, n = run.watch, run.watch.first
    if n < watch.folds:
        raise ValueError(
            f"importance: {n} rows in {watch.folds} folds; wanted at least one row in each"
        )
    counts = [len(range(fold, n, watch.folds)) for fold in range(watch.folds)]
    names = [site.name for site in watch.sites]
    whole = {score: moments.means(counts) for score, moments in run.moments.items()}
    folds = [
        {score: moments.means(counts, fold) for score, moments in run.moments.items()}
        for fold in range(watch.folds)
    ]
    spectrum = _of_sums(run, counts, [*folds, whole], rank, alpha, top)
    _finite(whole)
    errors, layer_errors = (
        {
            score: moments.errors(n, dict(zip(names, groups, strict=True)))
            for score, moments in run.moments.items()
        }
        for groups in (names, [layer_of(name) for name in names])
    )
    seen = {
        spy.name: singular_values(spy.total / n, top)
        for spy in watch.spies
        if spy.total is not None
    }
    sizes = {site.name: site.shape[0] * site.shape[1] for site in watch.sites}
    return Importance(
        n, sizes, whole, tuple(folds), errors, layer_errors, spectrum, seen, tuple(_findings(run))
    )


def _of_sums(
    run: Pass,
    counts: Sequence[int],
    tables: Sequence[dict[str, dict[str, float]]],
    rank: int,
    alpha: float,
    top: int,
) -> dict[str, tuple[float, ...]]:
    """Write the scores of the mean gradients into the tables, the folds' and last that of all rows, and free the sums.
    Returns site → singular values of the mean over all rows."""
    spectrum: dict[str, tuple[float, ...]] = {}
    whole = tables[-1]
    for site in run.watch.sites if run.watch.summed else ():
        means = [
            *(total / count for total, count in zip(site.sums, counts, strict=True)),
            site.sums.sum(0) / run.watch.first,
        ]
        site.sums = None
        a = lora_a(rank, site.shape[1], f"{run.seed}/{site.name}").to(means[0])
        for into, mean in zip(tables, means, strict=True):
            for score in (score for score in OF_SUMS[:3] if score in run.scores):
                into.setdefault(score, {})[site.name] = of_mean(
                    score, mean, weight(site.module), a, alpha / rank
                )
            if "trace_norm" in run.scores or ("spectrum" in run.scores and into is whole):
                values = singular_values(mean, max(top, rank))
            if "trace_norm" in run.scores:
                into.setdefault("trace_norm", {})[site.name] = sum(values[:rank])
        if "spectrum" in run.scores:
            spectrum[site.name] = values[:top]
    return spectrum


def _finite(whole: Mapping[str, Mapping[str, float]]) -> None:
    for score, values in whole.items():
        for site, value in values.items():
            if not isfinite(value):
                raise ValueError(
                    f"importance: {score} of {site} is {value}; score the model in fp32, and look at its loss first"
                )


def _findings(run: Pass) -> Iterator[str]:
    half = [
        s.name
        for s in run.watch.sites
        if s.dtype in (torch.float16, torch.bfloat16) and not is_4bit(s.module)
    ]
    if half:
        yield f"{len(half)} sites are in half precision, {half[0]} for one; in bf16 one layer's Fisher trace was 34 % off: score the model in fp32"
    coded = [s.name for s in run.watch.sites if is_4bit(s.module)]
    if coded:
        yield f"{len(coded)} sites are 4-bit, {coded[0]} for one: these are the scores of the quantised model"
    if run.unscored:
        yield f"{run.unscored} rows score no token and count as gradient 0"
    still = [s.name for s in run.watch.sites if not s.reached and {*run.scores} - {"energy"}]
    if still:
        yield f"no gradient reaches {len(still)} sites, {still[0]} for one: their scores are 0"
