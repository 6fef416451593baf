"""The twelve experiments on SAFE's page, in their order: the first eight veto what follows them."""

from collections.abc import Iterable
from typing import Final

from gonogo.harness.reports.page import PageFacts
from gonogo.harness.reports.page.facts import word_of_line
from gonogo.harness.reports.page.tags import join, missing, section, sentence, table, verdict
from markupsafe import Markup

EXPERIMENTS: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    (
        "Data and pipeline",
        ("safe.data.files_load", "safe.data.av_alignment", "safe.data.curriculum_sampling"),
    ),
    ("Base parity", ("safe.freeze.backbones", "safe.parity.gate_off", "safe.parity.gate_off_free")),
    ("Tiny overfit", ("safe.overfit.audio_qa",)),
    (
        "Pilot",
        (
            "safe.pilot.audio_gain",
            "safe.pilot.vl_retention",
            "safe.pilot.latency",
            "safe.pilot.stable",
        ),
    ),
    ("Gating", ("safe.gating.skip_rate", "safe.gating.tradeoff_curve")),
    ("Efficiency", ("safe.efficiency.memory", "safe.efficiency.throughput")),
    (
        "Evaluation",
        (
            "safe.metrics.captioning",
            "safe.lomo.audio_dependence",
            "safe.irrelevance.false_consultation",
        ),
    ),
    ("Curriculum rehearsed", ("safe.curriculum.rehearsal", "safe.curriculum.resume")),
    ("Retention under stress", ("safe.retention.distillation", "safe.retention.null_space")),
    ("Sweep and sizes", ("safe.retention.weight_sweep", "safe.ablation.smallest_config")),
    ("Variance", ("safe.variance.audio", "safe.variance.retention")),
    ("Learned policy", ("safe.policy.skip_rate", "safe.policy.pareto")),
)
"""The ablation of sizes needs many runs, so it is told with the sweep."""
FIRST: Final = 8
HEADS: Final = ("Experiment", "Its verdict", "Counts for", "Why")
WORDS: Final = sentence(
    "<p><small>They are run in this order: the first {} must be GO before what follows them counts. A later experiment keeps its own verdict; "
    "behind one that is not GO it stands for no more than UNDECIDED here, and the launch asks for both.</small></p>",
    FIRST,
)


def stands(words: Iterable[str]) -> list[tuple[str, list[int]]]:
    """What each experiment counts for, and the numbers of the first eight that veto it: a GO behind one that is not GO is UNDECIDED."""
    own = list(words)
    open_ = [number for number, each in enumerate(own[:FIRST], 1) if each != "GO"]
    return [
        ("UNDECIDED", open_)
        if each == "GO" and number > FIRST and open_
        else (each, open_ if number > FIRST and each == "GO" else [])
        for number, each in enumerate(own, 1)
    ]


def experiments(data: PageFacts) -> Markup:
    own = [word_of_line(data, identities) for _, identities in EXPERIMENTS]
    rows = (
        [
            f"{number}. {name}",
            verdict(mine),
            verdict(counts),
            f"vetoed by {', '.join(map(str, by))}" if by else _open(data, identities),
        ]
        for number, ((name, identities), mine, (counts, by)) in enumerate(
            zip(EXPERIMENTS, own, stands(own), strict=True), 1
        )
    )
    heading = "Experiments, in their order"
    return section("experiments", heading, WORDS, table(HEADS, rows))


def _open(data: PageFacts, identities: Iterable[str]) -> Markup:
    """The criteria that keep an experiment from GO."""
    unknown = missing("not in this session")
    return join(
        (
            sentence("<code>{}</code> {}", name, data.outcome(name) if data.row(name) else unknown)
            for name in identities
            if data.outcome(name) != "GO"
        ),
        ", ",
    )
