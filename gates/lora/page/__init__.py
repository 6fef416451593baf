"""LoRA against full fine-tuning as one page: hypotheses, tasks, deployment, effect sizes, what was fixed before the first measurement."""

from collections.abc import Iterable
from typing import Final

from gonogo.gates.lora.page import comparisons, deployment, effects, registration, tasks
from gonogo.gates.lora.page.facts import ALL, HYPOTHESES, TASKS, WHOLE, tasks_of, title
from gonogo.harness.reports.page import Page, PageFacts
from gonogo.harness.reports.page.tags import sentence
from gonogo.harness.reports.words import number
from markupsafe import Markup

MEANINGS: Final = {
    "GO": "The composite claim holds on the evidence below.",
    "NO-GO": "The composite claim is refuted by the evidence below.",
    "UNDECIDED": "The evidence below carries neither the composite claim nor its refutation.",
    "NOT RUN": "The composite claim was not judged.",
}


def headline(data: PageFacts) -> tuple[str, str]:
    """The verdict of the composite claim."""
    outcome = data.outcome(ALL)
    return outcome, MEANINGS.get(outcome, MEANINGS["NOT RUN"])


def gaps(data: PageFacts) -> Iterable[Markup]:
    """Tasks without figures, and what of a task has none."""
    for task, name in TASKS.items():
        if task not in tasks_of(data):
            words = "<b>{}</b>: no figures in this session ({} training rows in the whole data set)"
            yield sentence(words, name, number(WHOLE[task]))
    for task in tasks_of(data):
        lacking = ", ".join(tasks.lacking(data, task))
        if lacking:
            yield sentence("<b>{}</b>: {} missing", title(task), lacking)


PAGE = Page(
    "lora",
    "LoRA against full fine-tuning",
    {name: ("", (identity,)) for identity, name in HYPOTHESES.items()},
    (
        tasks.sections,
        deployment.deployment,
        effects.effects,
        comparisons.others,
        registration.registration,
    ),
    about="LoRA against full fine-tuning: estimates, trajectories, layers",
    what="LoRA against full fine-tuning: performance, drift, deployment",
    headline=headline,
    overview=comparisons.hypotheses,
    gaps=gaps,
    paper=True,
)
